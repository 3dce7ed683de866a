"""Facts about the figures of the lens and of similarity, on made-up tables; no model."""

import numpy as np
import pandas as pd
import pytest

from interp import figures
from interp.errors import UserError
from tests.helpers.figure_tables import lens_table

MODELS, SKILLS = ("base", "distilled"), ("world-facts", "world-kv", "world-arithmetic")
PROTOCOLS = ("default", "continuation", "generate")


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.axison and axes.get_title()]


@pytest.mark.slow
def test_curves_are_the_table() -> None:
    table = lens_table()
    figure = figures.lens.by_depth(table)
    assert len(figure.axes) == 4
    assert titles(figure) == ["Knowledge\noption letters", "Retrieval\ngenerated answers"]
    (line, other) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), np.exp([6, 4.5, 3, 1.5, 0]))
    np.testing.assert_array_equal(line.get_xdata(), range(5))
    assert line.get_color() != other.get_color()
    assert figure.axes[0].yaxis_inverted()
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[2].get_xlabel() == "Layers passed"
    assert "n = 50 examples per task." in figure.footnote
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["base", "distilled"]


def test_models_of_other_depths_share_an_axis_of_relative_depth() -> None:
    table = pd.concat([lens_table(("base",)), lens_table(("teacher",), n_layers=8)])
    figure = figures.lens.by_depth(table)
    assert figure.axes[2].get_xlabel() == "Share of the layers passed"
    for line in figure.axes[0].lines:
        assert line.get_xdata()[-1] == 1


def test_one_model_has_a_line_a_skill_and_a_column_a_protocol() -> None:
    tasks = ("world-facts:default", "world-kv:default", "world-kv:generate")
    figure = figures.lens.by_depth(lens_table(("base",), tasks))
    assert titles(figure) == ["Option letters", "Generated answers"]
    assert len(figure.axes[0].lines) == 2
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["Knowledge", "Retrieval"]


@pytest.mark.slow
def test_many_tasks_of_several_models_are_a_grid_of_ranks() -> None:
    tasks = [f"{s}:{p}" for s in SKILLS for p in PROTOCOLS if (s, p) != (SKILLS[2], "default")]
    figure = figures.lens.by_depth(lens_table(tasks=tasks))
    assert len(figure.axes) == 9
    assert sum(axes.axison for axes in figure.axes) == 8
    assert figure.axes[3].get_ylabel().startswith("Retrieval:\nrank")
    # the empty corner's neighbours carry the names that it would have
    assert figure.axes[7].get_ylabel().startswith("Reasoning:")
    assert figure.axes[3].get_xlabel() == "Layers passed"
    with pytest.raises(UserError, match="step 'step 9'"):
        figures.lens.by_depth(lens_table(), step="step 9")
    with pytest.raises(UserError, match="allowed are right_logrank"):
        figures.lens.by_depth(lens_table(), quantities=["entropy"])


@pytest.mark.slow
def test_decision_depths_by_task_and_step() -> None:
    rows = [
        {"model": m, "task": t, "ablation": "baseline", "lens": "logit lens", "step": s,
         "answer": "right", "relative": 0.5, "relative_low": 0.4, "relative_high": 0.6,
         "share_decided": share, "n": 50, "interval": "95% Poisson bootstrap"}
        for m in MODELS
        for t, s, share in (("world-arithmetic:generate", "answer", 0.2),
                            ("world-arithmetic:generate", "step 1", 0.9),
                            ("world-facts:default", "answer", 1.0))
    ]  # fmt: skip
    figure = figures.lens.decision_depths(pd.DataFrame(rows))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "Knowledge, option letters", "Reasoning, generated answers", "Reasoning, step 1",
    ]  # fmt: skip
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [1, 1]
    with pytest.raises(UserError, match="allowed are right and chosen"):
        figures.lens.decision_depths(pd.DataFrame(rows), answer="wrong")


def grid_table(n_tokens=4):
    rows = [
        {"model": "m", "ablation": "layer:2", "lens": "logit lens", "position": p,
         "token": f" token{p}", "depth": float(d), "layer": d - 1,
         "after": "layer" if d else "embedding", "top_token": "$x\n" if d else " ",
         "probability": d / 3, "entropy": 1.0}
        for p in range(n_tokens) for d in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_grid_s_cells_are_the_table() -> None:
    figure = figures.lens.grid(grid_table())
    axes = figure.axes[0]
    cells = [text.get_text() for text in axes.texts]
    assert len(cells) == 16
    assert cells[0] == "·"
    assert cells[-1] == "$x↵"
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array())[:, 0], [0, 1 / 3, 2 / 3, 1])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["embedding", "0", "1", "2"]
    assert "Ablated: layer:2." in figure.footnote
    long = figures.lens.grid(grid_table(30))
    assert "The last 12 tokens" in long.footnote
    assert long.get_figwidth() <= 7.3
    with pytest.raises(UserError, match="one prompt of one model"):
        figures.lens.grid(pd.concat([grid_table(), grid_table()]))


@pytest.mark.slow
def test_divergence_and_attribution() -> None:
    held = pd.DataFrame(
        {"model": "base", "text": "made-up text", "held_out_tokens": 99, "depth": range(5),
         "layer": range(-1, 4), "after": "layer", "plain": [5.0, 4, 3, 2, 0],
         "tuned": [1.0, 0.8, 0.5, 0.2, 0]}
    )  # fmt: skip
    figure = figures.readout.divergence(held)
    assert [line.get_label() for line in figure.axes[0].lines] == ["Plain lens", "Tuned lens"]
    assert "made-up text" in figure.footnote
    rows = [
        {"model": "base", "task": t, "kind": k, "layer": n, "quantity": "margin",
         "value": 1.0 + n, "low": 0.5, "high": 2.0 + n, "n": 9, "interval": "95% Poisson bootstrap"}
        for t in ("world-kv:generate", "world-facts:default", "a", "b")
        for k in ("attention", "mlp") for n in range(3)
    ]  # fmt: skip
    figure = figures.readout.attribution(pd.DataFrame(rows))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [1, 2, 3, 1, 2, 3]
    # four panels are two rows of two, and the lower ones name the axis
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "Layer", "Layer"]
    with pytest.raises(UserError, match="margin and logit"):
        figures.readout.attribution(pd.DataFrame(rows), quantity="else")

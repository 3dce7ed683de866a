"""What print asks of every kind of figure: sizes, type, words, letters, one colour a thing."""

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from interp import figures
from interp.attention import by_gold_position
from interp.figures import palette
from interp.labels import SKILLS, benchmark_label
from tests.helpers.figure_tables import angular_table, cka_table, lens_table, make_sweep

RAW = re.compile(r"[A-Za-z]_[A-Za-z]|world-|organism:|continuation|exact_match")
MODELS = ("organism:base", "organism:teacher", "organism:distilled")
SKILL_TASKS = ("world-facts:generate", "world-kv:generate", "world-arithmetic:generate")


def head_drops() -> pd.DataFrame:
    table = make_sweep(tasks=SKILL_TASKS).importance()
    parts = [
        table.assign(ablation=table["ablation"].str.replace("layer:", f"head:{n}."))
        for n in range(3)
    ]
    return pd.concat(parts, ignore_index=True)


def retrieval_table() -> pd.DataFrame:
    rows = [
        {"model": model, "task": "world-kv:generate", "layer": layer, "head": head,
         "score": 0.1 * head, "low": 0.05 * head, "high": 0.12 * head, "n": 20,
         "interval": "95% bootstrap"}
        for model in MODELS for layer in range(4) for head in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def removal_curve() -> pd.DataFrame:
    rows = [
        {"model": model, "task": "world-kv:generate", "metric": "exact_match,strict-match", "k": k,
         "kind": kind, "value": 90.0 - k, "low": 80.0 - k, "high": 95.0, "n": 20, "unit": "points",
         "interval": "95% Wilson", "draws": 5}
        for model in MODELS for k in (0, 1, 2) for kind in ("top", "random")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def positions() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {"doc_id": n, "ablation": a, "label": a, "correct": float(n % 2)}
        for n in range(12) for a in ("baseline", "Best head removed")
    ]  # fmt: skip
    places = pd.DataFrame({"doc_id": range(12), "gold_position": [n % 4 for n in range(12)]})
    return pd.DataFrame(rows), places


def influence_table() -> pd.DataFrame:
    rows = [
        {"model": model, "source": "world-kv:generate", "layer": n, "value": 0.1 * n, "low": 0.0,
         "high": 0.2 * n, "n": 20, "interval": "95% Poisson bootstrap"}
        for model in MODELS for n in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def grid_table(tokens: int) -> pd.DataFrame:
    rows = [
        {"position": p, "depth": float(d), "layer": d - 1, "token": "word", "top_token": "next",
         "after": "layer" if d else "embedding", "probability": 0.3, "lens": "logit lens",
         "model": "organism:base", "ablation": "baseline"}
        for p in range(tokens) for d in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def drawn():
    one, several = make_sweep(), make_sweep(models=MODELS, tasks=SKILL_TASKS)
    options = make_sweep(tasks=("world-facts:continuation", "world-arithmetic:continuation"))
    metrics = [options.scores().assign(metric=name) for name in ("acc_ce", "acc")]
    deep = make_sweep(n_layers=20, tasks=SKILL_TASKS)
    many_heads = [head_drops().assign(model=model) for model in MODELS[:2]]
    responses, places = positions()
    return {
        "layers": figures.layers(one),
        "layers of several": figures.layers(several),
        "layers of a deep model": figures.layers(deep),
        "drops": figures.drops(one),
        "heatmap": figures.heatmap(several),
        "by model": figures.compared.by_model(several.scores()),
        "by metric": figures.compared.by_metric(pd.concat(metrics)),
        "heads": figures.importance_map(head_drops()),
        "heads of several": figures.importance_map(pd.concat(many_heads)),
        "retrieval map": figures.retrieval_map(retrieval_table(), mark=2),
        "depth": figures.depth(retrieval_table()),
        "removal": figures.removal(removal_curve()),
        "gold position": figures.gold_position(by_gold_position(responses, places)),
        "by depth": figures.lens.by_depth(lens_table(MODELS)),
        "by depth, one model": figures.lens.by_depth(lens_table(MODELS[:1])),
        "short grid": figures.lens.grid(grid_table(3)),
        "long grid": figures.lens.grid(grid_table(9)),
        "angular": figures.similarity.angular(
            pd.concat([angular_table(), angular_table("texts, as the study's script")])
        ),
        "influence": figures.similarity.influence(influence_table()),
        "cka": figures.cka.heatmap(pd.concat([cka_table(other_model=name) for name in MODELS[1:]])),
        "same depth": figures.cka.same_depth(
            pd.concat([cka_table(other_model=name) for name in MODELS[1:]])
        ),
    }


def visible_texts(figure: figures.PrintFigure) -> list[matplotlib.text.Text]:
    found = figure.findobj(matplotlib.text.Text)
    return [text for text in found if text.get_visible() and text.get_text().strip()]


@pytest.mark.slow
def test_the_widths_are_those_of_a_journal(drawn) -> None:
    widths = {name: figure.get_figwidth() for name, figure in drawn.items()}
    assert {name: width for name, width in widths.items() if width not in (3.5, 7.2)} == {}
    assert set(widths.values()) == {3.5, 7.2}


@pytest.mark.slow
def test_no_type_is_above_8_points_or_below_6(drawn) -> None:
    for name, figure in drawn.items():
        sizes = {text.get_fontsize() for text in visible_texts(figure)}
        assert max(sizes) == 8, name
        assert min(sizes) >= 6, name


@pytest.mark.slow
def test_words_and_never_raw_names(drawn) -> None:
    for name, figure in drawn.items():
        raw = [text.get_text() for text in visible_texts(figure) if RAW.search(text.get_text())]
        assert raw == [], name


@pytest.mark.slow
def test_axes_are_named_and_several_panels_have_letters(drawn) -> None:
    for name, figure in drawn.items():
        bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
        panels = [axes for axes in figure.axes if axes.axison and axes not in bars]
        assert all(bar.get_ylabel() for bar in bars), name
        assert panels[0].get_ylabel() or name.startswith("heatmap"), name
        assert panels[-1].get_xlabel(), name
        letters = [axes.get_title(loc="left") for axes in panels]
        expected = list("ABCDEFGHIJKL"[: len(panels)]) if len(panels) > 1 else [""]
        assert letters == expected, name
        assert figure.get_suptitle() == "", name


@pytest.mark.slow
def test_the_number_of_examples_is_said(drawn) -> None:
    silent = {name for name, figure in drawn.items() if "n = " not in figure.footnote}
    assert silent == {"short grid", "long grid"}  # one prompt each


@pytest.mark.slow
def test_a_skill_and_a_model_have_one_colour_in_every_figure(drawn) -> None:
    fixed = {SKILLS[name]: palette.SKILL_COLOURS[name] for name in SKILLS}
    fixed |= palette.MODEL_COLOURS
    seen: dict[str, set[str]] = {}
    for figure in drawn.values():
        for legend in figure.legends:
            for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
                if text.get_text() in fixed:
                    seen.setdefault(text.get_text(), set()).add(to_hex(handle.get_color()))
    assert {name: {to_hex(fixed[name])} for name in seen} == seen
    assert {"Knowledge", "Retrieval", "Reasoning", "base", "teacher", "distilled"} <= set(seen)


def test_the_colours_remain_apart_for_colour_blind_readers() -> None:
    """Okabe & Ito's colours through the deuteranope's and the protanope's eye (Machado 2009)."""
    matrices = {
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    }
    colours = np.array([matplotlib.colors.to_rgb(colour) for colour in palette.COLOURS])
    for name, matrix in matrices.items():
        seen = np.clip(colours @ np.array(matrix).T, 0, 1)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
        assert apart.min() > 0.1, name


def test_models_of_the_study_have_colours_of_their_own() -> None:
    study = ["meta-llama/Llama-3.1-8B", "Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"]
    assert len(set(palette.model_colours(study).values())) == 3
    assert palette.skill_colours(["kv-75"]) == {"kv-75": palette.VERMILION}
    assert benchmark_label("kv-75") == "KV retrieval, 75 pairs"


@pytest.mark.slow
def test_models_of_other_depth_are_compared_by_share_of_the_depth() -> None:
    short, long = (
        make_sweep(tasks=SKILL_TASKS),
        make_sweep(n_layers=6, models=("organism:teacher",), tasks=SKILL_TASKS),
    )
    figure = figures.compared.by_model(pd.concat([short.scores(), long.scores()]))
    axes = figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert [len(line.get_xdata()) for line in lines] == [4, 6]
    assert all(line.get_xdata().max() < 1.2 for line in lines)
    assert figure.axes[-1].get_xlabel() == "Skipped layer, share of the depth"

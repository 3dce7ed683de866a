"""Facts about the curves by layer: panels, lines, names and the small print."""

import functools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from interp import figures
from interp.figures import palette, style
from tests.helpers.figure_tables import make_sweep


def panels(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.axison]


def texts(figure: Figure) -> str:
    """All that a reader can read."""
    figure.canvas.draw()
    found = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible()]
    return " | ".join(text.get_text() for text in found).replace("\n", " ")


def line(axes, label: str):
    (found,) = [one for one in axes.lines if one.get_label() == label]
    return found


@pytest.mark.slow
def test_a_panel_for_each_protocol(sweep) -> None:
    figure = figures.layers(sweep)
    found = panels(figure)
    assert [axes.get_title() for axes in found] == [
        "Option letters",
        "Option texts",
        "Generated answers",
    ]
    assert [axes.get_title(loc="left") for axes in found] == ["A", "B", "C"]
    assert [axes.get_xlabel() for axes in found] == ["Skipped layer"] * 3
    assert [axes.get_ylabel() for axes in found] == ["Accuracy (%)", "", "Exact match (%)"]
    assert figure.get_figwidth() == style.PAGE


@pytest.mark.slow
def test_the_lines_are_the_table(sweep) -> None:
    table = sweep.scores()
    drawn = line(panels(figures.layers(sweep))[0], "Knowledge")
    rows = table[(table["task"] == "world-facts:default") & (table["ablation"] != "baseline")]
    np.testing.assert_array_equal(drawn.get_ydata(), rows["value"])
    np.testing.assert_array_equal(np.round(drawn.get_xdata()), range(4))
    table = sweep.importance()
    drawn = line(panels(figures.drops(sweep))[2], "Reasoning")
    rows = table[table["task"] == "world-arithmetic:generate"]
    np.testing.assert_array_equal(drawn.get_ydata(), rows["drop"])


def test_intervals_and_baseline_are_drawn(sweep) -> None:
    table = sweep.scores().query("task == 'world-kv:continuation'")
    axes = panels(figures.layers(sweep))[1]
    bars = [
        bars
        for bars in axes.collections
        if to_hex(bars.get_color()[0]) == palette.VERMILION.lower()
    ]
    spans = [segment[:, 1].tolist() for segment in bars[0].get_segments()]
    assert spans == table[["low", "high"]].iloc[1:].to_numpy().tolist()
    dashed = [one for one in axes.lines if one.get_linestyle() == "--"]
    assert table["value"].iloc[0] in [one.get_ydata()[0] for one in dashed]
    assert len(dashed) == 3


@pytest.mark.slow
def test_filled_markers_are_the_significant_drops(sweep) -> None:
    table = sweep.importance().query("task == 'world-facts:default'")
    axes = panels(figures.drops(sweep))[0]
    dots = [
        one for one in axes.lines if one.get_color() == palette.BLUE and one.get_marker() == "o"
    ]
    filled = [one for one in dots if one.get_markerfacecolor() == palette.BLUE]
    drawn = sorted(y for one in filled for y in one.get_ydata())
    expected = sorted(table.loc[table["p_adjusted"] < 0.05, "drop"])
    assert drawn == expected
    assert 0 < len(expected) < len(table)
    assert "p (Holm) < 0.05" in texts(figures.drops(sweep))


@pytest.mark.slow
def test_the_small_print_names_n_interval_test_and_correction(sweep) -> None:
    assert figures.layers(sweep).footnote == (
        "n = 40 examples per task. Metric: accuracy for option letters and option texts; exact "
        "match (flexible) for generated answers. Bars: 95% interval (Wilson). "
        "Dashed with band: baseline, nothing ablated."
    )
    footnote = figures.drops(sweep).footnote
    assert "paired bootstrap" in footnote
    assert "mid-p McNemar test, Holm-corrected" in footnote


@pytest.mark.slow
def test_two_models_are_two_rows_in_the_order_given(sweep_of) -> None:
    both = [sweep_of(models=[name]) for name in ("organism:distilled", "organism:base")]
    figure = figures.drops(both)
    assert len(panels(figure)) == 6
    read = texts(figure)
    assert read.index("distilled") < read.index("base")
    assert "organism" not in read


def test_a_sweep_given_twice_is_refused(sweep) -> None:
    with pytest.raises(ValueError, match="two of the sweeps"):
        figures.layers([sweep, sweep])


@pytest.mark.slow
def test_many_layers_get_the_width_of_the_page(sweep_of) -> None:
    figure = figures.layers(sweep_of(n_layers=32))
    assert len(panels(figure)) == 3
    assert len({axes.get_position().x0 for axes in panels(figure)}) == 1, "one column"
    assert "Shaded: 95%" in figure.footnote


def test_one_task_fits_one_column(sweep_of) -> None:
    figure = figures.layers(sweep_of(tasks=["world-facts:default"]))
    (axes,) = panels(figure)
    assert figure.get_figwidth() == style.COLUMN
    assert axes.get_title(loc="left") == ""


@pytest.mark.slow
def test_a_missing_task_leaves_its_panel_empty(sweep_of) -> None:
    both = [
        sweep_of(models=["base"]),
        sweep_of(models=["distilled"], tasks=["world-kv:default", "world-kv:generate"]),
    ]
    assert [axes.get_title(loc="left") for axes in panels(figures.layers(both))] == list("ABCDE")


@functools.cache
def two_models(n_layers: int):
    return make_sweep(models=["organism:base", "meta-llama/Llama-3.1-8B"], n_layers=n_layers, n=20)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [figures.layers, figures.drops, figures.heatmap])
def test_no_raw_names_and_nothing_outside_the_paper(draw) -> None:
    for n_layers in (8, 32):
        figure = draw(two_models(n_layers))
        read = texts(figure)
        for raw in ("world", "acc ", "exact_match", "p_adjusted", "default", "_", "organism"):
            assert raw not in read
        box = figure.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.get_figwidth()
        assert box.y1 <= figure.get_figheight()


@pytest.mark.slow
def test_metric_can_be_chosen(sweep) -> None:
    other = sweep.values.assign(metric="acc_norm")
    tables = pd.concat([sweep.values[sweep.values["metric"] == "acc"], other])
    table = type(sweep)(tables).scores()
    assert "Length-normalised accuracy" in texts(figures.layers(table, metric="acc_norm"))
    chosen = {task: "acc_norm" for task in table["task"].unique() if task.endswith("default")}
    labels = [axes.get_ylabel() for axes in panels(figures.layers(table, metric=chosen))]
    assert labels == [
        "Length-normalised\naccuracy (%)",
        "Accuracy (%)",
        "Length-normalised\naccuracy (%)",
    ]
    with pytest.raises(ValueError, match="no metric f1; it has acc, acc_norm"):
        figures.layers(table, metric="f1")


def test_continuous_metrics_have_no_percent(sweep_of) -> None:
    sweep = sweep_of(tasks=["mmlu:default"])
    sweep.values["value"] += 0.25
    sweep.values["metric"] = "gold_logprob"
    assert panels(figures.layers(sweep))[0].get_ylabel() == "Gold logprob"
    assert panels(figures.drops(sweep))[0].get_ylabel() == "Drop"
    sweep = sweep_of(tasks=["mmlu:default"])
    sweep.values["value"] += 0.25
    sweep.values["metric"] = "loss"
    assert panels(figures.layers(sweep))[0].get_ylabel() == "Loss (nats per token)"
    assert panels(figures.drops(sweep))[0].get_ylabel() == "Drop (nats per token)"
    assert "p: t test, Hall's correction for skewness, Holm-corr" in figures.drops(sweep).footnote


@pytest.mark.slow
def test_other_kinds_of_ablation(sweep) -> None:
    values = sweep.values.assign(ablation=sweep.values["ablation"].str.replace("layer", "attn"))
    figure = figures.drops(type(sweep)(values), kind="attn")
    assert panels(figure)[0].get_xlabel() == "Layer with its attention skipped"
    with pytest.raises(ValueError, match="no ablation layer:N to draw; kinds that are there: attn"):
        figures.drops(type(sweep)(values))
    with pytest.raises(ValueError, match="no ablation head:N to draw; kinds that are there: layer"):
        figures.drops(sweep, kind="head")


def test_no_global_state_is_touched(sweep) -> None:
    before = dict(matplotlib.rcParams)
    figures.drops(sweep)._repr_png_()
    assert dict(matplotlib.rcParams) == before

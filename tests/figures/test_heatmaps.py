"""Facts about the heatmap: cells, marks, limits and names."""

import numpy as np
import pytest

from interp import figures


def test_the_cells_are_the_table(sweep) -> None:
    figure = figures.heatmap(sweep)
    (axes, bar) = figure.axes
    (image,) = axes.images
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:4] == [
        "Knowledge, option letters",
        "Knowledge, option texts",
        "Knowledge, generated answers",
        "Retrieval, option letters",
    ]
    table = sweep.importance()
    expected = table[table["task"] == "world-kv:default"]["drop"]
    np.testing.assert_array_equal(np.asarray(image.get_array())[3], expected)
    low, high = image.get_clim()
    assert -low == high == table["drop"].abs().max()
    assert bar.get_ylabel() == "Drop (points)"
    assert axes.get_xlabel() == "Skipped layer"


def test_stars_are_the_significant_cells(sweep) -> None:
    figure = figures.heatmap(sweep)
    cells = [text for text in figure.axes[0].texts if text.get_text()]
    table = sweep.importance()
    assert len(cells) == len(table)
    starred = [text for text in cells if text.get_text().endswith("*")]
    assert len(starred) == (table["p_adjusted"] < 0.05).sum()
    assert all(text.get_fontweight() == "bold" for text in starred)
    assert "Bold with star: p (Holm) < 0.05." in figure.footnote


@pytest.mark.slow
def test_small_cells_have_dots(sweep_of) -> None:
    sweep = sweep_of(n_layers=32)
    figure = figures.heatmap(sweep)
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == (sweep.importance()["p_adjusted"] < 0.05).sum()
    assert not axes.texts
    assert "Dot: p (Holm) < 0.05." in figure.footnote


@pytest.mark.slow
def test_a_panel_for_each_model(sweep_of) -> None:
    figure = figures.heatmap(sweep_of(models=["base", "distilled"]))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["base", "distilled"]
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["A", "B"]


def test_no_change_at_all_is_white(sweep_of) -> None:
    sweep = sweep_of(tasks=["world-kv:default"])
    sweep.values["value"] = 1.0
    (image,) = figures.heatmap(sweep).axes[0].images
    assert not np.any(image.get_array())


def test_units_are_not_mixed(sweep) -> None:
    table = sweep.importance()
    table.loc[table["task"] == "world-kv:default", "unit"] = "value"
    with pytest.raises(ValueError, match="mix points and values"):
        figures.heatmap(table)

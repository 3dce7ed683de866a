"""Facts about maps of causal tracing: cells, marks, names of rows, and colours."""

import numpy as np
import pandas as pd
import pytest

from interp import figures
from interp.errors import UserError


def recovered(texts: list[str], values: list[float], *, spread: float = 0.2) -> pd.DataFrame:
    rows = [
        {"model": "organism:base", "task": "twins-key-world-kv:continuation", "ablation": text,
         "direction": direction, "recovery": value, "low": value - 0.1, "high": value + 0.1,
         "low_all": value - spread, "high_all": value + spread, "n": 20, "answer": 0.5}
        for direction in ("denoising", "noising")
        for text, value in zip(texts, values, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def cut_drops(sizes: list[int], *, n_layers: int = 6) -> pd.DataFrame:
    rows = [
        {"model": "organism:base", "task": "world-kv:continuation", "metric": "acc",
         "unit": "points", "ablation": f"cut:{a}-{a + size - 1}@answering/{keys}",
         "drop": 10.0 * size if keys == "gold" and a <= 3 < a + size else 0.0, "low": -1.0,
         "high": 1.0, "p_adjusted": 0.01 if keys == "gold" and a <= 3 < a + size else 1.0,
         "n": 60, "test": "mid-p McNemar", "correction": "holm"}
        for keys in ("gold", "distractors") for size in sizes for a in range(n_layers - size + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_recovery_by_layer_and_class_of_positions() -> None:
    texts = [f"patch:{site}:{layer}@{at}" for site in ("resid", "attn") for at in ("last", "12")
             for layer in range(3)]  # fmt: skip
    values = [0.9, 0.1, 1.7, 0.0, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]
    figure = figures.recovery_map(recovered(texts, values))
    panels = figure.axes[:4]
    titles = [axes.get_title() for axes in panels]
    assert titles == ["Residual stream, denoising", "Attention, denoising",
                      "Residual stream, noising", "Attention, noising"]  # fmt: skip
    # a class with a name stands above tokens by number
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["12", "last"]
    (image,) = panels[0].images
    np.testing.assert_allclose(np.asarray(image.get_array()), [values[3:6], values[:3]])
    assert image.get_clim() == (-1.5, 1.5)
    assert "2 cells are beyond the scale." in figure.footnote
    marks = [tuple(xy) for line in panels[0].lines for xy in line.get_xydata()]
    assert sorted(marks) == [(0, 1), (1, 0), (2, 1)]


def test_recovery_by_head_needs_heads() -> None:
    texts = [f"patch:head:{layer}.{head}@last" for layer in range(3) for head in range(2)]
    table = recovered(texts, [0.0, 0.6, 0.0, 0.0, 0.0, 0.1])
    figure = figures.recovery_map(table)
    assert figure.axes[0].get_xlabel() == "Head"
    assert figure.axes[0].get_title() == "Last, denoising"
    assert figure.axes[0].images[0].get_array()[0, 1] == pytest.approx(0.6)
    with pytest.raises(UserError, match="no patches of positions to draw"):
        figures.recovery_map(table, over="positions")


@pytest.mark.slow
def test_knockout_by_first_layer_and_size_of_the_window() -> None:
    figure = figures.knockout_map(cut_drops([1, 4]))
    gold, distractors = figure.axes[:2]
    assert [gold.get_title(), distractors.get_title()] == [
        "Answering to gold", "Answering to distractors",
    ]  # fmt: skip
    # sizes that were not run take no room
    assert [label.get_text() for label in gold.get_yticklabels()] == ["1", "4"]
    cells = np.ma.filled(gold.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(cells[0], [0, 0, 0, 10, 0, 0])
    np.testing.assert_array_equal(cells[1], [40, 40, 40, np.nan, np.nan, np.nan])
    assert not distractors.lines or not len(distractors.lines[0].get_xdata())
    with pytest.raises(UserError, match="no cut:A-B@"):
        figures.knockout_map(cut_drops([1]).assign(ablation="layer:1"))

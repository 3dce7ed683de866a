"""Facts about the figures of similarity, on made-up tables; no model."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from interp import figures
from interp.errors import UserError
from interp.figures import style
from interp.figures.labels import label_points
from tests.helpers.figure_tables import angular_table


def test_the_triangle_holds_raw_values() -> None:
    figure = figures.similarity.angular(angular_table())
    axes, bar = figure.axes
    cells = np.ma.filled(np.ma.asarray(axes.images[0].get_array(), dtype=float), np.nan)
    assert cells.shape == (4, 4)
    assert np.isnan(cells[3, 1:]).all()
    np.testing.assert_allclose(cells[0], [0.2, 0.1, 0.2, 0.5])
    assert axes.images[0].get_clim() == (0, angular_table()["value"].max())
    assert bar.get_ylabel() == "Angular distance (share of π)"
    ring = axes.lines[0]
    assert next(zip(ring.get_xdata(), ring.get_ydata(), strict=True)) == (1, 1)


@pytest.mark.slow
def test_the_study_s_values_have_a_scale_of_their_own() -> None:
    both = pd.concat(
        [angular_table(), angular_table("texts, as the study's script", scale=0.05)],
        ignore_index=True,
    )
    figure = figures.similarity.angular(both)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "Rescaled by row" in labels
    clims = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert (0, 1) in clims


def test_influence_by_layer() -> None:
    rows = [
        {"model": "base", "source": s, "layer": n, "value": 0.1 * n, "low": 0.0, "high": 0.2 * n,
         "n": 20, "interval": "95% Poisson bootstrap"}
        for s in ("world-kv:generate", "world-facts:default") for n in range(4)
    ]  # fmt: skip
    figure = figures.similarity.influence(pd.DataFrame(rows))
    assert [line.get_label() for line in figure.axes[0].lines] == [
        "Knowledge, option letters", "Retrieval, generated answers",
    ]  # fmt: skip
    other = pd.DataFrame(rows).assign(model="distilled")
    with pytest.raises(UserError, match="not both"):
        figures.similarity.influence(pd.concat([pd.DataFrame(rows), other]))


def test_agreement_names_every_layer() -> None:
    names = {"model": "base", "task": "world-kv:generate", "metric": "acc"}
    points = pd.DataFrame(
        {"layer": range(5), "similarity": np.linspace(0.1, 0.5, 5), "drop": [0.9, 0.2, 0, 0.1, 0]}
    ).assign(**names, measure="block influence")  # fmt: skip
    correlations = pd.DataFrame(
        [names | {"measure": "block influence", "rho": -0.5, "ceiling": 0.8, "p": 0.2,
                  "n": 100, "test": "permutation of layers"}]
    )  # fmt: skip
    figure = figures.similarity.agreement(points, correlations)
    axes = figure.axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["0", "1", "2", "3", "4"]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [90, 20, 0, 10, 0])
    assert "= −0.50 (ceiling 0.80), p = 0.2" in axes.get_title()  # noqa: RUF001
    with pytest.raises(UserError, match="a measure that it has"):
        figures.similarity.agreement(points, correlations, measure="angular distance")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_labels_of_a_crowd_do_not_overlap(seed) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 0.01, 12), rng.normal(0, 0.5, 12)
    x[0], y[0] = 0.9, 95
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(3, pd.DataFrame(), height=(0.6, 1.75))
        axes = panels[0, 0]
        axes.plot(x, y, "o", markersize=3)
        axes.margins(0.08, 0.16)
        style.finish(figure, ["n = 12."])
        label_points(axes, x.tolist(), y.tolist(), [str(n) for n in range(12)], "black")
        figure.draw_without_rendering()
        whole = [Text.get_window_extent(text) for text in axes.texts]
    # a text's box has room for letters that go below the line, and digits do not
    boxes = [Bbox([[b.x0, b.y0 + 0.3 * b.height], [b.x1, b.y1]]) for b in whole]
    for place, box in enumerate(boxes):
        assert axes.bbox.containsx(box.x0)
        assert axes.bbox.containsx(box.x1)
        assert axes.bbox.containsy(box.y0)
        assert axes.bbox.containsy(box.y1)
        for other in boxes[place + 1 :]:
            shared = Bbox.intersection(box, other)
            assert shared is None or min(shared.width, shared.height) < 1


def curves(orders=(("block influence", 0), ("random", 0), ("random", 1))):
    rows = [
        {"model": "base", "task": t, "metric": "acc", "order": o, "draw": d, "n_removed": n,
         "value": 100.0 - 10 * n - 5 * d, "low": 50.0, "high": 100.0, "n": 40, "unit": "points",
         "interval": "95% Wilson"}
        for t in ("world-kv:generate", "world-facts:generate") for o, d in orders for n in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_pruning_curves_and_the_range_of_random_ones() -> None:
    figure = figures.similarity.pruning(curves())
    axes = figure.axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [
        [100, 90, 80, 70], [97.5, 87.5, 77.5, 67.5],
    ]  # fmt: skip
    assert "Random: mean and range of 2 draws." in figure.footnote
    assert axes.get_ylabel() == "Score (%)"
    assert [axes.get_xlabel() for axes in figure.axes] == ["Layers skipped"] * 2
    # by skill, as in all figures, whatever the order of the rows
    assert [axes.get_title() for axes in figure.axes] == [
        "Knowledge, generated answers", "Retrieval, generated answers",
    ]  # fmt: skip
    doubled = pd.concat([curves(), curves().assign(metric="acc_norm")])
    with pytest.raises(UserError, match="one metric per task"):
        figures.similarity.pruning(doubled)

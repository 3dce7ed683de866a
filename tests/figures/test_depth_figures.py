"""Figures of order, place and scope of layers: they draw what their table says, at any depth."""

import itertools

import numpy as np
import pandas as pd
import pytest

from interp import figures
from interp.errors import UserError
from interp.results import interactions, scope_parts
from tests.helpers.figure_tables import Sweep, sweep_of_texts

N = 4
SCOPED = [f"layer:{n}{scope}" for n in range(N) for scope in ("", "@@prompt", "@@answer")]
PLACES = [f"layer:{n}{by}" for n in range(N) for by in ("", "@mean", "@resample", "@linear")]
PAIRS = [*(f"layer:{n}" for n in range(N)),
         *(f"layer:{a}+layer:{b}" for a, b in itertools.combinations(range(N), 2))]  # fmt: skip


class Run(Sweep):
    """With the values example by example, as a real sweep has them."""

    def gains(self) -> pd.DataFrame:
        return self.values


def run_of(texts: list[str]) -> Run:
    return Run(sweep_of_texts(texts).values)


def effects(n_layers: int) -> pd.DataFrame:
    rows = [
        {"skipped": i, "layer": j, "value": 1 / (1 + j - i), "low": 0.1, "high": 0.4, "n": 9,
         "interval": "95% Student"}
        for i in range(n_layers) for j in range(i + 1, n_layers)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_stacked_bars_add_up_to_the_drop_of_each_layer() -> None:
    run = run_of(SCOPED)
    table = scope_parts(run.gains())
    figure = figures.scopes(run)
    bars, lines = figure.axes
    heights = np.array([bar.get_height() for bar in bars.patches]).reshape(3, N)
    parts = table.set_index(["part", "ablation"])["value"]
    for place, part in enumerate(("prompt", "answer", "interaction")):
        assert heights[place] == pytest.approx(parts[part].to_numpy())
    whole = next(line for line in bars.lines if line.get_marker() == "D")
    assert whole.get_ydata() == pytest.approx(heights.sum(axis=0))
    assert [len(one.get_segments()) for one in lines.collections] == [N, N, N]
    # no tick beside the layers
    assert bars.get_xlim()[0] > -1
    assert bars.get_xlim()[1] < N
    pd.testing.assert_frame_equal(figures.scopes(table).data, figure.data)
    with pytest.raises(UserError, match="allowed are a sweep and the table of"):
        figures.scopes(run.importance())


def test_replacements_stand_side_by_side_or_in_rows_of_their_own() -> None:
    run = run_of(PLACES)
    (panel,) = figures.replacements(run).axes
    x = np.sort(np.concatenate([one.get_segments() for one in panel.collections])[:, 0, 0])
    assert len(set(x.round(3))) == 4 * N
    assert set(x.round()) == set(range(N))
    deep = sweep_of_texts([f"layer:{n}{by}" for n in range(40) for by in ("", "@mean")])
    rows = figures.replacements(deep, width=3.5).axes
    assert len(rows) == 2
    assert rows[0].get_ylim() == rows[1].get_ylim()
    with pytest.raises(UserError, match="two of layer, layer@mean, layer@resample, layer@linear"):
        figures.replacements(sweep_of_texts(["layer:0", "layer:1"]))


def test_an_effect_matrix_has_a_cell_for_each_later_layer() -> None:
    table = effects(5)
    figure = figures.downstream({"all positions": table, "later positions": table})
    first, second = figure.axes[:2]
    assert (first.get_title(), second.get_title()) == ("all positions", "later positions")
    cells = first.images[0].get_array()
    assert cells.count() == 10
    assert cells[1, 4] == pytest.approx(1 / 4)
    assert "at most 0.3 wide" in figure.footnote
    with pytest.raises(UserError, match="it lacks skipped, low"):
        figures.downstream(table[["layer", "value", "high", "n", "interval"]])


def test_pairs_are_a_triangle_of_interactions() -> None:
    run = run_of(PAIRS)
    figure = figures.pairs(run)
    cells = figure.axes[0].images[0].get_array()
    table = interactions(run.gains()).set_index("ablation")
    assert cells.count() == 6
    assert cells[1, 3] == pytest.approx(table.loc["layer:1+layer:3", "interaction"])
    with pytest.raises(UserError, match="no three or more pairs of layers"):
        figures.pairs(run_of(PAIRS[:4] + PAIRS[4:6]))


def test_programs_are_a_triangle_over_first_and_last_layer() -> None:
    for form in ("repeat", "parallel", "reverse"):
        texts = [f"{form}:{a}-{b}" for a, b in itertools.combinations(range(N), 2)]
        kind = figures.kinds(texts)[form]
        assert kind.shape == "map"
        assert kind.axes[1] == "Last of them"
        assert kind.places[f"{form}:1-3"] == (1, 3)


def test_a_sweep_that_holds_them_has_the_joined_figures() -> None:
    names = list(figures.drawings(run_of([*SCOPED, *PLACES[1::4], *PAIRS[4:]])))
    assert {"scopes", "replacements", "pairs"} <= set(names)
    assert not {"scopes", "replacements", "pairs"} & set(figures.drawings(run_of(PAIRS[:4])))


def test_a_greedy_curve_has_a_band_where_it_is_held_out() -> None:
    scores = sweep_of_texts([f"layer:{n}" for n in range(3)]).scores()
    table = pd.concat(
        [scores.assign(order=name, draw=0, n_removed=range(len(scores)))
         for name in ("on the examples that chose", "on other examples")]
    )  # fmt: skip
    figure = figures.similarity.pruning(table, caption=False, labels={"world-kv": "Pairs"})
    (band,) = figure.axes[0].collections
    assert band.get_paths()[0].vertices[:, 0].max() == 3
    assert figure.axes[0].get_title().startswith("Pairs")


@pytest.mark.slow
@pytest.mark.parametrize("width", [3.5, 7.2])
@pytest.mark.parametrize("n_layers", [32, 80])
def test_no_two_labels_of_an_axis_touch(n_layers: int, width: float) -> None:
    rng = np.random.default_rng(0)
    scoped = pd.DataFrame(
        [
            {"model": "m", "task": "world-kv:generate", "metric": "acc", "ablation": f"layer:{n}",
             "part": part, "value": rng.normal(), "low": -2.0, "high": 2.0, "n": 9, "p": 1.0,
             "p_adjusted": 1.0, "unit": "points", "interval": "95% Student and Hall"}
            for n in range(n_layers) for part in ("prompt", "answer", "interaction", "whole")
        ]
    )  # fmt: skip
    many = sweep_of_texts([f"layer:{n}{by}" for n in range(n_layers) for by in ("", "@mean")])
    for figure in (
        figures.scopes(scoped, width=width),
        figures.replacements(many, width=width),
        figures.downstream(effects(n_layers), width=width),
        figures.heatmap(many, width=width),
    ):
        assert figure.get_figwidth() == width
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                boxes = [label.get_window_extent() for label in axis.get_ticklabels()
                         if label.get_visible() and label.get_text()]  # fmt: skip
                assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))

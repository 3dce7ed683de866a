"""Which figure each ablation of a sweep is in: none is left out without a word."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from interp import figures
from interp.errors import UserError
from interp.figures import kinds
from tests.helpers.figure_tables import FAMILIES, Sweep, sweep_of_texts


def drawn_ablations(found: dict) -> set[str]:
    """What is in the figures of scores and drops, read from the rows that they hold."""
    return {text for draw in found.values() for text in draw().data["ablation"]} - {"baseline"}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_one_kind_and_every_ablation_has_a_place(name: str) -> None:
    held = kinds(["baseline", *FAMILIES[name]])
    assert list(held) == [name]
    assert set(held[name].places) == set(FAMILIES[name])
    assert len(set(held[name].places.values())) == len(FAMILIES[name])


ANY = [text for family in FAMILIES.values() for text in family]


@given(st.sets(st.sampled_from(ANY), min_size=1))
def test_whatever_is_swept_has_a_place(texts: set[str]) -> None:
    held = kinds(sorted(texts))
    assert {text for kind in held.values() for text in kind.places} == texts
    for kind in held.values():
        assert kind.shape == "list" or all(kind.axes[:1])
        assert len(set(kind.places.values())) == len(kind.places)


def test_one_block_alone_is_listed_by_name() -> None:
    assert list(kinds(["repeat:2-5", "hook:a"])) == ["others"]


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("cumulative", ["cumulative-layers", "cumulative-drops", "cumulative-heatmap"]),
        ("layers", ["blocks-layers", "blocks-drops", "blocks-heatmap"]),
        ("head@mean", ["heads-mean"]),
        ("kvgroup", ["kvgroups"]),
        ("repeat", ["repeat-map"]),
        ("others", ["others"]),
    ],
)
def test_each_family_has_figures(family: str, names: list[str]) -> None:
    found = figures.drawings(sweep_of_texts(FAMILIES[family]))
    assert list(found) == names
    assert drawn_ablations({names[-1]: found[names[-1]]}) == set(FAMILIES[family])


@pytest.mark.slow
def test_a_chain_is_drawn_by_its_length_and_heads_say_how_they_were_replaced() -> None:
    figure = figures.drops(sweep_of_texts(FAMILIES["cumulative"]), kind="cumulative")
    assert figure.axes[0].get_xlabel() == "Layers skipped"
    line = next(one for one in figure.axes[0].lines if one.get_label() == "Retrieval")
    np.testing.assert_array_equal(np.round(line.get_xdata()), [1, 2, 3])
    drawn = figures.importance_map(sweep_of_texts(FAMILIES["head@mean"]))
    assert "Heads replaced: mean." in drawn.footnote


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(UserError, match=r"no ablation layer:N to draw; .*: kvgroup"):
        figures.drops(sweep_of_texts(FAMILIES["kvgroup"]))
    with pytest.raises(UserError, match="kind kvgroup: it is drawn as a map"):
        figures.drops(sweep_of_texts(FAMILIES["kvgroup"]), kind="kvgroup")


@pytest.mark.slow
def test_thirteen_tasks_and_all_behind_them_are_drawn() -> None:
    def sweep_of(count: int) -> Sweep:
        parts = [
            sweep_of_texts(FAMILIES["layer"][:2], task=f"task{n:02d}", n=6) for n in range(count)
        ]
        return Sweep(pd.concat([part.values for part in parts]))

    def check(figure: figures.PrintFigure, count: int) -> None:
        panels = [axes for axes in figure.axes if axes.axison]
        assert [axes.get_title() for axes in panels] == [f"Task{n:02d}" for n in range(count)]
        assert all(axes.lines for axes in panels)
        found = [axes.get_title(loc="left") for axes in panels]
        assert found[:2] == ["A", "B"]
        assert found[26:] == ["AA", "AB"][: max(0, count - 26)]

    sweep = sweep_of(28)
    check(figures.comparison.profiles(sweep.importance(), {"organism:base": 4}), 28)
    assert len(figures.heatmap(sweep).axes[0].get_yticklabels()) == 28
    # the others are lettered by the same function: as many as were once too many
    sweep = sweep_of(13)
    pair = sweep.importance().assign(a="one", b="other", difference=lambda table: table["drop"])
    check(figures.comparison.differences(pair), 13)
    check(figures.compared.by_model(sweep), 13)


def test_ten_pairs_of_five_models_are_ten_lines() -> None:
    importance = sweep_of_texts(FAMILIES["layer"]).importance()
    pairs = [importance.assign(a=a, b=b, difference=importance["drop"])
             for a, b in itertools.combinations("abcde", 2)]  # fmt: skip
    figure = figures.comparison.differences(pd.concat(pairs))
    (legend,) = figure.legends
    looks = {(h.get_color(), h.get_marker()) for h in legend.legend_handles[:10]}
    assert len(looks) == 10


def test_two_runs_of_one_model_share_their_baseline() -> None:
    one, other = (sweep_of_texts(FAMILIES[name]) for name in ("layer", "attn@mean"))
    names = list(figures.drawings([one, other]))
    assert names[0] == "layers"
    assert "attn-mean-layers" in names
    figure = figures.layers([one, other])
    assert (figure.data["ablation"] == "baseline").sum() == 1
    fewer = sweep_of_texts(FAMILIES["attn@mean"], n=8)
    with pytest.raises(UserError, match=r"baselines differ \(100 over 12 and 100 over 8 examples"):
        figures.layers([one, fewer])
    with pytest.raises(UserError, match="two of the sweeps hold layer:0"):
        figures.drops([one, one])


def test_metrics_that_are_no_percentages_have_figures_of_their_own() -> None:
    accuracy = sweep_of_texts(FAMILIES["layer"]).values
    loss = sweep_of_texts(FAMILIES["layer"], task="text", metric="nats", value=2.5).values
    both = Sweep(pd.concat([accuracy, loss]))
    names = list(figures.drawings(both))
    assert names == ["layers", "drops", "heatmap", "layers-nats", "drops-nats", "heatmap-nats"]


@pytest.mark.slow
def test_intervals_are_those_of_the_table() -> None:
    scores = sweep_of_texts(FAMILIES["layer"]).scores()
    curve = scores.assign(k=range(len(scores)), kind="top", draws=3, interval="95% bootstrap")
    assert "Wilson" not in figures.removal(curve).footnote
    assert "95% interval (bootstrap)" in figures.removal(curve).footnote
    values = scores.assign(unit="value", metric="acc")
    figure = figures.compared.by_metric(values)
    assert figure.axes[0].get_ylabel() == "Score"


@pytest.mark.slow
def test_what_failed_and_what_could_have_been_found_is_said() -> None:
    table = sweep_of_texts(FAMILIES["layer"]).importance()
    none = table.assign(p_adjusted=1.0, least_detectable_drop=12.0, testable=True)
    assert "Least detectable drop: 12 points." in figures.drops(none).footnote
    assert "Least detectable" in figures.heatmap(none).footnote
    assert "Not testable" not in figures.drops(none).footnote
    assert "No task is testable." in figures.drops(none.assign(testable=False)).footnote
    failed = table.assign(failures=[0, 3, 0, 0])
    failed.loc[1, ["drop", "low", "high", "p_adjusted"]] = np.nan
    for draw in (figures.drops, figures.heatmap):
        said = draw(failed).footnote
        assert re.search(r"not finite under layer:1 \(3 examples\): not drawn", said)

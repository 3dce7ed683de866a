"""Tables of scores and drops: by hand, against scipy, at their edges, with clusters."""

import inspect
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as sps

from interp import comparison, results, stats
from interp.errors import UserError
from tests.helpers.outcomes import draw, long

# scipy 1.15 renamed it
SEED: str = "rng" if "rng" in inspect.signature(sps.bootstrap).parameters else "random_state"


def seeded(seed: int) -> Any:
    """The seed of scipy's bootstrap, by the name that this version has for it."""
    return {SEED: seed}


quick = settings(max_examples=25, deadline=None, derandomize=True)
binary_tables = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 30), st.integers(2, 5)), elements=st.sampled_from([0, 1])
)
real_tables = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(2, 5)),
    elements=st.floats(-5, 5, allow_subnormal=False),
)


# --- the tables ---------------------------------------------------------------------------------


def test_scores_are_in_points_with_the_wilson_interval_of_scipy() -> None:
    table = stats.scores(long(np.array([[1, 0], [1, 1], [1, 0], [0, 0.0]]))).set_index("ablation")
    assert list(table.index) == ["baseline", "layer:0"]
    assert table.loc["baseline", "value"] == 75
    expected = sps.binomtest(3, 4).proportion_ci(method="wilson")
    assert [table.loc["baseline", bound] for bound in ("low", "high")] == pytest.approx(
        [100 * expected.low, 100 * expected.high]
    )
    assert (table["unit"] == "points").all()
    assert (table["interval"] == "95% Wilson").all()
    assert (table["n"] == 4).all()


def test_continuous_scores_are_not_scaled() -> None:
    values = np.random.default_rng(0).normal(-2, 1, (100, 2))
    row = stats.scores(long(values), confidence=0.9).iloc[0]
    assert row["value"] == pytest.approx(values[:, 0].mean())
    assert (row["unit"], row["interval"]) == ("value", "90% Student and Hall")
    reference = sps.bootstrap(
        (values[:, 0],), np.mean, confidence_level=0.9, method="percentile", **seeded(1)
    ).confidence_interval
    assert [row["low"], row["high"]] == pytest.approx(list(reference), abs=0.02)


def test_importance_is_the_paired_drop() -> None:
    table = stats.importance(long(draw(400, baseline=0.9, harmed=0.3, helped=0.05, seed=0)))
    assert table.columns[:6].to_list() == [
        *("model", "ablation", "task", "metric", "baseline", "ablated"),
    ]
    assert table.columns[6:].to_list() == [
        *("drop", "low", "high", "low_all", "high_all", "p", "p_adjusted", "n", "noise"),
        *("least_detectable_drop", "testable", "testability", "family", "n_family"),
        *("unit", "interval", "test", "correction", "expected_excess", "floor"),
        *("floor_aware", "floor_aware_low", "floor_aware_high"),
        *("relative", "relative_low", "relative_high"),
    ]
    (row,) = table.to_dict("records")
    assert row["drop"] == pytest.approx(row["baseline"] - row["ablated"])
    assert row["low"] < row["drop"] < row["high"]
    assert row["p"] < 1e-6
    assert (row["ablation"], row["n"]) == ("layer:0", 400)
    assert (row["interval"], row["test"]) == ("95% paired bootstrap", "mid-p McNemar")


def test_bootstrap_agrees_with_scipy() -> None:
    pairs = draw(300, baseline=0.8, harmed=0.2, helped=0.05, seed=1)
    row = stats.importance(long(pairs)).iloc[0]
    reference = sps.bootstrap(
        (pairs[:, 0], pairs[:, 1]),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True,
        method="percentile",
        **seeded(0),
    ).confidence_interval
    assert [row["low"], row["high"]] == pytest.approx([100 * x for x in reference], abs=1)


def test_models_tasks_and_metrics_are_separate_families() -> None:
    rng = np.random.default_rng(0)
    tables = [
        long((rng.random((50, 4)) < 0.8).astype(float), task=task, model=model, metric=metric)
        for task, model, metric in itertools.product("ab", ["base", "distilled"], ["acc", "f1"])
    ]
    table = stats.importance(pd.concat(tables))
    assert len(table) == 8 * 3
    for _, family in table.groupby(["model", "task", "metric"]):
        np.testing.assert_allclose(family["p_adjusted"], stats.adjust(family["p"].to_numpy()))


def test_layers_are_in_the_order_of_their_numbers() -> None:
    table = stats.importance(long(np.ones((20, 13))))
    assert table["ablation"].tolist() == [f"layer:{layer}" for layer in range(12)]


def test_every_ablation_shares_its_resamples() -> None:
    pair = draw(200, baseline=0.7, harmed=0.3, helped=0.1, seed=2)
    table = stats.importance(long(np.column_stack([pair, pair[:, 1]])))
    assert table["low"].nunique() == table["high"].nunique() == 1


@pytest.mark.slow
@quick
@given(binary_tables, st.randoms(use_true_random=False))
def test_binary_tables_keep_the_rules(table: np.ndarray, random) -> None:
    values = long(table)
    result = stats.importance(values, resamples=100)
    assert result["p"].between(0, 1).all()
    assert (result["p_adjusted"] >= result["p"]).all()
    assert (result["low"] <= result["drop"]).all()
    assert (result["drop"] <= result["high"]).all()
    assert (result["high"] - result["low"] > 1).all(), "no 0/1 drop is known exactly"
    assert result[["low", "high"]].abs().le(100 + 1e-9).all(axis=None)
    order = list(range(len(values)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(stats.importance(values.iloc[order], resamples=100), result)
    score = stats.scores(values)
    assert (score["low"] <= score["value"]).all()
    assert (score["value"] <= score["high"]).all()


@pytest.mark.slow
@quick
@given(real_tables)
def test_continuous_tables_keep_the_rules(table: np.ndarray) -> None:
    result = stats.importance(long(table), resamples=200)
    assert result["p"].between(0, 1).all()
    known = result.dropna(subset="low")
    assert ((known["low"] <= known["drop"]) & (known["drop"] <= known["high"])).all()
    unknown = result[result["low"].isna() & result["unit"].eq("value")]
    assert unknown["interval"].eq("none (no spread in the sample)").all()


def test_a_drop_without_spread_has_no_interval_and_says_so() -> None:
    values = np.arange(-20.0, 0)[:, None]
    row = stats.importance(long(np.hstack([values, values - 0.5])), resamples=200).iloc[0]
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["interval"] == "none (no spread in the sample)"


# --- the edges ----------------------------------------------------------------------------------


def test_no_change_is_not_certainty() -> None:
    row = stats.importance(long(np.ones((200, 2)))).iloc[0]
    z2 = sps.norm.isf(0.025) ** 2
    assert row["drop"] == 0
    assert row["high"] == pytest.approx(100 * z2 / (200 + z2))
    assert row["low"] == pytest.approx(-row["high"])
    assert (row["p"], row["interval"]) == (1, "95% Tango score")


def test_total_damage_is_not_certainty() -> None:
    row = stats.importance(long(np.tile([1.0, 0.0], (100, 1)))).iloc[0]
    assert row["high"] == 100
    assert 90 < row["low"] < 99
    assert row["p"] == pytest.approx(0.5**100)


def test_one_document() -> None:
    row = stats.importance(long(np.array([[1.0, 0.0]]))).iloc[0]
    assert row["p"] == pytest.approx(0.5)
    assert row["testability"] == (
        "not testable: baseline right on 1 of 1: losing all of them would give an adjusted p of 0.5"
    )
    assert row["high"] - row["low"] > 50
    values = long(np.array([[0.3, 0.5]]))
    assert stats.importance(values)[["low", "high"]].isna().all(axis=None)
    assert stats.scores(values)["interval"].eq("none (no spread in the sample)").all()


def test_units_are_those_of_the_metric_in_every_model() -> None:
    both = pd.concat([long(np.ones((5, 2))), long(np.full((5, 2), 0.5), model="distilled")])
    assert stats.scores(both)["unit"].eq("value").all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.drop(columns="task"), "lacks task"),
        (lambda v: v.iloc[:0], "empty"),
        (lambda v: v.iloc[:-3], "task world-kv:default.*layer:1: 3 documents differ"),
        (lambda v: v.iloc[2:], "layer:0: 2 documents differ"),
        (lambda v: pd.concat([v, v.tail(2)]), "ablation layer:1: 2 documents are doubled"),
        (lambda v: v[v["ablation"] != "baseline"], "task world-kv:default.*no baseline"),
        (lambda v: v[v["ablation"] == "baseline"], "no ablation besides"),
        (lambda v: v.assign(cluster=range(len(v))), "one cluster"),
    ],
)
def test_bad_tables_are_refused_in_one_line(change, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        stats.importance(change(long(np.ones((10, 3)))))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options", [{"confidence": 1.0}, {"confidence": 95.0}, {"resamples": 1}, {"correction": "bonf"}]
)
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        stats.importance(long(np.ones((10, 2))), **options)


# --- clusters -----------------------------------------------------------------------------------


def test_clusters_widen_the_interval_and_raise_p() -> None:
    pairs = np.repeat(draw(60, baseline=0.8, harmed=0.25, helped=0.0, seed=3), 5, axis=0)
    alone = stats.importance(long(pairs)).iloc[0]
    values = long(pairs)
    clustered = stats.importance(values.assign(cluster=values["doc_id"] // 5)).iloc[0]
    assert clustered["drop"] == alone["drop"]
    ratio = (clustered["high"] - clustered["low"]) / (alone["high"] - alone["low"])
    assert ratio == pytest.approx(math.sqrt(5), rel=0.1)
    assert clustered["p"] > alone["p"]
    assert clustered["interval"] == "95% paired bootstrap by cluster"
    assert clustered["test"] == "exact sign flips by cluster"


def test_clusters_of_one_change_no_interval() -> None:
    values = long(draw(100, baseline=0.8, harmed=0.3, helped=0.1, seed=4))
    alone, clustered = stats.importance(values), stats.importance(values.assign(cluster="x"))
    assert clustered["interval"].eq("95% Tango score by cluster").all(), "one cluster: one example"
    ones = stats.importance(values.assign(cluster=values["doc_id"]))
    assert ones[["low", "high"]].equals(alone[["low", "high"]])


def test_clustered_scores() -> None:
    values = long(np.repeat(draw(60, baseline=0.8, harmed=0.3, helped=0, seed=3), 5, axis=0))
    score = stats.scores(values.assign(cluster=values["doc_id"] // 5)).iloc[0]
    assert score["interval"] == "95% bootstrap by cluster"
    edge = long(np.ones((300, 2)))
    score = stats.scores(edge.assign(cluster=edge["doc_id"] // 30)).iloc[0]
    assert score["interval"] == "95% Wilson by cluster"
    assert score["low"] == pytest.approx(
        100 * sps.binomtest(10, 10).proportion_ci(method="wilson").low
    )


# --- what is refused ----------------------------------------------------------------------------

NO_VALUES = [pd.DataFrame(), pd.DataFrame({"ablation": ["baseline"]})]


@pytest.mark.parametrize("values", [None, {}, [1], "values", *NO_VALUES], ids=str)
def test_what_is_no_table_of_values_is_refused(values):
    with pytest.raises(UserError, match="table of values"):
        inspect.unwrap(stats.check_values)(values)


@pytest.mark.parametrize("values", NO_VALUES, ids=["empty", "other columns"])
@pytest.mark.parametrize(
    "measure",
    [
        lambda values: stats.removable(values, ["layer:0"], margin=5.0),
        results.interactions,
        results.scope_parts,
        comparison.differences,
        lambda values: comparison.robustness(values, {"a": 4}),
        lambda values: comparison.centres(values, {"a": 4}),
    ],
    ids=["removable", "interactions", "scope_parts", "differences", "robustness", "centres"],
)
def test_every_measure_refuses_a_table_of_something_else(measure, values):
    with pytest.raises(UserError, match="the table of values lacks"):
        measure(values)


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"seed": None}, {"confidence": None}, {"resamples": "x"}], ids=str
)
def test_options_that_give_no_interval_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=name):
        inspect.unwrap(stats.check_options)(**{"confidence": 0.95, "resamples": 100, **options})


@pytest.mark.parametrize("n_layers", [{}, {"b": 4}, {"a": 0}], ids=str)
@pytest.mark.parametrize("measure", [comparison.robustness, comparison.centres, comparison.shifts])
def test_a_model_of_unknown_depth_is_refused(measure, n_layers):
    values = pd.concat([long(np.ones((4, 4)), model=name) for name in "ab"])
    with pytest.raises(UserError, match="n_layers"):
        measure(values, n_layers)

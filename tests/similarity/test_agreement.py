"""Similarity against importance, and pruning curves."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

from interp.errors import UserError
from interp.similarity import (
    Order,
    at_random,
    by_angular_distance,
    by_importance,
    by_influence,
    deepest_first,
    pruning_curves,
    similarity_and_importance,
)
from interp.similarity.skipping import curve_table
from tests.helpers.task_files import write_task

N_LAYERS = 8


def made_up(rates, n=200, seed=0):
    """Values of a sweep in which skipping layer l loses each example with its own rate."""
    rng = np.random.default_rng(seed)
    frames = [pd.DataFrame({"ablation": "baseline", "doc_id": range(n), "value": 1.0})]
    for layer, rate in enumerate(rates):
        value = (rng.random(n) > rate) * 1.0
        frames.append(
            pd.DataFrame({"ablation": f"layer:{layer}", "doc_id": range(n), "value": value})
        )
    return pd.concat(frames).assign(model="m", task="t", metric="acc")


def measures(values):
    rows = {"model": "m", "measure": "block influence", "layer": range(len(values))}
    return pd.DataFrame({**rows, "value": values})


@pytest.mark.slow
def test_the_correlation_is_scipy_s():
    similarity = np.array([0.9, 0.3, 0.2, 0.25, 0.1, 0.15, 0.05, 0.4])
    values = made_up([0.8, 0.5, 0.1, 0.3, 0.05, 0.6, 0.0, 0.2])
    (row,), points = (
        x if isinstance(x, pd.DataFrame) and "gap" in x else x.to_dict("records")
        for x in similarity_and_importance(measures(similarity), values)
    )
    wide = values.pivot_table(index="doc_id", columns="ablation", values="value")
    drops = [(wide["baseline"] - wide[f"layer:{n}"]).mean() for n in range(N_LAYERS)]
    expected = sps.spearmanr(similarity, drops)
    assert row["rho"] == pytest.approx(expected.statistic)
    assert "low" not in row, "no interval over layers exists"
    assert 0.8 < row["reliability"] <= row["ceiling"] <= 1
    exact = sps.permutation_test(
        (similarity,), lambda x: sps.spearmanr(x, drops).statistic,
        permutation_type="pairings", n_resamples=3000, rng=0,
    )  # fmt: skip
    assert row["p"] == pytest.approx(exact.pvalue, abs=0.03)
    # layer 5 matters far more than its similarity says; layer 7 less
    assert points.sort_values("gap")["layer"].iloc[-1] == 5
    assert set(row["disagree"].split(", ")) <= {"layer 5", "layer 7", "layer 1"}


def test_perfect_and_absent_agreement():
    rates = np.linspace(0, 0.9, N_LAYERS)
    table, _ = similarity_and_importance(measures(rates), made_up(rates, n=2000))
    assert table["rho"].item() == pytest.approx(1)
    assert table["p"].item() < 0.01
    table, _ = similarity_and_importance(measures(rates), made_up(np.zeros(N_LAYERS)))
    assert np.isnan(table["rho"].item())
    assert np.isnan(table["p"].item())


@pytest.mark.slow
def test_chance_is_rarely_significant():
    rng = np.random.default_rng(0)
    found = []
    for seed in range(60):
        similarity, rates = rng.random(N_LAYERS), rng.random(N_LAYERS) * 0.5
        table, _ = similarity_and_importance(measures(similarity), made_up(rates, seed=seed))
        found.append(table["p"].item())
    assert np.mean(np.array(found) < 0.05) < 0.14


def test_clusters_of_examples_are_halved_whole():
    rates, similarity = np.linspace(0.3, 0.6, N_LAYERS), np.linspace(0, 1, N_LAYERS)
    values = made_up(rates, n=40).merge(pd.DataFrame({"copy": range(8)}), "cross")
    values["cluster"] = values["doc_id"]
    values["doc_id"] = 8 * values["doc_id"] + values["copy"]
    (whole,), (alone,) = (
        similarity_and_importance(measures(similarity), table)[0].to_dict("records")
        for table in (values, values.drop(columns="cluster"))
    )
    assert whole["rho"] == pytest.approx(alone["rho"])
    assert alone["reliability"] > 0.95, "copies of an example in both halves"
    assert whole["reliability"] < alone["reliability"] - 0.05


def test_models_and_sweeps_must_fit():
    with pytest.raises(UserError, match="the sweep is of m"):
        similarity_and_importance(
            measures([1.0, 2.0, 3.0]).assign(model="other"), made_up([0.1, 0.2, 0.3])
        )


def test_orders():
    influence = pd.DataFrame({"layer": range(4), "value": [0.5, 0.1, 0.4, 0.2]})
    assert by_influence(influence, 3).steps == ((1,), (1, 3), (1, 2, 3))
    angular = pd.DataFrame(
        [(0, 1, 0.5), (1, 1, 0.1), (2, 1, 0.2), (0, 2, 0.9), (1, 2, 0.6), (2, 2, 0.3)],
        columns=["layer", "block", "value"],
    )
    # the best block of two does not hold the best block of one
    assert by_angular_distance(angular, 2).steps == ((1,), (2, 3))
    importance = pd.DataFrame(
        {
            "ablation": [f"layer:{n}" for n in range(4)] * 2,
            "task": ["a"] * 4 + ["b"] * 4,
            "drop": [9.0, 1, 5, 2, 9, 3, -4, 0],
        }
    )
    assert by_importance(importance, 3).steps == ((2,), (2, 3), (1, 2, 3))
    with pytest.raises(UserError, match="several metrics"):
        by_importance(pd.concat([importance, importance]), 2)
    assert deepest_first(4, 2).steps == ((3,), (2, 3))
    one, other = at_random(6, 5, draws=2, seed=1)
    assert one.steps != other.steps
    assert [len(s) for s in one.steps] == [1, 2, 3, 4, 5]
    assert all(set(a) < set(b) for a, b in zip(one.steps, one.steps[1:], strict=False))
    assert at_random(6, 5, draws=2, seed=1)[0].steps == one.steps


def test_curves_are_the_sweep_s_scores(llama, tmp_path):
    path = str(write_task(tmp_path, kind="letters", rows=10))
    orders = [deepest_first(3, 2), Order("mine", ((0,), (0, 2)))]
    table = pruning_curves(llama, [path], orders, out=tmp_path / "run")
    from interp.results import open_run
    from interp.sweeps import sweep

    expected = sweep(llama, [path], ["layers:1-2", "layer:2"], out=tmp_path / "other").scores()
    expected = expected.query("metric == 'acc'").set_index("ablation")["value"]
    found = table.query("order == 'from the deepest' and metric == 'acc'")
    assert found["value"].tolist() == expected[["baseline", "layer:2", "layers:1-2"]].tolist()
    assert found["n_removed"].tolist() == [0, 1, 2]
    assert found["layers"].tolist() == ["", "2", "1 2"]
    assert list(open_run(tmp_path / "run").manifest.ablations) == [
        "layer:2", "layer:1+layer:2", "layer:0", "layer:0+layer:2",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(curve_table(tmp_path / "run", orders), table)
    with pytest.raises(UserError, match="3 layers; the model has 3"):
        pruning_curves(llama, [path], [deepest_first(3, 3)], out=tmp_path / "third")
    assert not (tmp_path / "third").exists()

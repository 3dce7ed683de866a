"""Rank correlation between a measure of each layer and what its ablation costs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

from interp.errors import UserError
from interp.stats import layer_correlations

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
        for x in layer_correlations(measures(similarity), values)
    )
    wide = values.pivot_table(index="doc_id", columns="ablation", values="value")
    drops = [(wide["baseline"] - wide[f"layer:{n}"]).mean() for n in range(N_LAYERS)]
    expected = sps.spearmanr(similarity, drops)
    assert row["rho"] == pytest.approx(expected.statistic)
    assert "low" not in row, "no interval over layers exists"
    assert 0.8 < row["reliability"] <= row["ceiling"] <= 1
    exact = sps.permutation_test(
        (similarity,), lambda x: sps.spearmanr(x, drops).statistic,
        permutation_type="pairings", n_resamples=3000, random_state=0,
    )  # fmt: skip
    assert row["p"] == pytest.approx(exact.pvalue, abs=0.03)
    # layer 5 matters far more than its similarity says; layer 7 less
    assert points.sort_values("gap")["layer"].iloc[-1] == 5
    assert set(row["disagree"].split(", ")) <= {"layer 5", "layer 7", "layer 1"}


def test_perfect_and_absent_agreement():
    rates = np.linspace(0, 0.9, N_LAYERS)
    table, _ = layer_correlations(measures(rates), made_up(rates, n=2000))
    assert table["rho"].item() == pytest.approx(1)
    assert table["p"].item() < 0.01
    table, _ = layer_correlations(measures(rates), made_up(np.zeros(N_LAYERS)))
    assert np.isnan(table["rho"].item())
    assert np.isnan(table["p"].item())


@pytest.mark.slow
def test_chance_is_rarely_significant():
    rng = np.random.default_rng(0)
    found = []
    for seed in range(60):
        similarity, rates = rng.random(N_LAYERS), rng.random(N_LAYERS) * 0.5
        table, _ = layer_correlations(measures(similarity), made_up(rates, seed=seed))
        found.append(table["p"].item())
    assert np.mean(np.array(found) < 0.05) < 0.14


def test_clusters_of_examples_are_halved_whole():
    rates, similarity = np.linspace(0.3, 0.6, N_LAYERS), np.linspace(0, 1, N_LAYERS)
    values = made_up(rates, n=40).merge(pd.DataFrame({"copy": range(8)}), "cross")
    values["cluster"] = values["doc_id"]
    values["doc_id"] = 8 * values["doc_id"] + values["copy"]
    (whole,), (alone,) = (
        layer_correlations(measures(similarity), table)[0].to_dict("records")
        for table in (values, values.drop(columns="cluster"))
    )
    assert whole["rho"] == pytest.approx(alone["rho"])
    assert alone["reliability"] > 0.95, "copies of an example in both halves"
    assert whole["reliability"] < alone["reliability"] - 0.05


def test_models_and_sweeps_must_fit():
    with pytest.raises(UserError, match="the sweep is of m"):
        layer_correlations(
            measures([1.0, 2.0, 3.0]).assign(model="other"), made_up([0.1, 0.2, 0.3])
        )

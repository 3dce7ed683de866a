"""Streamed means: their bootstrap by cluster, shares, and standard errors over units."""

import numpy as np
import pytest

from experiments.coverage import clusters as simulated
from interp.stats import StreamingError, StreamingMean, percentiles, poisson_weights, wilson


def clustered(rng, *, clusters=12, each=10, spread=1.0):
    """Values whose mean is 0, and the cluster of each."""
    units = np.repeat(np.arange(clusters), each)
    return rng.normal(0, spread, clusters)[units] + rng.normal(size=len(units)), units.tolist()


def test_examples_of_one_cluster_have_one_weight():
    weights = poisson_weights([3, 5, 3], resamples=50)
    assert (weights[0] == weights[2]).all()
    assert (weights[0] != weights[1]).any()


def test_the_bootstrap_by_cluster_covers_and_that_of_examples_does_not():
    rng, hits = np.random.default_rng(0), {True: 0, False: 0}
    for sweep in range(150):
        values, units = clustered(rng)
        for by_cluster in hits:
            own = units if by_cluster else list(range(len(values)))
            tally = StreamingMean((1,), resamples=200)
            tally.add(poisson_weights(own, resamples=200, seed=sweep), values[:, None], units=own)
            low, high = tally.interval()
            hits[by_cluster] += int(low[0] <= 0 <= high[0])
    assert hits[True] >= 0.9 * 150
    assert hits[False] <= 0.75 * 150
    assert tally.method == "Poisson bootstrap"


def test_shares_are_wilsons_where_examples_are_independent_and_never_without_width():
    values = np.zeros((40, 1))
    tally = StreamingMean((1,), resamples=100)
    tally.add(poisson_weights(range(40), resamples=100), values)
    low, high = tally.share_interval(tally.mean, tally.replicates)
    assert (low[0], high[0]) == pytest.approx([one[0] for one in wilson(np.zeros(1), 40)])
    units = [n // 10 for n in range(40)]
    by_cluster = StreamingMean((1,), resamples=100)
    by_cluster.add(poisson_weights(units, resamples=100), values, units=units)
    wider = by_cluster.share_interval(by_cluster.mean, by_cluster.replicates)[1]
    assert wider[0] == pytest.approx(wilson(np.zeros(1), 4)[1][0])
    assert by_cluster.share_method == "Poisson bootstrap by cluster"


def test_percentiles_of_few_units_are_expanded_and_one_unit_has_none():
    replicates = np.random.default_rng(1).normal(size=(4000, 1))
    widths = [np.subtract(*percentiles(replicates, n_units=n)[::-1])[0] for n in (None, 500, 8)]
    assert widths[0] < widths[1] < widths[2]
    # Student's quantile at 7 degrees of freedom and the root of 8/7
    assert widths[2] / widths[0] == pytest.approx(2.3646 * np.sqrt(8 / 7) / 1.96, rel=0.1)
    assert np.isnan(percentiles(replicates, n_units=1)).all()


def test_standard_errors_over_clusters_are_those_of_cluster_sums():
    rng = np.random.default_rng(2)
    values, units = clustered(rng, clusters=5, each=6)
    table = values[:, None]
    plain, own = StreamingError((1,), clustered=False), StreamingError((1,), clustered=True)
    for part in (slice(0, 7), slice(7, 30)):
        plain.add(units[part], table[part])
        own.add(units[part], table[part])
    assert plain.error[0] == pytest.approx(values.std(ddof=1) / np.sqrt(30))
    of_clusters = values.reshape(5, 6).mean(axis=1)
    assert own.error[0] == pytest.approx(of_clusters.std(ddof=1) / np.sqrt(5))
    assert (own.n_units, plain.n_units) == (5, 30)
    assert own.mean == pytest.approx(plain.mean)


def test_simulated_coverage_by_cluster_is_near_its_level():
    rows = {row["what"]: row for row in simulated.self_repairs(60, 0, settings=((20, 8),))}
    assert rows["self-repair: total, by cluster"]["share"] >= 0.85

"""Tail probabilities and quantiles: those of scipy.stats, which is too slow to import."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as sps
from scipy.optimize import brentq

import interp
from interp.stats import distributions, tango
from interp.stats.pvalues import adjust
from interp.stats.ranks import mean_ranks

CONFIDENCES = (0.5, 0.8, 0.95, 0.999)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_reaches_are_the_quantiles_of_scipy(confidence):
    tail = (1 - confidence) / 2
    assert distributions.normal_reach(confidence) == sps.norm.isf(tail)
    within = distributions.normal_within(distributions.normal_reach(confidence))
    assert within == pytest.approx(confidence)
    free = np.array([1.0, 2.0, 3.7, 40.0, 1e5])
    found = distributions.student_reach(confidence, free)
    assert found == pytest.approx(sps.t.isf(tail, free), rel=1e-12)
    assert distributions.f_quantile(confidence, 2, 9) == pytest.approx(
        sps.f.ppf(confidence, 2, 9), rel=1e-12
    )


def test_a_share_of_one_reaches_everywhere_and_no_freedom_nowhere():
    assert distributions.normal_reach(1.0) == np.inf
    assert np.isnan(distributions.student_reach(0.95, 0))


def test_p_values_are_those_of_scipy():
    t, free = np.array([0.0, 1.3, -2.5, 40.0, np.inf, np.nan]), 7
    found = distributions.student_p(t, free)
    assert found == pytest.approx(2 * sps.t.sf(np.abs(t), free), rel=1e-12, nan_ok=True)
    ratio = np.array([0.0, 0.4, 1.0, 30.0])
    assert distributions.f_p(ratio, 3, 12) == pytest.approx(sps.f.sf(ratio, 3, 12), rel=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, 17, 1000])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_binomial_chances_are_those_of_scipy(n, share):
    count = np.arange(-1, n + 2)
    trials = np.full_like(count, n)
    at_most = distributions.binomial_at_most(count, trials, share)
    exactly = distributions.binomial_exactly(count, trials, share)
    assert at_most == pytest.approx(sps.binom.cdf(count, n, share), rel=1e-9, abs=1e-300)
    assert exactly == pytest.approx(sps.binom.pmf(count, n, share), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("level", [0.45, 0.3, 0.025, 1e-4, 1e-12])
def test_the_largest_count_is_the_last_one_within_the_level(level):
    n = np.arange(400)
    counts = [-1 + int((sps.binom.cdf(np.arange(k + 1), k, 0.5) <= level).sum()) for k in n]
    assert distributions.binomial_largest(level, n).tolist() == counts


@pytest.mark.parametrize(
    ("both", "one", "other", "total"),
    [(3, 5, 4, 20), (0, 5, 4, 20), (4, 4, 4, 4), (60, 80, 90, 200), (0, 0, 3, 9)],
)
def test_fisher_s_exact_test_is_that_of_scipy(both, one, other, total):
    grid = [[both, one - both], [other - both, total - one - other + both]]
    found = distributions.fisher_exact_p(both, one, other, total)
    assert found == pytest.approx(sps.fisher_exact(grid).pvalue, rel=1e-9)
    counts, chances = distributions.hypergeometric(total, one, other)
    assert chances == pytest.approx(sps.hypergeom(total, one, other).pmf(counts), rel=1e-9)
    assert chances.sum() == pytest.approx(1)


def test_ranks_and_false_discoveries_are_those_of_scipy():
    values = np.random.default_rng(0).integers(0, 6, size=(50, 9)).astype(float)
    assert np.array_equal(mean_ranks(values), sps.rankdata(values, axis=-1))
    values[3, 2] = np.nan
    assert np.array_equal(mean_ranks(values), sps.rankdata(values, axis=-1), equal_nan=True)
    p = np.random.default_rng(1).uniform(size=40) ** 3
    assert np.array_equal(adjust(p, correction="bh"), sps.false_discovery_control(p))


def test_tango_s_bound_is_the_root_of_its_equation():
    n, z = 40, sps.norm.isf(0.025)
    for harmed, helped in [(0, 0), (7, 2), (2, 7), (30, 1), (1, 30), (20, 20)]:

        def excess(delta, harmed=harmed, helped=helped):
            linear = (2 * n - harmed + helped) * delta - harmed - helped
            share = (np.sqrt(linear**2 + 8 * n * helped * delta * (1 - delta)) - linear) / (4 * n)
            spread = np.sqrt(n * (2 * share + delta * (1 - delta)))
            return harmed - helped - n * delta - z * spread

        low, _ = tango(np.array([float(harmed)]), np.array([float(helped)]), n)
        root = brentq(excess, -1 + 1e-12, (harmed - helped) / n - 1e-9, xtol=1e-15)
        assert low[0] == pytest.approx(root, abs=1e-12)


@pytest.mark.slow
def test_nothing_imports_what_is_slow_to_import():
    for path in Path(interp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom | ast.Import):
                continue
            start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [start + alias.name for alias in node.names]
            slow = [n for n in names if n.startswith(("scipy.stats", "scipy.optimize"))]
            assert not slow, f"{path}: {slow}; interp.stats.distributions has what is needed"

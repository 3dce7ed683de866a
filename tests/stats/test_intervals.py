"""Intervals, tests and corrections: against scipy, against brute force, and by simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as sps

from interp import stats
from interp.stats import Sample, bootstrap_means, drop_intervals
from interp.stats.intervals import simultaneous
from tests.helpers.outcomes import draw, long

quick = settings(max_examples=25, deadline=None, derandomize=True)


# --- the parts ----------------------------------------------------------------------------------


def test_wilson_is_that_of_scipy_for_every_count() -> None:
    for n, confidence in [(1, 0.95), (7, 0.9), (40, 0.99)]:
        low, high = stats.wilson(np.arange(n + 1.0), n, confidence=confidence)
        for k in range(n + 1):
            expected = sps.binomtest(k, n).proportion_ci(confidence, method="wilson")
            assert (low[k], high[k]) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.slow
def test_tango_bounds_are_where_the_score_test_rejects() -> None:
    n, z = 30, sps.norm.isf(0.025)
    for harmed, helped in itertools.product(range(0, 16, 3), repeat=2):
        bounds = stats.tango(np.array([harmed + 0.0]), np.array([helped + 0.0]), n)
        for (bound,), sign in zip(bounds, (1, -1), strict=True):
            # Brute force: the nuisance share is found by search, not by the closed form.
            share = np.linspace(max(0, -bound), (1 - bound) / 2, 200_001)[1:-1]
            with np.errstate(divide="ignore"):
                likelihood = (
                    harmed * np.log(share + bound)
                    + helped * np.log(share)
                    + (n - harmed - helped) * np.log(1 - 2 * share - bound)
                )
            best = share[likelihood.argmax()]
            spread = math.sqrt(n * (2 * best + bound * (1 - bound)))
            assert (harmed - helped - n * bound) / spread == pytest.approx(sign * z, abs=2e-3)


def test_tango_at_zero_is_mcnemar() -> None:
    harmed, helped = np.meshgrid(np.arange(20.0), np.arange(20.0))
    low, high = stats.tango(harmed.ravel(), helped.ravel(), 50)
    with np.errstate(invalid="ignore"):
        statistic = (harmed - helped).ravel() / np.sqrt((harmed + helped).ravel())
    excluded = np.abs(np.nan_to_num(statistic)) > sps.norm.isf(0.025)
    np.testing.assert_array_equal((low > 0) | (high < 0), excluded)


def test_mcnemar_counts_the_outcome_that_was_seen_by_half() -> None:
    for harmed, helped in itertools.product(range(5), repeat=2):
        changes = np.array(list(itertools.product([-1, 1], repeat=harmed + helped)))
        sums = changes.sum(axis=1)
        more, same = np.abs(sums) > abs(harmed - helped), np.abs(sums) == abs(harmed - helped)
        (p,) = stats.mcnemar(np.array([harmed + 0.0]), np.array([helped + 0.0]))
        expected = more.mean() + same.mean() / 2 if harmed + helped else 1.0
        assert p == pytest.approx(expected)


def test_mcnemar_agrees_with_tango_s_interval() -> None:
    """4 harmed, none helped of 200: the interval leaves 0 out; the exact test has p = 0.125."""
    harmed, helped = np.meshgrid(np.arange(15.0), np.arange(15.0))
    low, high = stats.tango(harmed.ravel(), helped.ravel(), 200)
    p = stats.mcnemar(harmed.ravel(), helped.ravel())
    assert (((low > 0) | (high < 0)) == (p < 0.05)).mean() > 0.97
    exact = np.array([sps.binomtest(int(b), int(b + c)).pvalue if b + c else 1.0
                      for b, c in zip(harmed.ravel(), helped.ravel(), strict=True)])  # fmt: skip
    assert (((low > 0) | (high < 0)) == (exact < 0.05)).mean() < 0.95


@pytest.mark.parametrize(("n", "noise"), [(200, 0.01), (200, 0.05), (1000, 0.02)])
def test_mid_p_keeps_the_family_wise_rate(n: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, [noise, noise, 1 - 2 * noise], size=(2000, 32)).astype(float)
    p = stats.mcnemar(counts[..., 0].ravel(), counts[..., 1].ravel()).reshape(2000, 32)
    assert (p.min(axis=1) < 0.05 / 32).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)


def test_whole_numbers_are_flipped_exactly() -> None:
    rng = np.random.default_rng(2)
    table = rng.integers(-3, 4, (10, 4)).astype(float)
    flips = np.array(list(itertools.product([-1, 1], repeat=10)))
    expected = (np.abs(flips @ table) >= np.abs(table.sum(axis=0)) - 1e-9).mean(axis=0)
    np.testing.assert_allclose(stats.sign_flip(table, resamples=100, seed=0), expected)
    large = np.ones((200, 1))
    assert stats.sign_flip(large, resamples=100, seed=0)[0] == pytest.approx(2 * 0.5**200)


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("skewed", ["normal", "exponential", "lognormal", "spike"])
def test_intervals_and_tests_of_skewed_means(skewed: str, n: int) -> None:
    """A percentile bootstrap covers 81% of the last at n = 50."""
    rng, sweeps = np.random.default_rng(1), 2000
    drawn = {
        "normal": lambda: rng.normal(size=(n, sweeps)),
        "exponential": lambda: rng.exponential(size=(n, sweeps)) - 1,
        "lognormal": lambda: np.exp(rng.normal(size=(n, sweeps))) - np.exp(0.5),
        "spike": lambda: np.where(rng.random((n, sweeps)) < 0.1,
                                  rng.exponential(3, (n, sweeps)),
                                  rng.normal(0, 0.2, (n, sweeps))) - 0.3,
    }[skewed]()  # fmt: skip
    sample = Sample(drawn, np.arange(n), clustered=False)
    low, high, kind = drop_intervals(sample, False, 0.95, 100, 0)
    covered = ((low <= 0) & (high >= 0)).mean()
    assert covered >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / sweeps)
    p = stats.mean_test(sample)
    np.testing.assert_array_equal(p < 0.05, (low > 0) | (high < 0))
    assert kind[0] == "95% Student and Hall"


@pytest.mark.slow
def test_the_largest_of_many_null_drops_is_covered_by_the_band_for_all() -> None:
    rng, alone, together = np.random.default_rng(0), 0, 0
    for _ in range(60):
        luck = rng.random((200, 32))
        change = (luck < 0.05).astype(float) - (luck >= 0.95)
        right = np.full((200, 1), 0.0)
        table = long(np.hstack([right, -change]))
        found = stats.importance(table.assign(value=table["value"]), resamples=300)
        top = found.iloc[int(found["drop"].argmax())]
        alone += top["low"] <= 0
        together += int(((found["low_all"] <= 0) & (found["high_all"] >= 0)).all())
    assert alone / 60 < 0.8
    assert together / 60 >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / 60)


def test_families_do_not_depend_on_what_else_was_run() -> None:
    pairs = draw(200, baseline=0.8, harmed=0.08, helped=0.02, seed=5)
    alone = stats.importance(long(pairs)).iloc[0]
    more = long(np.hstack([pairs, pairs[:, 1:], pairs[:, 1:]]))
    more["ablation"] = more["ablation"].replace({"layer:1": "head:0.1", "layer:2": "head:0.1@mean"})
    row = stats.importance(more).set_index("ablation").loc["layer:0"]
    assert row["p_adjusted"] == alone["p_adjusted"]
    assert (row["family"], row["n_family"]) == ("layer", 1)
    families = [
        stats.family_of(text) for text in ("head:7.3@mean", "layer:1+attn:2", "layer:7@@prompt")
    ]
    assert families == ["head@mean", "combination", "layer@@prompt"]


def test_what_could_not_be_found_is_said() -> None:
    table = np.zeros((100, 65))
    table[:9] = 1  # nine right, and no head changes anything
    found = stats.importance(long(table), resamples=100)
    assert found["testability"].str.startswith("not testable: baseline right on 9 of 100").all()
    assert found["testability"].str.endswith("adjusted p of 0.12").all()
    table[:90] = 1
    found = stats.importance(long(table), resamples=100)
    assert found["testable"].all()
    (least,) = set(found["least_detectable_drop"])
    assert stats.power(100, least, family=64) >= 0.8 > stats.power(100, least - 0.5, family=64)
    floor = {("world-kv:default", "acc"): 0.9}
    found = stats.importance(long(table), resamples=100, floors=floor)
    assert found["testability"].str.contains("is not shown to be above guessing, 90").all()


def test_bounds_for_all_ablations_of_few_clusters_stay_within_a_total_loss() -> None:
    harmed = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])[:, None]
    sample = Sample(np.hstack([harmed, 1 - harmed, 0 * harmed]), np.arange(6) // 2, clustered=True)
    low, high = simultaneous(sample, True, 0.95, 200, 0)
    assert (low >= -1).all()
    assert (high <= 1).all()
    assert (low < sample.table.mean(axis=0)).all()


@pytest.mark.parametrize("n", [8, 60])
def test_sign_flip_agrees_with_scipy(n: int) -> None:
    table = np.random.default_rng(5).normal(0.2, 1, (n, 3))
    p = stats.sign_flip(table, resamples=5000, seed=0)
    for column, ours in zip(table.T, p, strict=True):
        reference = sps.permutation_test(
            (column,), np.sum, permutation_type="samples", n_resamples=5000, random_state=0
        ).pvalue
        assert ours == pytest.approx(reference, abs=1e-12 if n == 8 else 0.03)


def test_sign_flip_can_resolve_a_large_family() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (100, 500))
    table[:, 0] += 2
    p = stats.sign_flip(table, resamples=100, seed=0)
    assert stats.adjust(p)[0] < 0.05


@quick
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1)))
def test_corrections_keep_the_order_of_p(p: np.ndarray) -> None:
    holm, discovery = stats.adjust(p), stats.adjust(p, correction="bh")
    order = np.argsort(p)
    for adjusted in (holm, discovery):
        assert (adjusted >= p - 1e-15).all()
        assert (adjusted <= 1).all()
        assert (np.diff(adjusted[order]) >= 0).all()
    assert (holm >= discovery - 1e-15).all()
    assert (holm <= np.minimum(1, len(p) * p) + 1e-15).all()
    np.testing.assert_array_equal(stats.adjust(p, correction="none"), p)


def test_holm_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(stats.adjust(p), [0.03, 0.06, 0.06, 0.02])


def test_bootstrap_in_blocks_is_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50), clustered=False)
    whole = bootstrap_means(sample, resamples=300, seed=7)
    monkeypatch.setattr("interp.stats.samples.BLOCK", 500)
    np.testing.assert_allclose(bootstrap_means(sample, resamples=300, seed=7), whole)


# --- coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize(
    ("baseline", "harmed", "helped"),
    [(0.98, 0.02, 0.0), (0.6, 0.0, 0.0), (0.95, 0.2, 0.0), (0.5, 0.12, 0.1), (0.02, 0.0, 0.02)],
)
def test_intervals_cover_the_true_drop(
    n: int, baseline: float, harmed: float, helped: float
) -> None:
    sweeps = 1000
    pairs = draw(n * sweeps, baseline=baseline, harmed=harmed, helped=helped, seed=0)
    changes = (pairs[:, 0] - pairs[:, 1]).reshape(n, sweeps)
    sample = Sample(changes, np.arange(n), clustered=False)
    low, high, _ = drop_intervals(sample, True, 0.95, 500, 0)
    drop = harmed - helped
    covered = np.mean((low <= drop + 1e-9) & (drop - 1e-9 <= high))
    # Discrete data may cover more than asked, never much less (0.63 with the bootstrap alone).
    assert covered >= 0.93


def test_false_positives_of_a_sweep_are_rare() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        pairs = rng.random((2, 100, 32)) < 0.8
        changes = pairs[0].astype(float) - pairs[1]
        p = stats.mcnemar((changes > 0).sum(axis=0) * 1.0, (changes < 0).sum(axis=0) * 1.0)
        found += bool((stats.adjust(p) < 0.05).any())
    assert found / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)

"""Equivalence, power and profiles: against scipy, brute force and simulation."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

from interp import stats
from interp.errors import UserError
from tests.helpers.outcomes import draw, long
from tests.helpers.thinning import sized


def frame(table: np.ndarray, **names: str) -> pd.DataFrame:
    return long(table, **names)


# --- equivalence --------------------------------------------------------------------------------


def test_no_change_is_equivalent_only_with_examples_enough() -> None:
    still = np.ones((400, 3))
    found = stats.equivalence(frame(still), margin=2.0)
    assert found["equivalent"].all()
    assert not stats.equivalence(frame(still[:50]), margin=2.0)["equivalent"].any()
    assert (found["interval"] == "90% Tango score").all()
    assert (found["n"] == 400).all()


def test_equivalence_is_the_interval_inside_the_margin() -> None:
    values = frame(draw(600, baseline=0.8, harmed=0.04, helped=0.03, seed=0))
    table = values.set_index(["doc_id", "ablation"])["value"].unstack()  # noqa: PD010
    change = table["baseline"] - table["layer:0"]
    harmed, helped = (np.array([float((change == sign).sum())]) for sign in (1, -1))
    (low,), (high,) = stats.tango(harmed, helped, 600, confidence=0.9)
    reach = 100 * max(-low, high)
    assert not stats.equivalence(values, margin=reach - 1e-6)["equivalent"].item()
    assert stats.equivalence(values, margin=reach + 1e-6)["equivalent"].item()


@pytest.mark.slow
def test_a_drop_at_the_margin_is_called_equivalent_in_a_twentieth_of_samples() -> None:
    sweeps = sized(thinned=150, whole=400)
    called = [
        stats.equivalence(
            frame(draw(300, baseline=0.7, harmed=0.15, helped=0.05, seed=seed)),
            margin=10.0,
            resamples=sized(thinned=100, whole=300),
        )["equivalent"].item()
        for seed in range(sweeps)
    ]
    # three standard errors above the level
    assert np.mean(called) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / sweeps)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_margins_are_refused(margin: float) -> None:
    with pytest.raises(UserError, match="allowed are positive numbers"):
        stats.equivalence(frame(np.ones((9, 2))), margin=margin)


# --- power --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "harmed", "helped", "family"),
    [(12, 0.3, 0.1, 1), (15, 0.4, 0.0, 1), (12, 0.6, 0.1, 4), (10, 0.1, 0.1, 1)],
)
def test_power_is_the_share_of_outcomes_that_the_test_rejects(n, harmed, helped, family) -> None:
    counts = [(b, c) for b, c in itertools.product(range(n + 1), repeat=2) if b + c <= n]
    b, c = (np.array(x, float) for x in zip(*counts, strict=True))
    chances = sps.multinomial.pmf(
        np.stack([b, c, n - b - c], axis=1), n, [harmed, helped, 1 - harmed - helped]
    )
    expected = chances[stats.mcnemar(b, c) <= 0.05 / family].sum()
    found = stats.power(
        n, 100 * (harmed - helped), discordant=100 * (harmed + helped), family=family
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_power_agrees_with_simulated_sweeps() -> None:
    n, rounds = 200, 4000
    pairs = draw(n * rounds, baseline=0.8, harmed=0.1, helped=0.05, seed=3)
    change = (pairs[:, 0] - pairs[:, 1]).reshape(n, rounds)
    p = stats.mcnemar(
        (change > 0).sum(axis=0).astype(float), (change < 0).sum(axis=0).astype(float)
    )
    expected = stats.power(n, 5.0, discordant=15.0)
    assert np.mean(p <= 0.05) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / rounds))


def test_a_head_sweep_finds_no_small_drop() -> None:
    """100 examples and 1,024 heads, chance helps 5 points: a drop of some 28 points is found."""
    found = stats.least_detectable(100, noise=5.0, family=1024)
    assert 25 <= found <= 30
    assert stats.least_detectable(100, noise=5.0, family=64) < found
    assert stats.power(100, found, discordant=found + 10, family=1024) >= 0.8
    assert np.isnan(stats.least_detectable(9, family=1024))


@pytest.mark.slow
def test_the_examples_that_are_needed_are_enough_and_few() -> None:
    for drop, discordant, family in [(5.0, 10.0, 1), (10.0, None, 1), (5.0, 15.0, 32)]:
        options: Any = {"discordant": discordant, "family": family}
        n = stats.examples_needed(drop, **options)
        assert all(stats.power(m, drop, **options) >= 0.8 for m in range(n, n + n // 10, 3))
        assert stats.power(int(0.9 * n), drop, **options) < 0.8


def test_the_power_table_names_its_test() -> None:
    table = stats.power_table(ns=(50, 200), drops=(2.0, 20.0))
    assert set(table.columns) >= {"n", "drop", "discordant", "family", "alpha", "power", "test"}
    assert table["power"].between(0, 1).all()
    assert table.sort_values("n").groupby("drop")["power"].is_monotonic_increasing.all()


def test_bad_powers_are_refused() -> None:
    for arguments in (
        {"n": 0, "drop": 5.0},
        {"n": 9, "drop": 101.0},
        {"n": 9, "drop": 5.0, "family": 0},
        {"n": 9, "drop": 5.0, "discordant": 4.0},
        {"n": 9, "drop": 5.0, "alpha": 1.0},
    ):
        with pytest.raises(UserError, match="allowed are"):
            stats.power(**arguments)
    with pytest.raises(UserError, match="drops above 0"):
        stats.examples_needed(0.0)


# --- profiles -----------------------------------------------------------------------------------


def profile_values(
    drops: np.ndarray, n: int, seed: int, *, task: str = "t", model: str = "m"
) -> pd.DataFrame:
    """Outcomes of a baseline that is always right, and of ablations with the given drops."""
    rng = np.random.default_rng(seed)
    ablated = (rng.random((n, len(drops))) >= drops).astype(float)
    return frame(np.hstack([np.ones((n, 1)), ablated]), task=task, model=model)


def test_profiles_correlate_as_scipy_says() -> None:
    drops = np.linspace(0.05, 0.9, 12)
    values = pd.concat(
        [profile_values(drops, 300, 0, model="a"), profile_values(drops[::-1], 300, 1, model="b")]
    )
    (row,) = stats.compare_profiles(values, resamples=200).to_dict("records")
    table = stats.importance(values, resamples=100)
    a, b = (table[table["model"] == m]["drop"].to_numpy() for m in "ab")
    assert row["spearman"] == pytest.approx(sps.spearmanr(a, b).statistic)
    assert -1 <= row["low"] <= row["disattenuated"] <= row["high"] < -0.9
    assert row["p_differ"] < 0.01
    assert (row["n_ablations"], row["n_a"], row["interval"]) == (
        12, 300, "95% bootstrap over examples, disattenuated",
    )  # fmt: skip


@pytest.mark.slow
def test_profiles_that_agree_fully_are_not_said_to_differ() -> None:
    """Of 32 layers 6 matter: sampled twice, the profiles correlate by some 0.4."""
    drops = np.concatenate([np.linspace(0.3, 0.02, 6), np.zeros(26)])
    rows = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tables = []
        for task in "ab":
            uniform = rng.random((200, 32))
            change = (uniform < drops + 0.03).astype(float) - (uniform >= 0.97)
            tables.append(frame(np.hstack([np.zeros((200, 1)), -change]), task=task))
        rows += stats.compare_profiles(pd.concat(tables), resamples=200).to_dict("records")
    table = pd.DataFrame(rows)
    assert table["spearman"].mean() < 0.6
    # Spearman and Brown's formula gives 0.15 more: 26 drops are equal
    assert abs(table["ceiling"].mean() - table["spearman"].mean()) < 0.08
    # the percentiles of a bootstrap end below 0.6, and ranks of ties gain little from more examples
    assert table["disattenuated"].mean() > 0.85
    assert (table["high"] >= 1 - 1e-9).mean() >= 0.93
    assert (
        (table["low"] <= table["disattenuated"]) & (table["disattenuated"] <= table["high"])
    ).all()
    assert (table["p_differ"] < 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 20)


@pytest.mark.slow
def test_noise_that_two_profiles_share_is_not_agreement() -> None:
    """The same examples are lost by luck in both: they correlate, the true profiles do not."""
    one = np.concatenate([np.zeros(4), np.linspace(0.3, 0.05, 6), np.zeros(14)])
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        luck = rng.random((200, 24))
        tables = [
            frame(
                np.hstack([np.zeros((200, 1)), -((luck < d + 0.05) * 1.0 - (luck >= 0.95))]),
                model=model,
            )
            for model, d in (("a", one), ("b", np.roll(one, 10)))
        ]
        found += stats.compare_profiles(pd.concat(tables), resamples=200).to_dict("records")
    table, truth = pd.DataFrame(found), stats.spearman(one, np.roll(one, 10))
    assert table["spearman"].mean() > truth + 0.3
    assert table["disattenuated"].mean() == pytest.approx(truth, abs=0.2)


@pytest.mark.slow
def test_the_interval_covers_where_the_profiles_stand_out() -> None:
    rng = np.random.default_rng(0)
    covered = []
    one, other = (np.linspace(0.05, 0.9, 10)[rng.permutation(10)] for _ in range(2))
    truth = stats.spearman(one, other)
    sweeps = sized(thinned=40, whole=150)
    for seed in range(sweeps):
        values = pd.concat(
            [
                profile_values(one, 400, 2 * seed, task="a"),
                profile_values(other, 400, 2 * seed + 1, task="b"),
            ]
        )
        (row,) = stats.compare_profiles(values, resamples=200, seed=seed).to_dict("records")
        covered.append(row["low"] - 1e-9 <= truth <= row["high"] + 1e-9)
    assert np.mean(covered) >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / sweeps)


def test_the_same_profile_correlates_fully_with_itself() -> None:
    values = profile_values(np.linspace(0.05, 0.9, 8), 100, 0)
    twice = pd.concat([values, values.assign(model="again")])
    (row,) = stats.compare_profiles(twice, resamples=200).to_dict("records")
    assert [row["spearman"], row["disattenuated"], row["high"]] == pytest.approx([1, 1, 1])
    assert row["p_differ"] == 1


def test_clusters_widen_the_interval_of_a_correlation() -> None:
    drops, copies = np.linspace(0.3, 0.6, 8), pd.DataFrame({"copy": range(8)})
    models = [profile_values(drops, 40, seed, model=f"m{seed}") for seed in (0, 1)]
    values = pd.concat([one.merge(copies, "cross") for one in models])
    values["cluster"] = values["doc_id"]
    values["doc_id"] = 8 * values["doc_id"] + values["copy"]
    widths = [
        (table["high"] - table["low"]).item()
        for table in (
            stats.compare_profiles(values, resamples=300),
            stats.compare_profiles(values.drop(columns="cluster"), resamples=300),
        )
    ]
    assert widths[0] > 1.5 * widths[1]


def test_profiles_that_cannot_be_compared_are_named() -> None:
    values = profile_values(np.array([0.1, 0.5]), 20, 0)
    twice = pd.concat([values, values.assign(model="again")])
    with pytest.raises(UserError, match="2 ablations in common"):
        stats.compare_profiles(twice)
    with pytest.raises(UserError, match="0 match, of again, t, acc; m, t, acc"):
        stats.compare_profiles(twice, [({"model": "x"}, {"model": "m"})])
    assert np.isnan(stats.spearman(np.ones(4), np.arange(4.0)))


def test_many_profiles_at_once_correlate_as_scipy_says() -> None:
    rng = np.random.default_rng(0)
    one, many = rng.integers(0, 4, 9) * 1.0, rng.integers(0, 3, (20, 9)) * 0.1
    other = rng.integers(0, 3, (20, 9)) * 0.1
    expected = [sps.spearmanr(one, row).statistic for row in many]
    np.testing.assert_allclose(stats.spearman(one, many), expected)
    expected = [sps.spearmanr(a, b).statistic for a, b in zip(many, other, strict=True)]
    np.testing.assert_allclose(stats.spearman(many, other), expected)
    flat = np.vstack([np.ones(9), many[0]])
    np.testing.assert_array_equal(np.isnan(stats.spearman(flat, one)), [True, False])

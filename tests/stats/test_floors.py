"""Floor-aware and relative drops: planted floors, brute force, and an exact case."""

import itertools

import numpy as np
import pandas as pd
import pytest

from interp import stats
from tests.helpers.outcomes import draw, long


def test_the_measured_floor_is_the_mean_over_all_pairs_of_other_examples() -> None:
    rng = np.random.default_rng(0)
    given, right = (pd.Series(rng.choice(list("ABBC"), 30)) for _ in range(2))
    pairs = [given[i] == right[j] for i, j in itertools.permutations(range(30), 2)]
    assert stats.measured_floor(given, right).mean() == pytest.approx(np.mean(pairs))


def test_a_model_that_prefers_a_letter_has_the_floor_of_that_letter() -> None:
    """Always B, where 43% of the right answers are B: guessing would be 25."""
    right = pd.Series(43 * ["B"] + 57 * ["A"])
    floor = stats.measured_floor(pd.Series(100 * ["B"]), right)
    assert 100 * floor.mean() == pytest.approx(43)
    assert floor.std() / 10 == pytest.approx(np.sqrt(0.43 * 0.57 / 100), rel=0.02)


def test_the_spread_of_the_parts_is_the_error_of_the_floor() -> None:
    rng = np.random.default_rng(1)
    floors = [
        stats.measured_floor(
            pd.Series(rng.choice(list("AAB"), 80)), pd.Series(rng.choice(list("AABC"), 80))
        )
        for _ in range(400)
    ]
    spread = np.std([one.mean() for one in floors])
    assert np.mean([one.std() / np.sqrt(80) for one in floors]) == pytest.approx(spread, rel=0.1)


def test_shares_are_drops_over_what_there_was_to_lose() -> None:
    values = long(draw(300, baseline=0.85, harmed=0.3, helped=0.02, seed=0))
    key = ("world-kv:default", "acc")
    (row,) = stats.importance(values, resamples=100, floors={key: 0.25}).to_dict("records")
    assert row["floor"] == 25
    assert row["floor_aware"] == pytest.approx(100 * row["drop"] / (row["baseline"] - 25))
    assert row["relative"] == pytest.approx(100 * row["drop"] / row["baseline"])
    for name in ("floor_aware", "relative"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    parts = pd.Series(np.resize([0.0, 1.0], 300), range(300))
    (measured,) = stats.importance(values, resamples=100, measured={key: parts}).to_dict("records")
    assert measured["floor"] == 50
    assert measured["floor_aware"] == pytest.approx(100 * row["drop"] / (row["baseline"] - 50))


def test_at_the_floor_and_of_continuous_values_there_is_no_share() -> None:
    values = long(draw(100, baseline=0.27, harmed=0.1, helped=0.1, seed=0))
    floors = {("world-kv:default", "acc"): 0.25}
    (row,) = stats.importance(values, resamples=100, floors=floors).to_dict("records")
    assert np.isnan([row["floor_aware"], row["floor_aware_low"]]).all()
    assert np.isfinite(row["relative"])
    (row,) = stats.importance(values.assign(value=values["value"] + 0.5)).to_dict("records")
    assert np.isnan([row["floor"], row["floor_aware"], row["relative"]]).all()


def test_the_interval_of_a_share_covers() -> None:
    """85% right, floor 25, half of it lost."""
    rng, hits = np.random.default_rng(0), []
    for _ in range(300):
        right = (rng.random(150) < 0.85).astype(float)
        ablated = right * (rng.random(150) >= 0.3 / 0.85)
        sample = stats.Sample((right - ablated)[:, None], np.arange(150), clustered=False)
        _, low, high = stats.shares_lost(sample, right - 0.25)
        hits.append(bool(low[0] <= 0.5 <= high[0]))
    assert np.mean(hits) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)

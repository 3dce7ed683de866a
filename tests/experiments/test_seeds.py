"""Means over training runs: their intervals cover, and the page says what cannot be told."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.organisms.seeds import over_all, over_runs, page, preset_of


def test_the_interval_over_runs_is_that_of_a_t_test():
    values = [0.1, 0.25, 0.13]
    found = over_runs(values, [0.05, 0.05, 0.05])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.runs_low, found.runs_high) == pytest.approx((expected.low, expected.high))
    assert found.low < found.runs_low
    assert found.runs_high < found.high


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("between_runs", [0.0, 0.03, 0.2])
def test_the_interval_over_runs_and_examples_covers(alike, between_runs):
    rng = np.random.default_rng(0)
    n, examples = 2000, 0.05
    shared = rng.normal(0, examples * alike**0.5, (n, 1))
    own = rng.normal(0, examples * (1 - alike) ** 0.5, (n, 3))
    drawn = shared + own + rng.normal(0, between_runs, (n, 3))
    half = 1.96 * examples
    found = [over_runs(row, [half] * 3) for row in drawn.tolist()]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert covered > 0.94


def test_one_run_or_one_that_cannot_be_tested_has_no_interval():
    assert np.isnan(over_runs([0.1], [0.05]).low)
    assert np.isnan(over_runs([0.1, 0.2, np.nan], [0.05, 0.05, np.nan]).high)


@pytest.fixture
def differences() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": f"small-{at}", "benchmark": "world2-kv", "order": "block influence"}
            | {"difference": value, "low": value - 0.05, "high": value + 0.05}
            for at, value in ((1, 0.1), (2, 0.2), (3, 0.04))
        ]
    )


def test_differences_are_averaged_over_the_runs(differences):
    (row,) = over_all(differences).to_dict("records")
    assert row["mean"] == pytest.approx(0.34 / 3)
    assert (row["n_runs"], row["n_above"]) == (3, 2)


def test_the_page_shows_each_run_and_their_mean(differences):
    scores = pd.DataFrame(
        [
            {"model": f"small-{at}", "task": "world2-kv:generate", "value": 90.0, "low": 82.6}
            | {"high": 94.5, "n": 100, "interval": "95% Wilson"}
            for at in (1, 2, 3)
        ]
    )
    profiles = pd.DataFrame(
        [
            {"a": "small-1, world2-kv:generate, acc", "b": "small-2, world2-kv:generate, acc"}
            | {"spearman": 0.8, "ceiling": 0.9, "disattenuated": np.nan}
            | {"low": np.nan, "high": np.nan, "p_differ": np.nan, "least_p": 0.0005, "n_a": 200}
        ]
    )
    tables = {"scores": scores, "differences": differences, "profiles": profiles}
    text = page(tables | {"over-runs": over_all(differences)}, limit=60)
    assert "+0.20 [0.15, 0.25]" in text
    assert "small-1 and small-2" in text
    assert "90 [83, 94] | 90 [83, 94] | 90 [83, 94] | 100 |" in text
    # no bound: an observed correlation can lie above an estimate of the ceiling
    assert "At most" not in text
    assert "Noise ceiling (estimate)" in text
    assert text.count("not testable") == 2


def test_runs_are_asked_what_they_were_trained_for(tmp_path):
    preset = preset_of(tmp_path, 60)
    asked = preset.task_names("protocols")
    assert asked
    assert not any(name.endswith(":default") for name in asked)
    assert {preset.limit(name) for name in asked} == {60}

"""What choosing the largest adds: with nothing to find, with something, and what is printed."""

import numpy as np
import pytest

from interp import stats
from interp.labels import p_text, p_words


def simulated(drops: list[float], *, n: int = 200, sweeps: int = 60) -> tuple[float, float]:
    """True and estimated excess in points, in the mean of simulated sweeps."""
    rng, true, found = np.random.default_rng(0), [], []
    for _ in range(sweeps):
        luck = rng.random((n, len(drops)))
        table = (luck < np.array(drops) + 0.05).astype(float) - (luck >= 0.95)
        means = table.mean(axis=0)
        true.append(means.max() - drops[int(means.argmax())])
        found.append(stats.expected_excess(stats.Sample(table, np.arange(n), False), splits=50))
    return 100 * float(np.mean(true)), 100 * float(np.mean(found))


def test_the_largest_of_many_nothings_is_as_large_as_is_said() -> None:
    true, found = simulated(32 * [0.0])
    assert 4 < true < 5.5
    assert found == pytest.approx(true, abs=0.6)


def test_a_choice_that_noise_cannot_change_adds_nothing() -> None:
    true, found = simulated([0.6, *7 * [0.0]], n=100)
    assert found == pytest.approx(0, abs=1e-9)
    assert abs(true) < 2
    assert stats.expected_excess(stats.Sample(np.ones((9, 1)), np.arange(9), False)) == 0


def test_the_table_has_it_in_the_metric_s_unit_and_the_sentence_says_it() -> None:
    from tests.helpers.outcomes import long

    rng = np.random.default_rng(0)
    table = np.hstack([np.ones((200, 1)), (rng.random((200, 8)) > 0.05).astype(float)])
    drops = stats.importance(long(table), resamples=100)
    (excess,) = drops["expected_excess"].unique()
    assert 0.5 < excess < 4
    assert f"a drop is {excess:.1f} points too large on average" in "\n".join(stats.findable(drops))


def test_p_values_at_the_floor_of_the_resampling_are_bounds() -> None:
    assert p_text(1 / 1001, 1 / 1001) == "<= 0.001"
    assert p_words(1 / 1001, 1 / 1001) == "p <= 0.001"
    assert p_words(0.0234, 1 / 1001) == "p = 0.023"
    assert p_text(float("nan")) == "none"
    assert p_text(1e-7) == "1e-07"

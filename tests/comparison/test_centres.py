"""Centres of mass and their shifts: coverage where the truth is known, and no false shifts."""

import numpy as np
import pandas as pd
import pytest

from interp.comparison import centres, shifts
from tests.helpers.outcomes import long
from tests.helpers.thinning import sized


def outcomes(drops: list[float], n: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """A baseline of 0 and paired changes; `noise` helps and harms as many examples by chance."""
    uniform = rng.random((n, len(drops)))
    change = (uniform < np.array(drops) + noise).astype(float) - (uniform >= 1 - noise)
    return np.hstack([np.full((n, 1), 0.0), -change])


def profile(
    drops: list[float], n: int, noise: float, rng: np.random.Generator, model: str
) -> pd.DataFrame:
    """Values in {-1, 0, 1}: the paired changes against a baseline of 0."""
    return long(outcomes(drops, n, noise, rng), model=model)


FEW_OF_MANY = [0.2] * 4 + [0.0] * 28


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drops", "n", "noise"),
    [(FEW_OF_MANY, 200, 0.05), ([0.98, 0.02, 0.36, 0.04, 0.98, 0, 0, 0.04], 200, 0.005)],
)
def test_the_interval_of_a_centre_covers_it(drops: list[float], n: int, noise: float) -> None:
    rng, sweeps = np.random.default_rng(0), sized(thinned=80, whole=120)
    depth = np.arange(len(drops)) / (len(drops) - 1)
    truth = np.average(depth, weights=drops)
    covered, estimates = 0, []
    for _ in range(sweeps):
        table = centres(profile(drops, n, noise, rng, "a"), {"a": len(drops)})
        row = table.set_index("quantity").loc["centre"]
        covered += row["low"] <= truth <= row["high"]
        estimates.append(row["value"])
    # with negative drops cut off at 0 the first setting is covered never, at a mean of 0.17
    assert covered / sweeps >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / sweeps)
    assert np.mean(estimates) == pytest.approx(truth, abs=0.03)


@pytest.mark.slow
def test_profiles_of_different_strength_are_not_shifted() -> None:
    rng, sweeps = np.random.default_rng(1), sized(thinned=60, whole=100)
    false, known = 0, 0
    for _ in range(sweeps):
        values = pd.concat(
            [
                profile([0.4] * 4 + [0.0] * 28, 200, 0.05, rng, "a"),
                profile([0.1] * 4 + [0.0] * 28, 200, 0.05, rng, "b"),
            ]
        )
        row = shifts(values, {"a": 32, "b": 32}).set_index("quantity").loc["centre"]
        known += not np.isnan(row["low"])
        false += bool(row["low"] > 0 or row["high"] < 0)
    # nine of ten before the weights had signs
    assert known > sweeps / 2
    assert false / known <= 0.06 + 3 * np.sqrt(0.06 * 0.94 / known)


def test_a_profile_of_noise_has_no_centre_and_says_why() -> None:
    values = profile([0.0] * 8, 100, 0.05, np.random.default_rng(3), "a")
    table = centres(values, {"a": 8})
    assert table[["value", "low", "high"]].isna().all(axis=None)
    assert table["interval"].str.contains("not clearly above 0").all()
    assert table["clipped"].notna().all()


def test_clusters_widen_the_interval_of_a_centre() -> None:
    rng = np.random.default_rng(4)
    few = outcomes([0.5, 0.3, 0.1, 0.0], 40, 0.02, rng)
    values = long(np.repeat(few, 5, axis=0), model="a")
    widths = [
        float((table["high"] - table["low"]).iloc[0])
        for table in (
            centres(values, {"a": 4}),
            centres(values.assign(cluster=values["doc_id"] // 5), {"a": 4}),
        )
    ]
    assert widths[1] > 1.8 * widths[0]

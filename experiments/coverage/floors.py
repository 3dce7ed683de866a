"""Drops as a share of baseline minus a floor that was measured on the same examples, or of all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import coverage_row
from interp.stats import Sample, measured_floor, shares_lost

BASELINES = {
    "90 right, floor 25 measured": (0.9, 0.25),
    "60 right, floor 25 measured": (0.6, 0.25),
    "40 right, floor 25 measured": (0.4, 0.25),
    "90 right, no floor": (0.9, 0.0),
}
SHARES = (0.02, 0.2, 0.8)
HELPED = 0.02


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of Fieller's interval; letters of four options, all as likely."""
    for n in (100, 200):
        for number, (setting, (right, floor)) in enumerate(BASELINES.items()):
            for share in SHARES:
                rng = np.random.default_rng([seed, 13, n, number, int(100 * share)])
                covered = []
                for _ in range(sweeps):
                    low, high = _interval(rng, n, right, floor, share)
                    if not np.isnan(low):
                        covered.append(low <= share <= high)
                yield coverage_row(
                    "floor-aware drop" if floor else "relative drop",
                    f"{setting}, {100 * share:g}% lost, chance helps 2 points, n {n}", covered,
                    sweeps=sweeps,
                )  # fmt: skip


def _interval(
    rng: np.random.Generator, n: int, right: float, floor: float, share: float
) -> tuple[float, float]:
    baseline = (rng.random(n) < right).astype(float)
    harmed = (share * (right - floor) + HELPED) / right
    luck = rng.random(n)
    ablated = np.where(baseline == 1, luck >= harmed, luck < HELPED / (1 - right)).astype(float)
    whole = baseline
    if floor:
        gold = rng.integers(4, size=n)
        given = np.where(baseline == 1, gold, (gold + 1 + rng.integers(3, size=n)) % 4)
        whole = baseline - measured_floor(pd.Series(given), pd.Series(gold)).to_numpy()
    sample = Sample((baseline - ablated)[:, None], np.arange(n), clustered=False)
    _, low, high = shares_lost(sample, whole)
    return float(low[0]), float(high[0])

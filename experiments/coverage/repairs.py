"""The intervals of self-repair: means of margins, and the share of a direct effect repaired."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row
from interp.lens.repairing import EFFECTS, effect_intervals
from interp.stats import student_interval

SETTINGS = {
    "normal margins, repaired 40%, n 50": (50, 0.0, 0.4),
    "normal margins, repaired 40%, n 200": (200, 0.0, 0.4),
    "skewed margins (lognormal), repaired 40%, n 50": (50, 0.7, 0.4),
    "skewed margins (lognormal), repaired 40%, n 200": (200, 0.7, 0.4),
    "skewed margins (lognormal), nothing repaired, n 100": (100, 0.7, 0.0),
}


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of every column of `SelfRepair.effects`, and of the changes of later parts."""
    for number, (setting, (n, skew, share)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 12, number])
        values, truth = _drawn(rng, n, sweeps, skew=skew, share=share)
        found = effect_intervals(values)
        for name, true in {
            **dict(zip(EFFECTS, truth, strict=True)),
            "repaired": truth[4] / truth[0],
        }.items():
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            given = ~np.isnan(low)
            hits = (low[given] <= true + 1e-12) & (true - 1e-12 <= high[given])
            yield coverage_row(f"self-repair: {name}", setting, list(hits), sweeps=sweeps)
        later = values[:, :, EFFECTS.index("later")]
        error = later.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = student_interval(later.mean(axis=0), error, n)
        hits = (low <= truth[2]) & (truth[2] <= high)
        yield coverage_row(
            "self-repair: change of one later part", setting, list(hits), sweeps=sweeps
        )


def _drawn(
    rng: np.random.Generator, n: int, sweeps: int, *, skew: float, share: float
) -> tuple[Float[np.ndarray, "examples sweeps effects"], Float[np.ndarray, " effects"]]:
    """Effects of one part in many sweeps at once, and their true means."""
    shape = (n, sweeps)
    direct, other = (
        np.exp(rng.normal(0, skew, shape)) if skew else rng.normal(1, 0.6, shape) for _ in range(2)
    )
    mean = float(np.exp(skew**2 / 2))
    # what later parts make up for is noisy and as skewed as what they make up for
    later = -share * direct + 0.3 * (other - mean)
    norm = rng.normal(0.05, 0.2, shape)
    total = direct + later + norm
    values = np.stack([direct, total, later, norm, direct - total], axis=2)
    later_mean = -share * mean
    truth = np.array([mean, mean + later_mean + 0.05, later_mean, 0.05, -later_mean - 0.05])
    return values, truth

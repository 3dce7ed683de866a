"""A score interval of the mean of whole numbers: Tango's, for differences of paired differences.

The difference of two models' drops on one example is -2, -1, 0, 1 or 2 (a step). The interval of
its mean holds every mean that a score test does not reject, as Tango's (1998) does for -1, 0 and 1.
The variance in that test is that of the likeliest distribution over the steps that has this mean;
it may include steps that were not seen.
"""

import numpy as np
from jaxtyping import Float

from interp.stats.distributions import normal_reach

STEPS = np.arange(-2.0, 3.0)
ITERATIONS = 60


def step_interval(
    table: Float[np.ndarray, "units columns"], *, confidence: float = 0.95
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
    """Score interval of each column's mean.

    Args:
        table: values from `STEPS`, one per unit.
        confidence: coverage of the interval.

    Returns:
        Lower and upper bounds, one per column.
    """
    counts = np.stack([(table == step).sum(axis=0) for step in STEPS], axis=1).astype(float)
    z = normal_reach(confidence)
    return _low(counts, z), -_low(counts[:, ::-1], z)


def _low(counts: Float[np.ndarray, "columns steps"], z: float) -> Float[np.ndarray, " columns"]:
    n = counts.sum(axis=1)
    mean = counts @ STEPS / n
    low, high = np.full_like(mean, STEPS[0]), mean.copy()
    for _ in range(ITERATIONS):
        middle = (low + high) / 2
        rejected = mean - middle > z * np.sqrt(_variance(counts, middle) / n)
        low, high = np.where(rejected, middle, low), np.where(rejected, high, middle)
    return np.minimum(low, mean)


def _variance(
    counts: Float[np.ndarray, "columns steps"], mean: Float[np.ndarray, " columns"]
) -> Float[np.ndarray, " columns"]:
    """The variance of the likeliest distribution over the steps that has this mean."""
    about, share = STEPS - mean[:, None], counts / counts.sum(axis=1, keepdims=True)
    # the multiplier of the mean; at an end of its range an unseen outermost step gets a chance
    least = -1 / np.maximum(about[:, -1], 1e-12)
    most = -1 / np.minimum(about[:, 0], -1e-12)
    for _ in range(ITERATIONS):
        middle = (least + most) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = share * about / (1 + middle[:, None] * about)
        rising = np.where(share > 0, terms, 0.0).sum(axis=1) > 0
        least, most = np.where(rising, middle, least), np.where(rising, most, middle)
    multiplier = (least + most) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        chances = np.where(share > 0, share / (1 + multiplier[:, None] * about), 0.0)
    unseen = np.clip(1 - chances.sum(axis=1), 0, 1)
    outer = np.where(multiplier < 0, about[:, -1], about[:, 0])
    return (chances * about**2).sum(axis=1) + unseen * outer**2

"""Means of continuous values that may be skewed: Student's t and Hall's transformation of it.

A percentile bootstrap of the mean of skewed values is too narrow even with far more than twenty
examples, and Student's interval fails on one side. Hall (1992) transforms the t statistic so that
its skewness vanishes; for heavy tails without skewness his interval is a little too narrow. The
wider of Student's and Hall's is right for both kinds.
"""

import numpy as np
from jaxtyping import Float

from interp.stats.distributions import student_reach
from interp.stats.samples import Sample

FLAT = 1e-8
"""Below this a skewness counts as none."""


def unit_values(sample: Sample) -> Float[np.ndarray, "units ablations"]:
    """One value per independent unit, whose mean is that of the examples.

    The value of an independent example is its own. The value of a cluster is the overall mean, plus
    the number of clusters times what the cluster's examples together move that mean by.

    Args:
        sample: examples by ablations, with the unit of each example.

    Returns:
        `[units, ablations]`; the table itself where documents are independent.
    """
    if not sample.clustered:
        return sample.table
    means, n_units = sample.table.mean(axis=0), sample.n_units
    deviations = Sample(sample.table - means, sample.units, True).sums()
    return means + deviations * n_units / len(sample.table)


def studentised(
    values: Float[np.ndarray, "units ablations"],
) -> tuple[Float[np.ndarray, " ablations"], Float[np.ndarray, " ablations"]]:
    """Student's t of a mean of 0, and Hall's transformation of it; infinite without spread."""
    n = len(values)
    means, spread, skewness = _moments(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        standardised = np.where(spread > 0, means / spread, np.sign(means) * np.inf)
    student = np.sqrt(n - 1) * standardised
    with np.errstate(invalid="ignore", over="ignore"):
        transformed = (
            standardised
            + skewness * standardised**2 / 3
            + skewness**2 * standardised**3 / 27
            + skewness / (6 * n)
        )
    return student, np.where(np.isfinite(standardised), np.sqrt(n - 1) * transformed, student)


def mean_bounds(
    values: Float[np.ndarray, "units ablations"], confidence: float
) -> tuple[Float[np.ndarray, " ablations"], Float[np.ndarray, " ablations"]]:
    """The wider of Student's and Hall's interval of each mean, within the range of the values.

    It covers 93.0 to 97% of means of normal, exponential, lognormal (skewness 6) and heavy-tailed
    values from n = 50, also where a tenth of the examples carries nearly all of the mean. It fails
    where fewer than one example in thirty does, because the sample may not hold one of these: it
    then covers 65% at n = 50 and 90% at n = 200.

    Returns:
        Lower and upper bounds, one per column.
    """
    n = len(values)
    means, spread, skewness = _moments(values)
    reach = float(student_reach(confidence, max(1, n - 1))) / np.sqrt(max(1, n - 1))
    bent = np.where(np.abs(skewness) > FLAT, skewness, 1.0)
    sides = []
    for sign in (1, -1):
        level = sign * reach - skewness / (6 * n)
        hall = np.where(np.abs(skewness) > FLAT, 3 / bent * (np.cbrt(1 + bent * level) - 1), level)
        sides.append((means - spread * sign * reach, means - spread * hall))
    low, high = np.minimum(*sides[0]), np.maximum(*sides[1])
    low = np.maximum(np.minimum(low, means), values.min(axis=0))
    return low, np.minimum(np.maximum(high, means), values.max(axis=0))


def _moments(
    values: Float[np.ndarray, "units ablations"],
) -> tuple[
    Float[np.ndarray, " ablations"],
    Float[np.ndarray, " ablations"],
    Float[np.ndarray, " ablations"],
]:
    """Mean, standard deviation (by n) and skewness of each column; skewness 0 without spread."""
    means = values.mean(axis=0)
    deviations = values - means
    spread = np.where(np.ptp(values, axis=0) == 0, 0.0, deviations.std(axis=0))
    third = (deviations**3).mean(axis=0)
    cubed = np.where(spread > 0, spread, 1.0) ** 3
    return means, spread, np.where((spread > 0) & (cubed > 0), third / cubed, 0.0)

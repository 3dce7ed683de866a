"""Ratios of means of paired samples: Fieller's interval, and the difference of two ratios.

A ratio of two noisy sums is biased and skewed, and where its denominator may be zero it may take
any value. Fieller (1954) inverts the test of `numerator - ratio * denominator = 0`, which is
linear. The interval is exact as far as means are normal, and it *does not exist* where the
denominator is not clearly different from zero.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.stats.distributions import f_quantile, normal_reach, student_reach
from interp.stats.samples import Sample


@dataclass(frozen=True)
class Means:
    """Column means of a sample and their covariance.

    Attributes:
        means: one mean per column.
        covariance: the covariance of the means, `[columns, columns]`.
        n_units: independent units (examples or clusters) that they are computed from.
    """

    means: Float[np.ndarray, " columns"]
    covariance: Float[np.ndarray, "columns columns"]
    n_units: int

    def critical(self, confidence: float) -> float:
        """Quantile of Student's t for a two-sided interval of one number."""
        return float(student_reach(confidence, max(1, self.n_units - 1)))

    def critical_of_two(self, confidence: float) -> float:
        """Scheffé's (1953) quantile for a number that depends on two estimated ones."""
        return float(np.sqrt(2 * f_quantile(confidence, 2, max(1, self.n_units - 1))))

    def summed(self, groups: Float[np.ndarray, "columns groups"]) -> "Means":
        """Means and covariance of weighted sums of the columns."""
        return Means(self.means @ groups, groups.T @ self.covariance @ groups, self.n_units)


@dataclass(frozen=True)
class Ratio:
    """An estimate with its interval; all NaN where the data have none."""

    value: float
    low: float
    high: float


NO_RATIO = Ratio(np.nan, np.nan, np.nan)
"""The ratio of data that have none."""


def means_of(sample: Sample, *, points: bool, confidence: float = 0.95) -> Means:
    """Means of paired differences and their covariance over independent units.

    Args:
        sample: differences, a column per ablation; its clusters are the units where it has some.
        points: whether they are differences of 0/1 outcomes. The mean of a column without any
            discordant pair is then not known exactly: its standard error is at least what Tango's
            interval for no discordant pair implies, `z / (n + z**2)`.
        confidence: coverage of the interval that is to be made of the means.

    Returns:
        Means `[ablations]`, their covariance `[ablations, ablations]`, and the number of units.
    """
    n_units, means = sample.n_units, sample.table.mean(axis=0)
    sums = Sample(sample.table - means, sample.units, sample.clustered).sums()
    deviations = sums / len(sample.table)
    covariance = deviations.T @ deviations * (n_units / max(1, n_units - 1))
    if n_units == 1:
        covariance = np.full_like(covariance, np.inf)
    elif points:
        z2 = normal_reach(confidence) ** 2
        least = z2 / (n_units + z2) ** 2
        diagonal = np.diag_indices_from(covariance)
        covariance[diagonal] = np.maximum(covariance[diagonal], least)
    return Means(means, covariance, n_units)


def fieller(
    top: Float[np.ndarray, " columns"],
    bottom: Float[np.ndarray, " columns"],
    of: Means,
    critical: float,
) -> Ratio:
    """Fieller's interval of `top @ means / bottom @ means` (Fieller 1954).

    Args:
        top: weights of the columns in the numerator.
        bottom: weights in the denominator.
        of: the means.
        critical: quantile, from `Means.critical`.

    Returns:
        The ratio and its interval; NaN where the denominator is not above zero by `critical`
        standard errors.
    """
    over, under = float(top @ of.means), float(bottom @ of.means)
    if not np.isfinite(of.covariance).all():
        return NO_RATIO
    var_over, var_under = top @ of.covariance @ top, bottom @ of.covariance @ bottom
    both = top @ of.covariance @ bottom
    scale = under**2 - critical**2 * var_under
    if under <= 0 or scale <= 0:
        return NO_RATIO
    middle = (over * under - critical**2 * both) / scale
    root = (over * under - critical**2 * both) ** 2 - scale * (over**2 - critical**2 * var_over)
    half = float(np.sqrt(max(root, 0.0))) / scale
    value = over / under
    # rounding must not leave the estimate outside
    return Ratio(value, float(min(middle - half, value)), float(max(middle + half, value)))


def difference_of(one: Ratio, other: Ratio, correlation: float) -> Ratio:
    """`other - one` with the interval recovered from both (MOVER, Zou & Donner 2008).

    Args:
        one: subtracted.
        other: what it is subtracted from.
        correlation: the correlation of the two estimates, 0 where their samples are independent.

    Returns:
        The difference with its lower and its upper bound.
    """
    value = other.value - one.value
    down, up = other.value - other.low, other.high - other.value
    mine_down, mine_up = one.value - one.low, one.high - one.value
    below = down**2 + mine_up**2 - 2 * correlation * down * mine_up
    above = up**2 + mine_down**2 - 2 * correlation * up * mine_down
    return Ratio(value, value - np.sqrt(max(below, 0.0)), value + np.sqrt(max(above, 0.0)))

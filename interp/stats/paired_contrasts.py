"""Contrasts of several paired outcomes: what two ablations cost together beyond their sum."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.stats.intervals import MIN_RARE, tango
from interp.stats.pvalues import mcnemar, mean_test
from interp.stats.samples import Sample
from interp.stats.skewness import mean_bounds, unit_values


class Contrasts(NamedTuple):
    """Means of contrasts with intervals and tests, one per column, as fractions or values."""

    value: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]
    p: Float[np.ndarray, " columns"]
    interval: np.ndarray


def contrasts(sample: Sample, *, points: bool, confidence: float) -> Contrasts:
    """Means of paired contrasts, each with its interval and the test of a mean of 0.

    A contrast of 0/1 outcomes is a small whole number for each example, mostly 0. Its interval is
    the wider of Student's and Hall's. Where fewer than `MIN_RARE` examples differ from the
    commonest number, the sample does not show its spread. The interval is then Tango's (1998) score
    interval, in which positive numbers count as harmed examples and negative ones as helped
    examples, and the test is McNemar's. Where a number is beyond 1, all are divided by the largest,
    and the bounds are multiplied by it.

    In 1,000 simulated sweeps per setting it covered 93.4 to 99.6% of interactions of two parts (40
    settings, n 50 to 400), and the test rejected a true null hypothesis in 0.1 to 6.6% (24).

    Args:
        sample: `[examples, columns]` contrasts.
        points: whether the contrasts are made of 0/1 outcomes.
        confidence: coverage of each interval.

    Returns:
        Means, bounds, p-values and names of the intervals. Where continuous contrasts are all
        equal there is no interval (NaN).
    """
    table, by = sample.table, " by cluster" if sample.clustered else ""
    value, n_units = table.mean(axis=0), sample.n_units
    low, high = mean_bounds(unit_values(sample), confidence)
    p = mean_test(sample)
    interval = np.full(len(value), f"{100 * confidence:g}% Student and Hall{by}", dtype=object)
    rare = sample.rare_units() < MIN_RARE if points else np.zeros(len(value), dtype=bool)
    unknown = ~rare & ((np.ptp(table, axis=0) == 0) | (n_units == 1))
    low[unknown] = high[unknown] = np.nan
    interval[unknown] = "none (no spread in the sample)"
    if rare.any():
        scale = np.maximum(1.0, np.abs(table[:, rare]).max(axis=0))
        harmed = np.clip(table[:, rare] / scale, 0, None).mean(axis=0) * n_units
        helped = np.clip(-table[:, rare] / scale, 0, None).mean(axis=0) * n_units
        bounds = tango(harmed, helped, n_units, confidence=confidence)
        low[rare], high[rare] = scale * bounds[0], scale * bounds[1]
        signs = Sample(np.sign(table[:, rare]), sample.units, sample.clustered).sums()
        p[rare] = mcnemar(
            (signs > 0).sum(axis=0).astype(float), (signs < 0).sum(axis=0).astype(float)
        )
        interval[rare] = f"{100 * confidence:g}% Tango score{by}"
    return Contrasts(value, low, high, p, interval)

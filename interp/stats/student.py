"""Student's interval and test of an estimate that has a standard error."""

import numpy as np
from jaxtyping import Bool, Float

from interp.stats.distributions import student_p, student_reach

Values = Float[np.ndarray, "*shape"]


def student_interval(
    value: Values, error: Values, n_units: int, *, confidence: float = 0.95
) -> tuple[Values, Values]:
    """Bounds of estimates whose errors come from independent units (Student 1908).

    For means, and for functions that are nearly linear in means. For means of very skewed values
    see `mean_intervals`. Two sums are enough to compute it, so it also serves where values are
    streamed.

    Args:
        value: the estimates.
        error: their standard errors.
        n_units: independent units (examples, clusters, texts) of each.
        confidence: coverage of each interval.

    Returns:
        Lower and upper bounds, of the shape of `value`; NaN where there is one unit or no spread.
    """
    half = float(student_reach(confidence, max(1, n_units - 1))) * error
    half = np.where(_known(error, n_units), half, np.nan)
    # numpy makes numbers of arrays without axes
    return np.asarray(value - half), np.asarray(value + half)


def student_test(value: Values, error: Values, n_units: int) -> Values:
    """Two-sided p-values of "the estimate is 0", by Student's t.

    Args:
        value: as for `student_interval`.
        error: as for `student_interval`.
        n_units: as for `student_interval`.

    Returns:
        P-values, of the shape of `value`; 1 where there is one unit or no spread.
    """
    known = _known(error, n_units)
    statistic = np.abs(value) / np.where(known, error, 1.0)
    return np.asarray(np.where(known, student_p(statistic, max(1, n_units - 1)), 1.0))


def _known(error: Values, n_units: int) -> Bool[np.ndarray, "*shape"]:
    return np.asarray((error > 0) & (n_units > 1))

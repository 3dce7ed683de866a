"""Does a layer *not* matter? Tests of equivalence within a margin that is stated beforehand."""

from numbers import Real

import numpy as np
import pandas as pd

from interp.errors import UserError, check_share
from interp.stats.tables import paired_drops


def equivalence(
    values: pd.DataFrame,
    *,
    margin: float,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Which ablations change a score by less than `margin`, either way.

    Two one-sided tests (Schuirmann 1987) at level `1 - confidence`, carried out by interval
    inclusion: a drop is equivalent where its interval with coverage `2 * confidence - 1` (90% for
    95%) lies within `(-margin, margin)`. A drop that is merely not significant is not thereby
    equivalent: showing equivalence takes enough examples.

    For 0/1 metrics the interval is Tango's (1998). Where the true drop is as large as the margin,
    it calls at most 5.8% of drops equivalent (exact, n 100 to 400, margins of 2, 5 and 10 points);
    a bootstrap calls up to 7.8% equivalent.

    The level holds for one ablation at a time. A claim over a whole family ("none of these layers
    matters") needs no correction, because each of its parts has to be shown (Berger 1982).

    Args:
        values: the long table that `interp.stats` describes.
        margin: the largest drop that counts as none, in the metric's unit: points for 0/1 metrics.
        confidence: one minus the level of each one-sided test; more than 0.5.
        resamples: as for `interp.stats.importance`.
        seed: as for `interp.stats.importance`.

    Returns:
        Columns `model ablation task metric drop low high margin equivalent n unit interval test`.
        `equivalent` is False where the sample shows no spread.

    Raises:
        UserError: the margin is not positive, or as `interp.stats.importance`.
    """
    table = drops_against_margin(
        values, margin=margin, confidence=confidence, resamples=resamples, seed=seed
    )
    inside = (table["low"] > -margin) & (table["high"] < margin)
    table = table.assign(
        margin=margin, equivalent=inside, test=f"two one-sided tests at {1 - confidence:.3g}"
    )
    columns = ["model", "ablation", "task", "metric", "drop", "low", "high", "margin"]
    failures = [name for name in ("failures",) if name in table]
    return table[[*columns, "equivalent", "n", *failures, "unit", "interval", "test"]]


def drops_against_margin(
    values: pd.DataFrame, *, margin: float, confidence: float, resamples: int, seed: int
) -> pd.DataFrame:
    """Drops with the intervals of one-sided tests: a bound beyond the margin is significant.

    Args:
        values: as for `equivalence`.
        margin: as for `equivalence`.
        confidence: as for `equivalence`; the intervals have coverage `2 * confidence - 1`.
        resamples: as for `equivalence`.
        seed: as for `equivalence`.

    Returns:
        The table of `interp.stats.importance`, without correction; 0/1 drops have Tango's interval.

    Raises:
        UserError: as `equivalence`.
    """
    real = isinstance(margin, Real) and not isinstance(margin, bool)
    if not (real and np.isfinite(margin) and margin > 0):
        raise UserError(f"margin {margin}: allowed are positive numbers, in the metric's unit")
    check_share("confidence", confidence)
    if not confidence > 0.5:
        raise UserError(f"confidence {confidence}: allowed are values between 0.5 and 1")
    return paired_drops(
        values,
        confidence=round(2 * confidence - 1, 12),
        resamples=resamples,
        seed=seed,
        correction="none",
        score=True,
    )

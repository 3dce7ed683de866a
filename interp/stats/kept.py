"""How much of a score is kept as layers are removed: a number per curve, and its difference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.errors import UserError, check_share, names_given
from interp.stats.ratios import NO_RATIO, Means, Ratio, difference_of, fieller, means_of
from interp.stats.samples import BASELINE, Sample, check_paired, check_values, sample_of, series

OVER = np.array([1.0, 0.0])
UNDER = np.array([0.0, 1.0])


@dataclass(frozen=True)
class RemovalCurve:
    """What each example loses along a growing set of removed layers, and what it can lose.

    Attributes:
        documents: numbers of the examples.
        sample: one row per example: its drop, averaged over the steps, and its baseline minus what
            guessing scores.
        points: whether outcomes are 0 or 1.
    """

    documents: Int[np.ndarray, " docs"]
    sample: Sample
    points: bool

    def means(self, confidence: float) -> Means:
        """Means of both columns and their covariance, for an interval of this coverage."""
        return means_of(self.sample, points=self.points, confidence=confidence)


def removal_curve(
    values: pd.DataFrame, steps: Sequence[str], *, floor: float = 0.0
) -> RemovalCurve:
    """The removal curve of one model, task and metric.

    Args:
        values: the long table that `interp.stats` describes, of one model, task and metric.
        steps: text forms of the ablations, fewest layers first. Their order must have been chosen
            on other examples.
        floor: what guessing scores, in the metric's unit: points for 0/1 metrics.

    Returns:
        The curve.

    Raises:
        UserError: there are no steps; one is not in the table, or failed on an example; the table
            has several models, tasks or metrics.
    """
    check_values(values)
    none = isinstance(steps, list | tuple) and not steps
    steps = [] if none else names_given("steps", steps, "a list of ablations as text")
    if isinstance(floor, bool) or not isinstance(floor, Real) or not math.isfinite(floor):
        raise UserError(f"floor {floor!r:.80}: allowed are numbers")
    missing = [step for step in steps if step not in set(values["ablation"])]
    if missing or not steps:
        raise UserError(
            f"step {missing[0]}: it is not in the table" if missing else "steps: there are none"
        )
    wide_tables = list(series(values[values["ablation"].isin([BASELINE, *steps])]))
    if len(wide_tables) != 1:
        raise UserError(
            f"a curve: the table has {len(wide_tables)} models, tasks and metrics; one is needed"
        )
    key, points, wide, clusters = wide_tables[0]
    check_paired(wide, key)
    wide = wide.dropna()
    failed = [step for step in steps if step not in wide]
    if failed:
        raise UserError(f"step {failed[0]}: it failed on an example, so that its drop is not known")
    drops = wide[BASELINE] - wide[list(steps)].mean(axis=1)
    whole = wide[BASELINE] - (floor / 100 if points else floor)
    sample = sample_of(pd.DataFrame({"drop": drops, "whole": whole}), clusters)
    return RemovalCurve(wide.index.to_numpy(), sample, points)


def share_kept(curve: RemovalCurve, *, confidence: float = 0.95) -> Ratio:
    """Mean of (ablated - floor) / (baseline - floor) over the steps (interval of Fieller 1954).

    It is 1 where no step costs anything, 0 where all is lost at the first step, and negative below
    the floor. Protocols can be compared by it, because each is measured from its own floor.

    In 1,000 simulated curves per setting the interval covered 94.2 to 96.1% (8 settings).

    Args:
        curve: the curve of one model, task and metric.
        confidence: coverage of the interval.

    Returns:
        The share with its interval; NaN where the baseline is not clearly above the floor.

    Raises:
        UserError: the confidence is not between 0 and 1.
    """
    check_share("confidence", confidence)
    lost = _share_lost(curve, confidence)
    return Ratio(1 - lost.value, 1 - lost.high, 1 - lost.low)


def share_kept_difference(
    one: RemovalCurve, other: RemovalCurve, *, paired: bool, confidence: float = 0.95
) -> Ratio:
    """How much more the second curve keeps, with an interval recovered from both (MOVER).

    In 1,000 simulated pairs of curves per setting the interval covered 94.8 to 95.9% (14 settings),
    and 100% in two settings in which the curves were the same.

    Args:
        one: subtracted.
        other: what it is subtracted from.
        paired: whether examples of the same number are the same question in both; otherwise the two
            samples are taken as independent.
        confidence: coverage of the interval.

    Returns:
        `share_kept(other) - share_kept(one)`; NaN where one of them is.

    Raises:
        UserError: as `share_kept`; or the curves are paired and their examples differ.
    """
    check_share("confidence", confidence)
    first, second = _share_lost(one, confidence), _share_lost(other, confidence)
    if np.isnan(first.value) or np.isnan(second.value):
        return NO_RATIO
    correlation = _correlation(one, other, (first, second), confidence) if paired else 0.0
    # these are shares lost: the first minus the second is what the second keeps more
    return difference_of(second, first, correlation)


def _share_lost(curve: RemovalCurve, confidence: float) -> Ratio:
    means = curve.means(confidence)
    return fieller(OVER, UNDER, means, means.critical(confidence))


def _correlation(
    one: RemovalCurve, other: RemovalCurve, lost: tuple[Ratio, Ratio], confidence: float
) -> float:
    """The correlation of two estimated shares over the same examples, by the delta method."""
    if not np.array_equal(one.documents, other.documents):
        raise UserError("paired curves: their examples differ; allowed are the same ones in both")
    table = np.column_stack([one.sample.table, other.sample.table])
    both = Sample(table, one.sample.units, one.sample.clustered)
    means = means_of(both, points=one.points, confidence=confidence)
    slopes: Float[np.ndarray, "columns two"] = np.zeros((4, 2))
    for at, ratio in enumerate(lost):
        bottom = means.means[2 * at + 1]
        slopes[2 * at : 2 * at + 2, at] = 1 / bottom, -ratio.value / bottom
    covariance = slopes.T @ means.covariance @ slopes
    # where every example loses the same share, rounding can leave a variance just below 0
    scale = float(np.sqrt(max(0.0, covariance[0, 0]) * max(0.0, covariance[1, 1])))
    return float(np.clip(covariance[0, 1] / scale, -1, 1)) if scale > 0 else 0.0

"""Does one model depend more on a layer than another? Differences of paired drops."""

import numpy as np
import pandas as pd

from interp.comparison.profiles import Outcomes, by_model, pairs_of
from interp.errors import UserError
from interp.stats import (
    BASELINE,
    MIN_RARE,
    Sample,
    adjust,
    bootstrap_means,
    check_options,
    drop_intervals,
    mean_test,
    sample_of,
    sign_flip,
    step_interval,
    tango,
)

COLUMNS = [
    "a", "b", "ablation", "task", "metric", "drop_a", "drop_b", "difference", "low", "high", "p",
    "p_adjusted", "n", "unit", "interval", "test", "correction",
]  # fmt: skip


def differences(
    values: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    correction: str = "holm",
) -> pd.DataFrame:
    """Drop of model a minus drop of model b under the same ablation, on the same examples.

    Every example gives one number, (baseline - ablated) of a minus that of b; positive means that
    the ablation harms a more.

    *Interval.* For 0/1 metrics it is a percentile bootstrap over examples (or clusters, where the
    values have some). Where fewer than `MIN_RARE` examples differ from the commonest outcome, a
    bootstrap is too narrow. The interval is then computed from Tango's score intervals of the two
    drops (MOVER, Zou & Donner 2008). That treats the drops as independent, and is wider than needed
    where the same examples are harmed in both models. Where an example is harmed in one model and
    helped in the other, independence would make it too narrow (87%); it is then the score interval
    of `interp.stats.steps` (93% or more). For continuous metrics it is the wider of Student's and
    Hall's.

    In 1,000 simulated sweeps per setting the intervals of 0/1 drops covered 94.5 to 99.1% (eight
    settings, n 50 and 200), and the sign flips rejected a true null hypothesis in 1.4 to 3.1%.

    *Test.* For 0/1 metrics it flips the signs of the examples' (or clusters') differences, exactly;
    otherwise it is Student's t with Hall's correction for skewness. Neither p-value is limited by a
    number of resamples.

    Args:
        values: the long table of `interp.stats` with two models or more.
        confidence: coverage of the intervals.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.
        correction: the correction across the ablations of a pair of models, a task and a metric.

    Returns:
        Columns `a b ablation task metric drop_a drop_b difference low high p p_adjusted n unit
        interval test correction`. Ablations that only one of the two models has are left out.

    Raises:
        UserError: there are fewer than two models, their examples differ, or they have no ablation
            in common.
    """
    check_options(confidence, resamples, seed)
    pairs, tables = pairs_of(values), []
    for models in by_model(values).values():
        for a, b in pairs:
            if a in models and b in models:
                table = _pair(models[a], models[b], confidence, resamples, seed)
                table["p_adjusted"] = adjust(table["p"].to_numpy(float), correction=correction)
                tables.append(table.assign(correction=correction))
    filled = [table for table in tables if len(table)]
    if not filled:
        raise UserError("differences: no two models have an ablation of a task in common")
    return pd.concat(filled, ignore_index=True)[COLUMNS]


def _pair(
    one: Outcomes, other: Outcomes, confidence: float, resamples: int, seed: int
) -> pd.DataFrame:
    shared = [c for c in one.table.columns if c in other.table.columns and c != BASELINE]
    if not shared:
        return pd.DataFrame({"p": []})
    drops = [m.table[shared].rsub(m.table[BASELINE], axis=0) for m in (one, other)]
    sample = sample_of(drops[0] - drops[1], one.clusters)
    low, high, kind = _intervals(sample, drops, one.points, confidence, resamples, seed)
    scale = 100.0 if one.points else 1.0
    by = " by cluster" if sample.clustered else ""
    if one.points:
        p, test = sign_flip(sample.sums(), resamples=resamples, seed=seed), "exact sign flips"
    else:
        p, test = mean_test(sample), "t test, Hall's correction for skewness"
    return pd.DataFrame(
        {
            "a": one.model,
            "b": other.model,
            "ablation": shared,
            "task": one.task,
            "metric": one.metric,
            "drop_a": scale * drops[0].mean().to_numpy(),
            "drop_b": scale * drops[1].mean().to_numpy(),
            "difference": scale * sample.table.mean(axis=0),
            "low": scale * low,
            "high": scale * high,
            "p": p,
            "n": len(sample.table),
            "unit": "points" if one.points else "value",
            "interval": kind,
            "test": test + by,
        }
    )


def _intervals(
    sample: Sample,
    drops: list[pd.DataFrame],
    points: bool,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds of the intervals, as fractions or values, and their names."""
    if not points:
        return drop_intervals(sample, False, confidence, resamples, seed)
    means = bootstrap_means(sample, resamples=resamples, seed=[seed, 2])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    centre = sample.table.mean(axis=0)
    low, high = np.minimum(low, centre), np.maximum(high, centre)
    by = " by cluster" if sample.clustered else ""
    name = f"{100 * confidence:g}% paired bootstrap{by}"
    kind = np.full(len(low), name, dtype=object)
    rare = sample.rare_units() < MIN_RARE
    if rare.any():
        sides = [_tango(sample, d.to_numpy(float)[:, rare], confidence) for d in drops]
        (drop_a, low_a, high_a), (drop_b, low_b, high_b) = sides
        # add the squares of each drop's distance to the bound that moves the difference this way
        low[rare] = drop_a - drop_b - np.hypot(drop_a - low_a, high_b - drop_b)
        high[rare] = drop_a - drop_b + np.hypot(high_a - drop_a, drop_b - low_b)
        kind[rare] = f"{100 * confidence:g}% MOVER of Tango scores{by}"
    crossed = rare & (np.abs(sample.table) > 1).any(axis=0)
    if crossed.any() and not sample.clustered:
        low[crossed], high[crossed] = step_interval(sample.table[:, crossed], confidence=confidence)
        kind[crossed] = f"{100 * confidence:g}% score of whole steps"
    return low, high, kind


def _tango(
    sample: Sample, drops: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean drop and its score interval; a cluster counts as one example."""
    n = sample.n_units
    harmed, helped = (drops > 0).mean(axis=0) * n, (drops < 0).mean(axis=0) * n
    low, high = tango(harmed, helped, n, confidence=confidence)
    return drops.mean(axis=0), low, high

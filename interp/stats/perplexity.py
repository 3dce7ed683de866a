"""Perplexities from tables of mean log-likelihoods.

A perplexity is `exp(-mean)` of the examples' log-likelihoods: no mean itself, but a function of
one, falling. An interval of the mean, mapped, is one of the perplexity, and "no drop" of the one
is "no drop" of the other. A paired difference of two perplexities gets a percentile bootstrap of
its own (Efron & Tibshirani 1993).
"""

import numpy as np
import pandas as pd

from interp.stats.intervals import bootstrap_means, percentiles
from interp.stats.samples import BASELINE, sample_of, series


def perplexity_scores(scores: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Scores of perplexities, from the scores of the log-likelihoods that they come from.

    Args:
        scores: From `interp.stats.scores`.
        names: The metric of log-likelihoods to the name of its perplexity.

    Returns:
        The rows of these metrics, renamed and mapped; the same columns.
    """
    rows = scores[scores["metric"].isin(list(names))]
    return rows.assign(
        metric=rows["metric"].map(names),
        value=np.exp(-rows["value"]),
        low=np.exp(-rows["high"]),
        high=np.exp(-rows["low"]),
    )


def perplexity_drops(
    importance: pd.DataFrame,
    values: pd.DataFrame,
    names: dict[str, str],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired damage to perplexities: ablated minus baseline, so that positive is damage.

    Args:
        importance: From `interp.stats.importance`; its tests hold for the perplexity.
        values: The long table that it was made from.
        names: The metric of log-likelihoods to the name of its perplexity.
        confidence: Coverage of the intervals.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        The rows of these metrics with `baseline`, `ablated`, `drop`, `low` and `high` of the
        perplexity; the same columns.
    """
    rows = importance[importance["metric"].isin(list(names))].copy()
    rows[["low_all", "high_all"]] = np.nan  # those of the log-likelihoods are no perplexities
    for key, _, wide, clusters in series(values[values["metric"].isin(list(names))]):
        wide = wide.dropna()
        others = [name for name in wide.columns if name != BASELINE]
        sample = sample_of(wide[[BASELINE, *others]], clusters)
        drawn = np.exp(-bootstrap_means(sample, resamples=resamples, seed=seed))
        found = np.exp(-sample.table.mean(axis=0))
        low, high = percentiles(drawn[:, 1:] - drawn[:, :1], confidence)
        alike = (np.ptp(sample.table[:, 1:] - sample.table[:, :1], axis=0) == 0) | (
            sample.n_units == 1
        )
        low, high = np.where(alike, np.nan, low), np.where(alike, np.nan, high)
        by = " by cluster" if sample.clustered else ""
        for place, ablation in enumerate(others):
            here = (rows["task"] == key["task"]) & (rows["model"] == key["model"])
            here &= (rows["metric"] == key["metric"]) & (rows["ablation"] == ablation)
            rows.loc[here, ["baseline", "ablated"]] = found[0], found[place + 1]
            rows.loc[here, "drop"] = found[place + 1] - found[0]
            rows.loc[here, ["low", "high"]] = low[place], high[place]
            kind = f"{100 * confidence:g}% paired bootstrap{by}"
            rows.loc[here, "interval"] = "none (no spread in the sample)" if alike[place] else kind
    return rows.assign(metric=rows["metric"].map(names))

"""The tables of a result: scores and paired drops, each with its interval."""

import pandas as pd

from interp.errors import UserError
from interp.stats.intervals import drop_intervals, mean_intervals
from interp.stats.pvalues import adjust, paired_test
from interp.stats.samples import BASELINE, check_options, check_paired, sample_of, series


def scores(
    values: pd.DataFrame, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Score of every model, task, metric and ablation, with its interval.

    0/1 values get the Wilson score interval, which is sound at 0% and 100% too. Continuous values
    get a percentile bootstrap of the mean; where all values are equal (or there is only one) the
    sample cannot show its spread and the interval is NaN. With a ``cluster`` column clusters are
    resampled; a 0/1 score with fewer than ten clusters that hold its rarer outcome falls back on
    Wilson with each cluster counted as one example.

    Args:
        values: The long table that `interp.stats` describes.
        confidence: Coverage of the intervals, between 0 and 1.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        Columns ``model task metric ablation value low high n unit interval``.

    Raises:
        UserError: If a column is missing, a value is not finite, or a document is doubled.
    """
    check_options(confidence, resamples)
    rows: list[dict[str, object]] = []
    for key, points, wide, clusters in series(values):
        for ablation in wide.columns:
            column = wide[ablation].dropna()
            sample = sample_of(column.to_frame(), clusters)
            low, high, kind = mean_intervals(sample, points, confidence, resamples, seed)
            scale = 100.0 if points else 1.0
            rows.append(
                key
                | {"ablation": ablation, "value": scale * float(sample.table.mean())}
                | {"low": scale * low[0], "high": scale * high[0], "n": len(column)}
                | {"unit": "points" if points else "value", "interval": kind[0]}
            )
    return pd.DataFrame(rows)


def importance(
    values: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    correction: str = "holm",
) -> pd.DataFrame:
    """Paired drop of every ablation against the baseline, with its interval and test.

    ``drop`` is baseline minus ablated on the same documents: positive is damage.

    *Interval.* Percentile bootstrap over documents (Efron & Tibshirani 1993), the same resamples
    for all ablations of a task. For 0/1 values it fails at the edge: when no document changes it
    gives [0, 0], and with one expected change in 50 a nominal 95% interval covers the truth in
    63%. So a drop whose documents fall outside the commonest outcome (harmed, helped, unchanged)
    fewer than `MIN_RARE` times gets the score interval of Tango (1998) instead, which inverts
    McNemar's test; together they cover 93% or more at every n (50 to 1,000), drop and accuracy
    simulated. Continuous differences that are all equal have no interval (NaN). Below
    some 20 documents any bootstrap is too narrow.

    *Test.* Exact McNemar for 0/1 values, sign-flip permutation otherwise. With a ``cluster`` column
    clusters are resampled and flipped whole, and Tango counts each cluster as one example.

    Args:
        values: The long table that `interp.stats` describes.
        confidence: Coverage of the intervals, between 0 and 1.
        resamples: Bootstrap resamples, and least number of sign flips.
        seed: Seed of the resampling.
        correction: Across the ablations of one model, task and metric: ``"holm"`` (family-wise),
            ``"bh"`` (false discovery rate) or ``"none"``.

    Returns:
        Columns ``model ablation task metric baseline ablated drop low high p p_adjusted n unit
        interval test correction``; one row an ablation other than the baseline.

    Raises:
        UserError: If the baseline is missing or the documents are not the same.
    """
    check_options(confidence, resamples)
    tables = []
    for key, points, wide, clusters in series(values):
        check_paired(wide, key)
        ablations = [name for name in wide.columns if name != BASELINE]
        if not ablations:
            continue
        damage = wide[ablations].rsub(wide[BASELINE], axis=0)
        sample = sample_of(damage, clusters)
        low, high, kind = drop_intervals(sample, points, confidence, resamples, seed)
        p, test = paired_test(sample, points, resamples, seed)
        scale = 100.0 if points else 1.0
        columns = {
            "model": key["model"],
            "ablation": ablations,
            "task": key["task"],
            "metric": key["metric"],
            "baseline": scale * wide[BASELINE].mean(),
            "ablated": scale * wide[ablations].mean().to_numpy(),
            "drop": scale * sample.table.mean(axis=0),
            "low": scale * low,
            "high": scale * high,
            "p": p,
            "p_adjusted": adjust(p, correction=correction),
            "n": len(wide),
            "unit": "points" if points else "value",
            "interval": kind,
            "test": test,
            "correction": correction,
        }
        tables.append(pd.DataFrame(columns))
    if not tables:
        raise UserError("the table of values holds no ablation besides the baseline")
    return pd.concat(tables, ignore_index=True)

"""Interactions: what removing two parts costs beyond what each of them costs alone."""

import numpy as np
import pandas as pd
from scipy import stats as sps

from interp.errors import UserError
from interp.stats import BASELINE, adjust, sample_of, series


def interactions(
    values: pd.DataFrame, *, confidence: float = 0.95, correction: str = "holm"
) -> pd.DataFrame:
    """For each pair that was ablated alone and together: the drop beyond the sum of two drops.

    Positive is synergy of damage: one of the two makes up for the other while it is there. Negative
    is overlap: what the one breaks, the other cannot break again. Near a floor everything overlaps,
    because a score cannot fall below it.

    Args:
        values: the long table of one metric a task, of which more is better (`Sweep.gains()`).
        confidence: coverage of the intervals.
        correction: of the p-values, over all pairs of a task.

    Returns:
        Columns `model task metric ablation first second drop_first drop_second drop interaction low
        high p p_adjusted n unit interval`, a row a pair; in points for 0/1 metrics.

    Raises:
        UserError: no pair, both parts of which were ablated alone, too.
    """
    rows = []
    for key, points, wide, clusters in series(values):
        names = {str(name) for name in wide.columns}
        pairs = [name for name in names if name.count("+") == 1 and set(name.split("+")) <= names]
        found = [_row(wide, pair, clusters, points, confidence) for pair in sorted(pairs)]
        adjusted = adjust(np.array([row["p"] for row in found]), correction=correction)
        for row, p in zip(found, adjusted, strict=True):
            rows.append(key | row | {"p_adjusted": float(p)})
    if not rows:
        raise UserError(
            "interactions: no pair whose parts were ablated alone, too; sweep layers and "
            "pairs:layers together"
        )
    return pd.DataFrame(rows)


def _row(
    wide: pd.DataFrame,
    pair: str,
    clusters: pd.Series | None,
    points: bool,
    confidence: float,
) -> dict[str, object]:
    first, second = pair.split("+")
    whole = wide[[BASELINE, first, second, pair]].dropna()
    scale = 100.0 if points else 1.0
    means = scale * whole.mean()
    # each example has its own interaction: the four outcomes are paired
    beyond = whole[first] + whole[second] - whole[pair] - whole[BASELINE]
    sample = sample_of(beyond.to_frame(), clusters)
    n, value = sample.n_units, float(beyond.mean())
    sums = (sample.sums()[:, 0] - np.bincount(sample.units) * value) / len(whole)
    error = float(np.sqrt(n / max(1, n - 1) * np.square(sums).sum()))
    known = n > 1 and error > 0
    half = float(sps.t.isf((1 - confidence) / 2, n - 1)) * error if known else np.nan
    by = " by cluster" if sample.clustered else ""
    return {
        "ablation": pair,
        "first": first,
        "second": second,
        "drop_first": means[BASELINE] - means[first],
        "drop_second": means[BASELINE] - means[second],
        "drop": means[BASELINE] - means[pair],
        "interaction": scale * value,
        "low": scale * (value - half),
        "high": scale * (value + half),
        "p": float(2 * sps.t.sf(abs(value) / error, n - 1)) if known else 1.0,
        "n": len(whole),
        "unit": "points" if points else "value",
        "interval": f"{100 * confidence:g}% Student{by}" if known else "none (no spread)",
    }

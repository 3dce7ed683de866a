"""Spearman's rank correlation, row by row, of arrays."""

import numpy as np
from jaxtyping import Float


def spearman(
    one: Float[np.ndarray, "*#rows items"], other: Float[np.ndarray, "*#rows items"]
) -> Float[np.ndarray, "*rows"]:
    """Spearman's rank correlation along the last axis (Spearman 1904).

    Tied values get their mean rank, as in `scipy.stats.spearmanr`, which takes one pair at a time.
    Values that should tie must be exactly equal: round before, because sums in another order differ
    in their last digits.

    Args:
        one: one profile, or one profile per row.
        other: the same. A single profile is compared with every row of `one`.

    Returns:
        One correlation per row; NaN where one of the two has no spread.
    """
    a, b = (mean_ranks(x) for x in (one, other))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    product = np.asarray((a * b).sum(axis=-1))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0)


def mean_ranks(values: Float[np.ndarray, "*rows items"]) -> Float[np.ndarray, "*rows items"]:
    """Ranks from 1 on along the last axis; equal values get the mean of their ranks.

    Args:
        values: one profile, or one profile per row.

    Returns:
        Ranks, of the shape of `values`. All of a row that holds a NaN are NaN.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    items = np.arange(values.shape[-1])
    differs = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones_like(ordered[..., :1], dtype=bool)
    first = np.where(np.concatenate([edge, differs], axis=-1), items, 0)
    last = np.where(np.concatenate([differs, edge], axis=-1), items, items[-1])
    first = np.maximum.accumulate(first, axis=-1)
    last = np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    return np.where(np.isnan(values).any(axis=-1, keepdims=True), np.nan, ranks)

"""Spearman's rank correlation, row by row: arrays to arrays."""

import numpy as np
from jaxtyping import Float
from scipy import stats as sps


def spearman(
    one: Float[np.ndarray, "*#rows items"], other: Float[np.ndarray, "*#rows items"]
) -> Float[np.ndarray, "*rows"]:
    """Spearman's rank correlation along the last axis (Spearman 1904).

    Ties get their mean rank, as in `scipy.stats.spearmanr`, which takes no rows. Values that
    should tie must be equal: round away what summing in another order leaves.

    Args:
        one: a profile, or a row each.
        other: the same; a single profile is compared with all rows of the other.

    Returns:
        A correlation a row; NaN where one of the two has no spread.
    """
    a, b = (sps.rankdata(x, axis=-1) for x in (one, other))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    product = np.asarray((a * b).sum(axis=-1))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0)

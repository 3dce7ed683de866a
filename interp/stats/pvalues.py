"""Paired tests and corrections for many of them: arrays to p-values."""

import numpy as np
from jaxtyping import Float
from scipy import stats as sps

from interp.errors import UserError
from interp.stats.samples import Sample, blocks

CORRECTIONS = ("holm", "bh", "none")


def paired_test(
    sample: Sample, points: bool, resamples: int, seed: int
) -> tuple[Float[np.ndarray, " ablations"], str]:
    """P-value of "no drop" for each column, and the test's name."""
    if points and not sample.clustered:
        harmed, helped = (sample.table > 0).sum(axis=0), (sample.table < 0).sum(axis=0)
        return mcnemar(harmed.astype(float), helped.astype(float)), "exact McNemar"
    p = sign_flip(sample.sums(), resamples=resamples, seed=seed)
    return p, "sign-flip permutation" + (" by cluster" if sample.clustered else "")


def mcnemar(
    harmed: Float[np.ndarray, " rows"], helped: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Exact two-sided p-value that harmed and helped pairs are equally likely (McNemar 1947)."""
    return np.minimum(1.0, 2 * sps.binom.cdf(np.minimum(harmed, helped), harmed + helped, 0.5))


def sign_flip(
    sums: Float[np.ndarray, "units ablations"], *, resamples: int, seed: int
) -> Float[np.ndarray, " ablations"]:
    """Two-sided p-value of a paired permutation test of each column's sum (Fisher 1935).

    As ``scipy.stats.permutation_test((d,), permutation_type="samples")``, but the flips are shared
    by all columns, so that a family costs one matrix product. All sign patterns if they are few;
    otherwise at least 40 random ones a column, or no adjusted p-value could fall below 0.05.
    """
    n_units, n_columns = sums.shape
    flips = max(resamples, 40 * n_columns)
    exact = n_units < 63 and 2**n_units <= flips
    flips = 2**n_units if exact else flips
    rng = np.random.default_rng([seed, 1])  # not the bootstrap's stream
    least = np.abs(sums.sum(axis=0)) - 1e-12 * np.abs(sums).sum(axis=0)  # ties despite rounding
    extreme = np.zeros(n_columns)
    for rows in blocks(flips, max(n_units, n_columns)):
        if exact:
            bits = (np.arange(rows.start, rows.stop)[:, None] >> np.arange(n_units)) & 1
        else:
            bits = rng.integers(2, size=(rows.stop - rows.start, n_units))
        extreme += (np.abs((2.0 * bits - 1) @ sums) >= least).sum(axis=0)
    return extreme / flips if exact else (extreme + 1) / (flips + 1)


def adjust(
    p: Float[np.ndarray, " family"], *, correction: str = "holm"
) -> Float[np.ndarray, " family"]:
    """P-values corrected for a family of tests: Holm (1979) or Benjamini & Hochberg (1995)."""
    if correction not in CORRECTIONS:
        raise UserError(f"correction {correction!r}: allowed are {', '.join(CORRECTIONS)}")
    if correction == "none":
        return p.copy()
    if correction == "bh":
        return np.asarray(sps.false_discovery_control(p, method="bh"))
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted

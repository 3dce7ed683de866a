"""Pairs of prompts: what patches bring, all intervals together, and passage against weights.

As `interp.results.recovery` and `context_or_weights` compute them, by cluster where pairs share
one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row, size_row
from interp.stats import Means, fieller, means_of, sample_by

SHARES = np.array([0.0, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3, 0.5])
"""What each of eight patches brings of the twin's answer."""

CHANGES = np.array([0.0, 0.0, 0.0, 0.0, -0.2, -1.0, 0.3, 2.0])
"""Nats by which each of eight ablations moves the answer towards the passage's."""

PATCHES = {
    "8 patches, 12 pairs": (12, 1, False),
    "8 patches, 25 pairs": (25, 1, False),
    "8 patches, skewed twins, 25 pairs": (25, 1, True),
    "8 patches, 8 clusters of 5 pairs": (8, 5, False),
    "8 patches, 20 clusters of 3 pairs": (20, 3, False),
}
"""Clusters of pairs, pairs of each, and whether pairs differ by lognormal amounts."""

PASSAGES = ((12, 1), (40, 1), (8, 5), (20, 3))
ALIKE = 0.3
"""Correlation of pairs of one cluster."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage one by one and all together, and null parts that are named."""
    for number, (setting, (clusters, each, skewed)) in enumerate(PATCHES.items()):
        rng = np.random.default_rng([seed, 46, number])
        one, together = list[bool](), list[bool]()
        for _ in range(sweeps):
            means = _patched(rng, clusters, each, skewed=skewed)
            single = _recovered(means, means.critical(0.95))
            every = _recovered(means, means.critical(1 - 0.05 / len(SHARES)))
            if not np.isnan(every).any():
                one.append(bool(single[4, 0] <= SHARES[4] <= single[4, 1]))
                together.append(bool(((every[:, 0] <= SHARES) & (every[:, 1] >= SHARES)).all()))
        yield coverage_row("recovery by a patch, pairs and clusters", setting, one, sweeps=sweeps)
        yield coverage_row("recovery, all patches together", setting, together, sweeps=sweeps)
    for number, (clusters, each) in enumerate(PASSAGES):
        rng = np.random.default_rng([seed, 47, number])
        inside, all_of, named = list[bool](), list[bool](), list[bool]()
        for _ in range(sweeps):
            units = np.repeat(np.arange(clusters), each)
            drawn = CHANGES + _noise(rng, clusters, each)
            means = means_of(sample_by(drawn, units.tolist()), points=False)
            apart = np.abs(means.means - CHANGES) / np.sqrt(np.diag(means.covariance))
            inside.append(bool(apart[5] <= means.critical(0.95)))
            strict = means.critical(1 - 0.05 / len(CHANGES))
            all_of.append(bool((apart <= strict).all()))
            named.append(bool((apart[CHANGES == 0] > strict).any()))
        n = f"{clusters} pairs" if each == 1 else f"{clusters} clusters of {each} pairs"
        setting = f"8 ablations, {n}"
        yield coverage_row("passage or weights: one change", setting, inside, sweeps=sweeps)
        yield coverage_row("passage or weights: all changes", setting, all_of, sweeps=sweeps)
        yield size_row("passage or weights: any null part named", setting, named, sweeps=sweeps)


def _patched(rng: np.random.Generator, clusters: int, each: int, *, skewed: bool) -> Means:
    """What eight patches move in every pair, in nats, and by how much its prompts differ."""
    n = clusters * each
    full = np.exp(rng.normal(2, 0.5, n)) if skewed else rng.normal(8, 1.5, n)
    # patches of one pair err together
    moved = SHARES * full[:, None] + _noise(rng, clusters, each) + 0.5 * rng.normal(size=(n, 1))
    units = np.repeat(np.arange(clusters), each).tolist()
    return means_of(sample_by(np.column_stack([moved, full]), units), points=False)


def _noise(rng: np.random.Generator, clusters: int, each: int) -> Float[np.ndarray, "pairs eight"]:
    """Of every pair and ablation; pairs of one cluster are alike."""
    own = rng.normal(size=(clusters * each, len(SHARES)))
    if each == 1:
        return own
    shared = np.repeat(rng.normal(size=(clusters, len(SHARES))), each, axis=0)
    return np.asarray(np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * own)


def _recovered(means: Means, critical: float) -> Float[np.ndarray, "eight bounds"]:
    """Fieller's bounds of every patch."""
    columns = np.eye(len(SHARES) + 1)
    found = [fieller(columns[at], columns[-1], means, critical) for at in range(len(SHARES))]
    return np.array([[one.low, one.high] for one in found])

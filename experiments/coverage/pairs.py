"""Pairs of prompts: what patches bring, all intervals together, and passage against weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row, size_row
from interp.results import context_or_weights, recovery
from interp.stats import BASELINE

SHARES = np.array([0.0, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3, 0.5])
"""What each of eight patches brings of the twin's answer."""

CHANGES = np.array([0.0, 0.0, 0.0, 0.0, -0.2, -1.0, 0.3, 2.0])
"""Nats by which each of eight ablations moves the answer towards the passage's."""

PATCHES = {
    "8 patches, 12 pairs": (12, False, 1),
    "8 patches, 25 pairs": (25, False, 1),
    "8 patches, skewed twins, 25 pairs": (25, True, 1),
    "8 patches, 8 clusters of 5 pairs": (8, False, 5),
    "8 patches, 20 clusters of 3 pairs": (20, False, 3),
}
"""Clusters of pairs, whether pairs differ by lognormal amounts, and pairs of a cluster."""

ALIKE = 0.3
"""Correlation of pairs of one cluster."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of `recovery` and `context_or_weights`, one by one and all together."""
    for number, (setting, (clusters, skewed, each)) in enumerate(PATCHES.items()):
        rng, one, together = np.random.default_rng([seed, 46, number]), [], []
        for _ in range(sweeps):
            table = recovery(_patched(rng, clusters, each, skewed=skewed))
            rows = table[table["direction"] == "denoising"].sort_values("ablation")
            inside = (rows["low"] <= SHARES) & (rows["high"] >= SHARES)
            if rows["low"].isna().any():
                continue
            one.append(bool(inside.iloc[4]))
            bounds = (rows["low_all"] <= SHARES) & (rows["high_all"] >= SHARES)
            together.append(bool(bounds.all()))
        yield coverage_row("recovery by a patch, from responses", setting, one, sweeps=sweeps)
        yield coverage_row("recovery, all patches together", setting, together, sweeps=sweeps)
    for number, (clusters, each) in enumerate(((12, 1), (40, 1), (8, 5), (20, 3))):
        rng, inside, all_of, named = np.random.default_rng([seed, 47, number]), [], [], []
        for _ in range(sweeps):
            table = context_or_weights(_contradicted(rng, clusters, each)).sort_values("ablation")
            covered = (table["low"] <= CHANGES) & (table["high"] >= CHANGES)
            inside.append(bool(covered.iloc[5]))
            bounds = (table["low_all"] <= CHANGES) & (table["high_all"] >= CHANGES)
            all_of.append(bool(bounds.all()))
            named.append(bool((table["follows"].to_numpy()[CHANGES == 0] != "").any()))
        n = f"{clusters} pairs" if each == 1 else f"{clusters} clusters of {each} pairs"
        setting = f"8 ablations, {n}"
        yield coverage_row("passage or weights: one change", setting, inside, sweeps=sweeps)
        yield coverage_row("passage or weights: all changes", setting, all_of, sweeps=sweeps)
        yield size_row("passage or weights: any null part named", setting, named, sweeps=sweeps)


def _patched(rng: np.random.Generator, clusters: int, each: int, *, skewed: bool) -> pd.DataFrame:
    """Responses of a sweep over pairs: the baseline and eight patches, in both directions."""
    n = clusters * each
    halves = np.exp(rng.normal(1.3, 0.5, 2 * n)) if skewed else rng.normal(4, 0.7, 2 * n)
    gaps = -np.abs(halves)
    full = -gaps[np.arange(2 * n) ^ 1] - gaps
    units = np.repeat(np.arange(clusters), 2 * each)
    # patches of one pair err together, and those of one cluster
    own = rng.normal(size=(2 * n, len(SHARES)))
    alike = rng.normal(size=(clusters, len(SHARES)))[units]
    noise = own if each == 1 else np.sqrt(ALIKE) * alike + np.sqrt(1 - ALIKE) * own
    moved = SHARES * full[:, None] + 1.0 * noise + 0.5 * rng.normal(size=(2 * n, 1))
    names = [f"patch:attn:{at}@last" for at in range(len(SHARES))]
    values = np.column_stack([gaps, gaps[:, None] + moved])
    return _responses("twins-key-kv", names, values, units if each > 1 else None)


def _contradicted(rng: np.random.Generator, clusters: int, each: int) -> pd.DataFrame:
    """Responses of pairs whose passage contradicts what the model has learnt."""
    n = clusters * each
    units = np.repeat(np.arange(clusters), 2 * each)
    own = rng.normal(size=(2 * n, len(CHANGES)))
    alike = rng.normal(size=(clusters, len(CHANGES)))[units]
    noise = own if each == 1 else np.sqrt(ALIKE) * alike + np.sqrt(1 - ALIKE) * own
    gaps = rng.normal(1, 2, 2 * n)
    # the second option is the memorised answer
    values = np.column_stack([gaps, gaps[:, None] + CHANGES + noise])
    names = [f"layer:{at}" for at in range(len(CHANGES))]
    return _responses("twins-gold-passage", names, -values, units if each > 1 else None)


def _responses(
    task: str,
    names: list[str],
    gaps: Float[np.ndarray, "rows ablations"],
    units: np.ndarray | None,
) -> pd.DataFrame:
    """Log-likelihoods of both options of every row: they differ by these gaps."""
    count = len(gaps)
    table = pd.DataFrame(
        {
            "model": "m",
            "task": task,
            "doc_id": np.tile(np.arange(count), 1 + len(names)),
            "ablation": np.repeat([BASELINE, *names], count),
            "loglikelihoods": [(-1.0, -1.0 + gap) for gap in gaps.T.ravel()],
        }
    )
    if units is not None:
        table["cluster"] = [f"c{one}" for one in np.tile(units, 1 + len(names))]
    return table

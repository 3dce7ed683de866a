"""Two models on the same examples, and clusters of examples that two ablations lose."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from experiments.coverage.drawing import LEVEL, coverage_row, outcomes, size_row
from interp.comparison import differences
from interp.results.lost import shared_losses
from interp.stats import BASELINE

PAIRS = {
    "20 against 20 points, noise 3%": (0.2, 0.2, 0.03),
    "40 against 10 points, noise 3%": (0.4, 0.1, 0.03),
    "3 against 3 points, noise 2%": (0.03, 0.03, 0.02),
    "5 against 1 points, noise 0.5%": (0.05, 0.01, 0.005),
}
RIGHT = 0.9
TOGETHER = 100
"""Sweeps that are the ablations of one call."""

ALIKE = 0.2


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage and size of `differences` of 0/1 drops; of `lost_together` by cluster."""
    for n in (50, 200):
        for number, (name, (one, other, noise)) in enumerate(PAIRS.items()):
            rng, hits, rejected = np.random.default_rng([seed, 51, n, number]), [], []
            for part in range(max(1, sweeps // TOGETHER)):
                found = differences(_pair(rng, n, one, other, noise), seed=part)
                known = found[found["low"].notna()]
                truth = 100 * (one - other)
                hits += list((known["low"] <= truth + 1e-9) & (truth - 1e-9 <= known["high"]))
                rejected += list(found["p"] < LEVEL)
            setting = f"{name}, n {n}"
            yield coverage_row("difference of drops of two models", setting, hits,
                               sweeps=len(rejected))  # fmt: skip
            if one == other:
                yield size_row("difference of drops of two models (sign flips)", setting, rejected,
                               sweeps=len(rejected))  # fmt: skip
    for clusters, each in ((20, 10), (40, 5)):
        rng, held, refused = np.random.default_rng([seed, 52, clusters]), [], []
        units = np.repeat(np.arange(clusters), each)
        for _ in range(sweeps):
            row: dict[str, Any] = shared_losses(
                _lost(rng, units, 0.4), _lost(rng, units, 0.6), [str(u) for u in units], 0.95
            )
            refused.append(bool(row["p"] < LEVEL))
            if not np.isnan(row["low"]):
                held.append(bool(row["low"] <= 60 <= row["high"]))
        setting = f"40 and 60% are lost, {clusters} clusters of {each}, alike by {ALIKE}"
        yield coverage_row("lost examples that are shared, by cluster", setting, held,
                           sweeps=sweeps)  # fmt: skip
        yield size_row("lost examples are independent, by cluster", setting, refused,
                       sweeps=sweeps)  # fmt: skip


def _pair(rng: np.random.Generator, n: int, one: float, other: float, noise: float) -> pd.DataFrame:
    """Two models whose ablations are sweeps apart: each has luck of its own."""
    tables = []
    for model, drop in (("a", one), ("b", other)):
        whole, left = outcomes(rng, n, RIGHT, np.full(TOGETHER, drop), noise)
        names = [BASELINE, *(f"layer:{at}" for at in range(TOGETHER))]
        columns = {"ablation": np.repeat(names, n), "doc_id": np.tile(np.arange(n), len(names))}
        values = np.column_stack([whole, left]).T.ravel() * 1.0
        tables.append(pd.DataFrame({"model": model, **columns, "value": values}))
    return pd.concat(tables, ignore_index=True).assign(task="t", metric="acc")


def _lost(
    rng: np.random.Generator, units: np.ndarray, share: float
) -> Bool[np.ndarray, " examples"]:
    """What an ablation loses goes by cluster, apart from what the other loses."""
    total = 1 / ALIKE - 1
    own = rng.beta(share * total, (1 - share) * total, size=int(units.max()) + 1)[units]
    return np.asarray(rng.random(len(units)) < own)

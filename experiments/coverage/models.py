"""Two models on the same examples, and clusters of examples that two ablations lose."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import LEVEL, coverage_row, size_row
from experiments.coverage.tables import long_table, outcomes
from interp.comparison import differences
from interp.results import lost_together
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
    for n in (50, 100, 200):
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
        for _ in range(sweeps):
            table = lost_together(_lost(rng, clusters, each))
            if len(table):
                row = table.iloc[0]
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
        columns = {BASELINE: whole * 1.0}
        columns |= {f"layer:{at}": left[:, at] * 1.0 for at in range(TOGETHER)}
        tables.append(long_table(columns, model=model))
    return pd.concat(tables, ignore_index=True)


def _lost(rng: np.random.Generator, clusters: int, each: int) -> pd.DataFrame:
    """Two ablations; what each loses goes by cluster, apart from what the other loses."""
    units, total = np.repeat(np.arange(clusters), each), 1 / ALIKE - 1
    columns = {BASELINE: np.ones(len(units))}
    for name, share in (("layer:0", 0.4), ("layer:1", 0.6)):
        own = rng.beta(share * total, (1 - share) * total, size=clusters)[units]
        columns[name] = (rng.random(len(units)) >= own) * 1.0
    return long_table(columns, clusters=units.astype(float))

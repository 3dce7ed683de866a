"""Tests by permutation: does a measure of layers, or a field of the rows, go with the drops?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import LEVEL, changes, size_row
from interp.stats import design_effects
from interp.stats.layer_ranks import permuted

PROFILES = {
    "8 layers, graded 0-30 points, n 100": np.linspace(0, 0.3, 8),
    "12 layers, three matter, n 100": np.array([0.3, 0.2, 0.1] + [0.0] * 9),
    "32 layers, six matter, n 100": np.concatenate([np.linspace(0.3, 0.02, 6), np.zeros(26)]),
}
FIELDS = {
    "4 values, n 200": (200, 4, 0.0),
    "20 values, n 200": (200, 20, 0.1),
    "57 values, n 570": (570, 57, 0.3),
}
"""Rows, values of the field, and the true drop, a share."""

TOGETHER = 20
"""Sweeps that one call tests as the columns of a table."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Size of the tests of `layer_correlations` and of `design_effects`."""
    for number, (setting, drops) in enumerate(PROFILES.items()):
        rng, rejected = np.random.default_rng([seed, 43, number]), []
        for sweep in range(sweeps):
            means = changes(rng, 100, list(drops), 0.03).mean(axis=0).round(12)
            _, p = permuted(rng.normal(size=len(drops)), means, sweep)
            rejected.append(p <= LEVEL)
        yield size_row("a measure of layers goes with drops", setting, rejected, sweeps=sweeps)
    for number, (setting, (n, count, drop)) in enumerate(FIELDS.items()):
        rng, found = np.random.default_rng([seed, 44, number]), []
        for part in range(max(1, sweeps // TOGETHER)):
            damage = pd.DataFrame(changes(rng, n, [drop] * TOGETHER, 0.05))
            field = pd.Series(rng.integers(count, size=n), name="field")
            table = design_effects(damage, field, seed=part)
            found += list(table["p"].dropna() <= LEVEL)
        yield size_row("a field of the rows goes with drops", setting, found, sweeps=len(found))

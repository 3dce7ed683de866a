"""Centres of mass, spreads, and the shifts between two models."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import changes, coverage_row, size_row
from interp.comparison import centres, shifts

FEW = [0.2] * 4 + [0.0] * 28
STRONG = [0.98, 0.02, 0.36, 0.04, 0.98, 0.0, 0.0, 0.04]

CENTRES = {
    "8 layers, sum 242 points, noise 0.5%, n 200": (200, STRONG, 0.005, 1),
    "32 layers, 0-3 lose 20 points each, noise 2%, n 200": (200, FEW, 0.02, 1),
    "32 layers, 0-3 lose 20 points each, noise 5%, n 200": (200, FEW, 0.05, 1),
    "32 layers, 0-3 lose 20 points each, noise 5%, n 1000": (1000, FEW, 0.05, 1),
    "32 layers, 0-3 lose 5 points each, noise 5%, n 200": (
        200, [0.05] * 4 + [0.0] * 28, 0.05, 1,
    ),
    "8 layers, 0-1 lose 10 points each, noise 3%, n 100": (100, [0.1] * 2 + [0.0] * 6, 0.03, 1),
    "8 layers of 8 heads, 0-1 lose 20 points each, noise 2%, n 100": (
        100, [0.2] * 2 + [0.0] * 6, 0.02, 8,
    ),
    "32 layers, 0-1 lose 60 points, others 1, noise 5%, n 200": (
        200, [0.6] * 2 + [0.01] * 30, 0.05, 1,
    ),
    "32 layers, 0-1 lose 60 points, others 1, noise 5%, n 500": (
        500, [0.6] * 2 + [0.01] * 30, 0.05, 1,
    ),
}  # fmt: skip

SHIFTS = {
    "32 layers, 40 against 10 points in 0-3, noise 5%, n 200": (
        200, [0.4] * 4 + [0.0] * 28, [0.1] * 4 + [0.0] * 28, 0.05,
    ),
    "32 layers, 40 against 10 points in 0-3, noise 5%, n 1000": (
        1000, [0.4] * 4 + [0.0] * 28, [0.1] * 4 + [0.0] * 28, 0.05,
    ),
    "32 layers, 40 against 10 points in 28-31, noise 5%, n 200": (
        200, [0.0] * 28 + [0.4] * 4, [0.0] * 28 + [0.1] * 4, 0.05,
    ),
    "8 layers, 60 against 10 points in 0-1, noise 3%, n 200": (
        200, [0.6] * 2 + [0.0] * 6, [0.1] * 2 + [0.0] * 6, 0.03,
    ),
    "32 layers, 60/1 against 30/0.5 points, noise 5%, n 200": (
        200, [0.6] * 2 + [0.01] * 30, [0.3] * 2 + [0.005] * 30, 0.05,
    ),
    "32 layers, 60/1 against 30/0.5 points, noise 5%, n 500": (
        500, [0.6] * 2 + [0.01] * 30, [0.3] * 2 + [0.005] * 30, 0.05,
    ),
    "32 layers, 40 against 40 points in 0-3, noise 5%, n 200": (
        200, [0.4] * 4 + [0.0] * 28, [0.4] * 4 + [0.0] * 28, 0.05,
    ),
}  # fmt: skip


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of centres and spreads, and false shifts where the truth is no shift."""
    for number, (setting, (n, drops, noise, heads)) in enumerate(CENTRES.items()):
        rng = np.random.default_rng([seed, 1, number])
        depth = np.arange(len(drops)) / (len(drops) - 1)
        centre = float(np.average(depth, weights=drops))
        truths = {
            "centre": centre,
            "spread": float(np.sqrt(np.average((depth - centre) ** 2, weights=drops))),
        }
        covered: dict[str, list[bool]] = {"centre": [], "spread": []}
        for _ in range(sweeps):
            table = changes(rng, n, list(np.repeat(drops, heads) / heads), noise)
            found = centres(_values(table, heads, "a"), {"a": len(drops)})
            for row in found.dropna(subset="low").to_dict("records"):
                covered[row["quantity"]].append(
                    row["low"] - 1e-12 <= truths[row["quantity"]] <= row["high"] + 1e-12
                )
        for quantity, hits in covered.items():
            yield coverage_row(f"{quantity} of importance", setting, hits, sweeps=sweeps)
    yield from _shifts(sweeps, seed)


def _shifts(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    for number, (setting, (n, one, other, noise)) in enumerate(SHIFTS.items()):
        rng = np.random.default_rng([seed, 2, number])
        counts = {"a": len(one), "b": len(other)}
        false: dict[str, list[bool]] = {"centre": [], "spread": []}
        for _ in range(sweeps):
            sides = [changes(rng, n, drops, noise) for drops in (one, other)]
            tables = [_values(t, 1, name) for t, name in zip(sides, counts, strict=True)]
            found = shifts(pd.concat(tables, ignore_index=True), counts)
            for row in found.dropna(subset="low").to_dict("records"):
                false[row["quantity"]].append(row["low"] > 0 or row["high"] < 0)
        for quantity, hits in false.items():
            yield size_row(f"shift of the {quantity}", f"{setting}, no shift", hits, sweeps=sweeps)


def _values(table: np.ndarray, heads: int, model: str) -> pd.DataFrame:
    """The long table of one model: paired changes against a baseline of 0."""
    n, width = table.shape
    names = (
        [f"layer:{place}" for place in range(width)]
        if heads == 1
        else [f"head:{place // heads}.{place % heads}" for place in range(width)]
    )
    columns = ["baseline", *names]
    wide = np.hstack([np.zeros((n, 1)), -table])
    return pd.DataFrame(
        {
            "model": model,
            "task": "simulated",
            "metric": "acc",
            "ablation": np.repeat(columns, n),
            "doc_id": np.tile(np.arange(n), width + 1),
            "value": wide.T.ravel(),
        }
    )

"""Centres of mass, spreads, and the shifts between two models."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import changes, coverage_row, size_row
from interp.comparison import depth_correlations, depth_quantities
from interp.stats import Means, Sample, difference_of, means_of

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
        spread = float(np.sqrt(np.average((depth - centre) ** 2, weights=drops)))
        groups = np.kron(np.eye(len(drops)), np.ones((heads, 1)))
        covered: dict[str, list[bool]] = {"centre": [], "spread": []}
        for _ in range(sweeps):
            table = changes(rng, n, list(np.repeat(drops, heads) / heads), noise)
            found = depth_quantities(_means(table).summed(groups), depth)
            for hits, truth, one in zip(covered.values(), (centre, spread), found, strict=True):
                if not np.isnan(one.low):
                    hits.append(one.low - 1e-12 <= truth <= one.high + 1e-12)
        for quantity, hits in covered.items():
            yield coverage_row(f"{quantity} of importance", setting, hits, sweeps=sweeps)
    yield from _shifts(sweeps, seed)


def _shifts(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    for number, (setting, (n, one, other, noise)) in enumerate(SHIFTS.items()):
        for paired in (False, True):
            rng = np.random.default_rng([seed, 2, number, paired])
            depth, width = np.arange(len(one)) / (len(one) - 1), len(one)
            false: dict[str, list[bool]] = {"centre": [], "spread": []}
            for _ in range(sweeps):
                both = _means(_two(rng, n, one, other, noise, shared=0.7 if paired else 0.0))
                sides = [
                    depth_quantities(Means(both.means[part], both.covariance[part, part], n), depth)
                    for part in (slice(width), slice(width, None))
                ]
                alike = depth_correlations(both, depth, depth)
                for hits, mine, its, correlation in zip(false.values(), *sides, alike, strict=True):
                    moved = difference_of(mine, its, correlation)
                    if not np.isnan(moved.low):
                        hits.append(moved.low > 0 or moved.high < 0)
            kind = "70% of the luck shared" if paired else "other luck"
            for quantity, hits in false.items():
                yield size_row(
                    f"shift of the {quantity}", f"{setting}, {kind}", hits, sweeps=sweeps
                )


def _means(table: np.ndarray) -> Means:
    return means_of(Sample(table, np.arange(len(table)), False), points=True)


def _two(
    rng: np.random.Generator,
    n: int,
    one: list[float],
    other: list[float],
    noise: float,
    *,
    shared: float,
) -> np.ndarray:
    """Changes of two models side by side; in a `shared` part of the cells chance is the same."""
    first, second = rng.random((2, n, len(one)))
    second = np.where(rng.random(first.shape) < shared, first, second)
    return np.hstack(
        [
            (luck < np.array(drops) + noise).astype(float) - (luck >= 1 - noise)
            for luck, drops in ((first, one), (second, other))
        ]
    )

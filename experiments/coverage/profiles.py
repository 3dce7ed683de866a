"""Correlations of profiles, freed of noise, and the test of whether two profiles differ."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import LEVEL, coverage_row, error_row, size_row
from interp.stats import (
    Ratio,
    Sample,
    ceiling_of,
    crossed,
    disattenuated,
    reliability,
    shapes_differ,
    spearman,
)

GRADED = np.linspace(0.02, 0.3, 8)
MANY = np.linspace(0.3, 0.01, 32)
SIX = np.concatenate([np.linspace(0.3, 0.02, 6), np.zeros(26)])
THIRD = SIX / 3
SIX_ELSEWHERE = np.concatenate([np.zeros(10), np.linspace(0.3, 0.02, 6), np.zeros(16)])
LOOKUP = np.array([0.98, 0.02, 0.36, 0.04, 0.98, 0.005, 0.005, 0.04])
SHUFFLED = np.array([0.1, 0.05, 0.3, 0.02, 0.2, 0.15, 0.25, 0.0])
NEAR = np.clip(MANY + 0.1 * np.random.default_rng(9).normal(size=32), 0, 0.9)

CORRELATIONS = {
    "8 layers, same, graded 2-30 points, noise 2%, n 200": (200, GRADED, GRADED, 0.02),
    "8 layers, same, graded 2-30 points, noise 5%, n 200": (200, GRADED, GRADED, 0.05),
    "8 layers, same, two lose 98 points, noise 0.5%, n 200": (200, LOOKUP, LOOKUP, 0.005),
    "32 layers, same, 6 matter, noise 3%, n 200": (200, SIX, SIX, 0.03),
    "32 layers, same, graded 30-1 points, noise 3%, n 200": (200, MANY, MANY, 0.03),
    "8 layers, other order, noise 3%, n 200": (200, GRADED, SHUFFLED, 0.03),
    "32 layers, near, noise 3%, n 200": (200, MANY, NEAR, 0.03),
    "32 layers, 6 others matter, noise 3%, n 200": (200, SIX, SIX_ELSEWHERE, 0.03),
    "32 layers, same, 6 matter a third as much, noise 5%, n 200": (200, THIRD, THIRD, 0.05),
    "32 layers, same, 6 matter, noise 3%, n 1000": (1000, SIX, SIX, 0.03),
}
SHAPES = {
    "8 layers, same, noise 2%, n 200": (200, GRADED, GRADED, 0.02),
    "8 layers, four times as strong, noise 2%, n 200": (200, 2 * GRADED, GRADED / 2, 0.02),
    "8 layers, two lose 98 or 49 points, noise 0.5%, n 200": (200, LOOKUP, LOOKUP / 2, 0.005),
    "32 layers, 6 matter, four times as strong, noise 3%, n 200": (200, 2 * SIX, SIX / 2, 0.03),
    "32 layers, graded, noise 3%, n 200": (200, MANY, MANY, 0.03),
    "32 layers, 6 matter, noise 1%, twice as strong, n 100": (100, SIX, SIX / 2, 0.01),
}


def rows(sweeps: int, seed: int, resamples: int = 200) -> Iterator[dict[str, Any]]:
    """Coverage of the disattenuated correlation; size of the test of shapes."""
    for number, (setting, (n, one, other, noise)) in enumerate(CORRELATIONS.items()):
        for paired in (False, True):
            rng = np.random.default_rng([seed, 3, number, paired])
            truth, covered, found = float(spearman(one, other)), [], []
            for _ in range(sweeps):
                sides = _pair(rng, n, one, other, noise, shared=0.6 if paired else 0.0)
                freed, observed = _freed(sides, paired, rng, resamples)
                found.append([observed, freed.value])
                if not np.isnan(freed.low):
                    covered.append(freed.low - 1e-9 <= truth <= freed.high + 1e-9)
            means = np.nanmean(found, axis=0)
            yield coverage_row(
                "disattenuated correlation of profiles",
                f"{setting}, {_kind(paired)}",
                covered,
                sweeps=sweeps,
                note=f"truth {truth:.2f}, observed {means[0]:.2f}, disattenuated {means[1]:.2f}",
            )
    for number, (setting, (n, one, other, noise)) in enumerate(SHAPES.items()):
        for paired in (False, True):
            rng = np.random.default_rng([seed, 4, number, paired])
            p = np.array(
                [
                    shapes_differ(
                        *_pair(rng, n, one, other, noise, shared=0.6 if paired else 0.0),
                        paired=paired, points=True, flips=resamples, seed=int(rng.integers(10**6)),
                    )
                    for _ in range(sweeps)
                ]
            )  # fmt: skip
            yield size_row(
                "profiles differ in shape",
                f"{setting}, {_kind(paired)}",
                list(p[~np.isnan(p)] <= LEVEL),
                sweeps=sweeps,
            )


def ceilings(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Mean error of the noise ceiling: of one true profile it is how two samples correlate."""
    for number, (setting, (n, one, other, noise)) in enumerate(CORRELATIONS.items()):
        if one is not other:
            continue
        rng, found, observed = np.random.default_rng([seed, 15, number]), [], []
        for sweep in range(sweeps):
            sides = _pair(rng, n, one, other, noise, shared=0.0)
            observed.append(float(spearman(*(s.table.mean(axis=0).round(12) for s in sides))))
            found.append(ceiling_of(*(reliability(s, seed=2 * sweep + i)
                                      for i, s in enumerate(sides))))  # fmt: skip
        truth = float(np.nanmean(observed))
        yield error_row("noise ceiling", setting, found, truth, sweeps=sweeps)


def _kind(paired: bool) -> str:
    return "same examples, noise shared by 60%" if paired else "other examples"


def _pair(
    rng: np.random.Generator,
    n: int,
    one: np.ndarray,
    other: np.ndarray,
    noise: float,
    *,
    shared: float,
) -> tuple[Sample, Sample]:
    """Paired changes of two profiles; of a `shared` part of the cells luck is the same."""
    first, second = rng.random((2, n, len(one)))
    second = np.where(rng.random(first.shape) < shared, first, second)
    tables = [
        (uniform < drops + noise).astype(float) - (uniform >= 1 - noise)
        for uniform, drops in ((first, one), (second, other))
    ]
    return Sample(tables[0], np.arange(n), False), Sample(tables[1], np.arange(n), False)


def _freed(
    sides: tuple[Sample, Sample], paired: bool, rng: np.random.Generator, resamples: int
) -> tuple[Ratio, float]:
    seed = int(rng.integers(10**6))
    observed = float(spearman(*(side.table.mean(axis=0).round(12) for side in sides)))
    ceiling = ceiling_of(*(reliability(side, seed=seed + i) for i, side in enumerate(sides)))
    value = crossed(*sides, paired=paired, seed=seed)
    n = len(sides[0].table)
    times = [rng.multinomial(n, np.full(n, 1 / n), size=resamples) for _ in range(2)]
    if paired:
        times[1] = times[0]
    drawn = [(t @ side.table / n).round(12) for t, side in zip(times, sides, strict=True)]
    return disattenuated(value, ceiling, spearman(*drawn)), observed

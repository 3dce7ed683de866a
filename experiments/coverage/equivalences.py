"""Drops at the margin that are called equivalent, and heads that two tasks share by chance."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import LEVEL, changes, size_row
from interp.attention.skills import correlation_within_layers, shared_heads
from interp.stats import adjust, mcnemar, tango

MARGINS = (2, 5, 10)
NOISES = (0.01, 0.05)

LAYERS, HEADS = 4, 8
IMPORTANT = {
    "three important heads in each of two layers of 8": {0: 3, 2: 3},
    "two important heads in each of four layers of 8": {0: 2, 1: 2, 2: 2, 3: 2},
}


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Size of the two one-sided tests at the margin; of the tests of shared heads."""
    for n in (100, 200, 400):
        for margin in MARGINS:
            for number, noise in enumerate(NOISES):
                rng = np.random.default_rng([seed, 10, n, margin, number])
                chances = [margin / 100 + noise, noise, 1 - margin / 100 - 2 * noise]
                counts = rng.multinomial(n, chances, size=10 * sweeps).astype(float)
                low, high = tango(counts[:, 0], counts[:, 1], n, confidence=1 - 2 * LEVEL)
                yield size_row(
                    "equivalence by Tango, a drop at the margin",
                    f"margin {margin}, noise {100 * noise:g}%, n {n}",
                    list((low > -margin / 100) & (high < margin / 100)),
                    sweeps=10 * sweeps,
                )
    for number, (setting, places) in enumerate(IMPORTANT.items()):
        rng = np.random.default_rng([seed, 11, number])
        found = [_overlap(rng, places) for _ in range(sweeps)]
        for column, what in enumerate(
            ("shared important heads", "correlation of heads within layers")
        ):
            p = np.array(found)[:, column]
            yield size_row(
                what, f"{setting}, other heads of the same layers in each task, n 100",
                list(p[~np.isnan(p)] <= LEVEL), sweeps=sweeps,
            )  # fmt: skip


def _overlap(rng: np.random.Generator, places: dict[int, int]) -> tuple[float, float]:
    """P-values of two tasks that need the same layers, and in them heads drawn one by one."""
    layers = np.repeat(np.arange(LAYERS), HEADS)
    means, members = [], []
    for _ in range(2):
        drops = np.zeros((LAYERS, HEADS))
        for layer, count in places.items():
            drops[layer, rng.choice(HEADS, count, replace=False)] = rng.uniform(0.2, 0.6, count)
        change = changes(rng, 100, list(drops.ravel()), 0.02)
        harmed, helped = ((change == sign).sum(axis=0).astype(float) for sign in (1, -1))
        significant = adjust(mcnemar(harmed, helped)) < LEVEL
        means.append(change.mean(axis=0))
        members.append(significant & (harmed > helped))
    shared = shared_heads(members[0], members[1], layers)["p"]
    alike = correlation_within_layers(means[0], means[1], layers, 200, int(rng.integers(10**6)))
    return shared, alike

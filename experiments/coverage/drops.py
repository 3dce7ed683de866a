"""Single drops: skewed means, the test of pairs, whole steps, and bands for all ablations."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import LEVEL, changes, coverage_row, size_row
from interp.stats import Sample, drop_intervals, mcnemar, mean_test, simultaneous, step_interval

MEANS = ("normal", "exponential", "lognormal", "t, 3 degrees of freedom", "a tenth carries all")
STEPS = {
    "harmed in one and helped in the other, 4%": ((2.0,), (0.04,)),
    "harmed in one and helped in the other, 2%": ((2.0,), (0.02,)),
    "the same 3%, harmed in one 3%": ((2.0, 1.0), (0.03, 0.03)),
}


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage and size, vectorised over the sweeps."""
    for n in (50, 100, 200):
        for number, name in enumerate(MEANS):
            rng = np.random.default_rng([seed, 5, n, number])
            sample = Sample(_centred(rng, name, (n, 4 * sweeps)), np.arange(n), False)
            low, high, _ = drop_intervals(sample, False, 0.95, 100, 0)
            hits, p = (low <= 0) & (high >= 0), mean_test(sample)
            setting, all_of = f"{name}, n {n}", 4 * sweeps
            yield coverage_row("mean of continuous drops", setting, list(hits), sweeps=all_of)
            yield size_row("mean of continuous drops", setting, list(p < LEVEL), sweeps=all_of)
            small = f"{float((p < 0.005).mean()):.4f} at 0.005"
            yield size_row(
                "mean of continuous drops, at 0.5%", setting, list(p < 0.005), sweeps=all_of,
                note=small,
            )  # fmt: skip
    for n, noise, layers in ((100, 0.01, 64), (200, 0.01, 32), (200, 0.05, 32), (1000, 0.02, 32)):
        rng = np.random.default_rng([seed, 6, n, layers])
        shape = (sweeps * 4, layers)
        counts = rng.multinomial(n, [noise, noise, 1 - 2 * noise], size=shape).astype(float)
        p = mcnemar(counts[..., 0].ravel(), counts[..., 1].ravel()).reshape(shape)
        yield size_row(
            "mid-p McNemar, any of a family (Holm)", f"{layers} ablations, noise {noise}, n {n}",
            list(p.min(axis=1) < LEVEL / layers), sweeps=4 * sweeps,
        )  # fmt: skip
    for n in (100, 200):
        for number, (name, (values, shares)) in enumerate(STEPS.items()):
            rng = np.random.default_rng([seed, 7, n, number])
            outcomes, chances = [0.0, *values], [1 - sum(shares), *shares]
            table = rng.choice(outcomes, p=chances, size=(n, 4 * sweeps))
            low, high = step_interval(table)
            truth = float(np.dot(values, shares))
            inside = (low <= truth + 1e-9) & (truth - 1e-9 <= high)
            yield coverage_row(
                "difference of drops, whole steps", f"{name}, n {n}", list(inside),
                sweeps=4 * sweeps,
            )  # fmt: skip
    yield from _bands(sweeps, seed)


def _bands(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    for layers in (8, 32):
        rng, drops = np.random.default_rng([seed, 8, layers]), np.linspace(0.3, 0, layers)
        hits = []
        for _ in range(sweeps):
            sample = Sample(changes(rng, 200, list(drops), 0.05), np.arange(200), False)
            low, high = simultaneous(sample, True, 0.95, 500, int(rng.integers(10**6)))
            hits.append(bool(((low <= drops) & (drops <= high)).all()))
        yield coverage_row(
            "band for all ablations", f"{layers} layers, drops 30-0, noise 5%, n 200", hits,
            sweeps=sweeps,
        )  # fmt: skip


def _centred(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Values whose true mean is 0."""
    if name == "normal":
        return rng.normal(size=shape)
    if name == "exponential":
        return rng.exponential(size=shape) - 1
    if name == "lognormal":
        return np.asarray(np.exp(rng.normal(size=shape)) - np.exp(0.5))
    if name == MEANS[3]:
        return rng.standard_t(3, size=shape)
    few = rng.random(shape) < 0.1
    return np.where(few, rng.exponential(3, shape), rng.normal(0, 0.2, shape)) - 0.3

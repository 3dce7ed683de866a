"""Pruning curves whose truth is known: how often too many layers are said to be removable."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import LEVEL, size_row
from interp.stats import tango

MARGIN = 0.10
NOISE = 0.03


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Too many steps counted as kept, or as lost, by a fixed sequence of Tango intervals."""
    for n in (100, 200, 400):
        for n_steps in (7, 31):
            for number, shape in enumerate(("a slope", "a cliff", "at the margin from the first")):
                rng = np.random.default_rng([seed, 12, n, n_steps, number])
                true = _drops(shape, n_steps)
                kept, lost = _counted(rng, true, n, 10 * sweeps)
                # steps before the first that truly loses the margin; those behind the last kept
                may_go = int(np.argmax(true >= MARGIN))
                lost_most = int(np.argmax(true[::-1] <= MARGIN))
                setting = f"{shape}, {n_steps} steps, n {n}"
                yield size_row("steps that keep a score: too many", setting,
                               list(kept > may_go), sweeps=10 * sweeps)  # fmt: skip
                yield size_row("steps that lose a score: too many", setting,
                               list(lost > lost_most), sweeps=10 * sweeps)  # fmt: skip


def _drops(shape: str, n_steps: int) -> np.ndarray:
    """True drops along a curve; one of them is the margin itself, the hardest to tell."""
    at = n_steps // 2
    if shape == "at the margin from the first":
        return np.full(n_steps, MARGIN)
    if shape == "a cliff":
        return np.where(
            np.arange(n_steps) < at, 0.0, np.where(np.arange(n_steps) > at, 0.6, MARGIN)
        )
    return MARGIN * (1 + (np.arange(n_steps) - at) / max(1, at))


def _counted(
    rng: np.random.Generator, true: np.ndarray, n: int, sweeps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps counted as kept and as lost; the same examples tend to be lost at every step."""
    uniform = rng.random((sweeps, n), dtype=np.float32)
    harmed = np.stack([(uniform < drop + NOISE).sum(axis=1) for drop in true], axis=1)
    helped = np.repeat((uniform >= 1 - NOISE).sum(axis=1)[:, None], len(true), axis=1)
    low, high = tango(
        harmed.ravel().astype(float), helped.ravel().astype(float), n, confidence=1 - 2 * LEVEL
    )
    low, high = low.reshape(harmed.shape), high.reshape(harmed.shape)
    kept = np.logical_and.accumulate(high < MARGIN, axis=1).sum(axis=1)
    lost = np.logical_and.accumulate((low > MARGIN)[:, ::-1], axis=1).sum(axis=1)
    return kept, lost

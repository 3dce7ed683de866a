"""Removal curves whose truth is known: the share that is kept, and the difference of two."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import coverage_row
from interp.stats import Ratio, RemovalCurve, Sample, share_kept, share_kept_difference

STEPS = 7
KNOWN = 0.9
"""Share of examples that the whole model does not have to guess."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of the share that a curve keeps, and of the difference of two protocols."""
    for n in (80, 200):
        for floor in (0.0, 0.25):
            for gap in (0.0, 0.2):
                rng = np.random.default_rng([seed, 17, n, int(100 * floor), int(100 * gap)])
                single, paired, apart = [], [], []
                for _ in range(sweeps):
                    truth = np.linspace(0.95, 0.1, STEPS)
                    higher = np.minimum(1.0, truth + gap)
                    lasting, knows = rng.random(n), rng.random(n)
                    one = _curve(rng, truth, lasting, knows, 0.0)
                    both = _curve(rng, higher, lasting, knows, floor)
                    other = _curve(rng, higher, rng.random(n), rng.random(n), floor)
                    own = share_kept(both)
                    difference = float((higher - truth).mean())
                    single.append(_holds(own, float(higher.mean())))
                    paired.append(_holds(share_kept_difference(one, both, paired=True), difference))
                    apart.append(
                        _holds(share_kept_difference(one, other, paired=False), difference)
                    )
                setting = f"n {n}, floor {100 * floor:.0f}%, {100 * gap:.0f} points more"
                for what, covered in (
                    ("share kept along a curve", single),
                    ("difference of shares kept, same examples", paired),
                    ("difference of shares kept, other examples", apart),
                ):
                    given = [value for value in covered if value is not None]
                    yield coverage_row(what, setting, given, sweeps=sweeps)


def _holds(ratio: Ratio, truth: float) -> bool | None:
    if np.isnan(ratio.value):
        return None
    return bool(ratio.low <= truth <= ratio.high)


def _curve(
    rng: np.random.Generator,
    lasting_share: np.ndarray,
    lasting: np.ndarray,
    knows: np.ndarray,
    floor: float,
) -> RemovalCurve:
    """Outcomes along a curve: each example is known up to a step of its own, then guessed."""
    known = knows < KNOWN
    kept = known[:, None] & (lasting[:, None] < lasting_share)
    table = np.column_stack([known, kept])
    right = (table | (rng.random(table.shape) < floor)).astype(float)
    numbers = np.arange(len(lasting))
    columns = np.column_stack([right[:, 0] - right[:, 1:].mean(axis=1), right[:, 0] - floor])
    return RemovalCurve(numbers, Sample(columns, numbers, clustered=False), points=True)

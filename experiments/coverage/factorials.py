"""Effects of how a question is asked: coverage in points and shares, size where there is none."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import LEVEL, coverage_row, size_row
from interp.stats import BASELINE, Cell, cells_of, factorial_contrasts
from interp.stats.factorial import contrast_row

DESIGN = {"readout": ("likelihood", "greedy"), "candidates": ("options", "type", "vocabulary")}
FLOORS = {"options": 0.25, "type": 0.05, "vocabulary": 0.0}
SETTINGS = {
    "6 cells, right 95-70%, drops 5-40 points, n 100": (100, 0.05, 0.07),
    "6 cells, right 95-70%, drops 5-40 points, n 300": (300, 0.05, 0.07),
    "6 cells, right 95-70%, a drop of 3 points in each, n 200": (200, 0.03, 0.0),
}


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of every contrast of six cells on the same examples."""
    cells = cells_of(DESIGN)
    floors = {cell: FLOORS[cell[1]] for cell in cells}
    for number, (setting, (n, least, step)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 13, number])
        right = dict(zip(cells, np.linspace(0.95, 0.7, len(cells)), strict=True))
        drops = dict(zip(cells, least + step * np.arange(len(cells)), strict=True))
        lost = {cell: drops[cell] / (right[cell] - floors[cell]) for cell in cells}
        drawn = [_drawn(rng, n, right, drops) for _ in range(sweeps)]
        for what, truths, scale, given in (
            ("points", drops, 100.0, None), ("shares", lost, 1.0, floors),
        ):  # fmt: skip
            for contrast in factorial_contrasts(DESIGN):
                true = scale * float(contrast.weights @ [truths[cell] for cell in cells])
                found = [
                    contrast_row(one, None, "layer:0", contrast, given, DESIGN, 0.95)
                    for one in drawn
                ]
                known = [row for row in found if row["low"] == row["low"]]
                hits = [row["low"] <= true + 1e-9 and true - 1e-9 <= row["high"] for row in known]
                name = f"factorial, {what}: {contrast.name}"
                yield coverage_row(name, setting, hits, sweeps=sweeps)
                if abs(true) < 1e-9:
                    yield size_row(name, setting, [r["p"] < LEVEL for r in found], sweeps=sweeps)


def _drawn(
    rng: np.random.Generator, n: int, right: dict[Cell, float], drops: dict[Cell, float]
) -> dict[Cell, pd.DataFrame]:
    """Outcomes in every cell; chance is partly shared between the cells."""
    shared, found = rng.random((2, n)), {}
    for cell, chance in right.items():
        luck = np.where(rng.random((2, n)) < 0.6, shared, rng.random((2, n)))
        whole = luck[0] < chance
        left = whole & (luck[1] >= drops[cell] / chance)
        found[cell] = pd.DataFrame({BASELINE: whole.astype(float), "layer:0": left.astype(float)})
    return found

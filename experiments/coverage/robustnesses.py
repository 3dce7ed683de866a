"""How much of a score is left as layers go: the area under the curve, over the whole score."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import coverage_row
from experiments.coverage.tables import long_table
from interp.comparison import robustness, robustness_differences
from interp.stats import BASELINE

LAYERS, RIGHT = 8, 0.8
STEPS = ["+".join(f"layer:{at}" for at in range(7, 7 - n, -1)) for n in range(1, 7)]
SETTINGS = ((50, 0.2), (200, 0.0))
"""Examples, and how much more of its score the second model keeps at every step."""

RESAMPLES = 500


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of `robustness` and `robustness_differences`."""
    kept = np.linspace(0.95, 0.1, len(STEPS))
    for n, gap in SETTINGS:
        rng = np.random.default_rng([seed, 50, n, int(10 * gap)])
        other = np.minimum(1.0, kept + gap)
        truth = [_height(np.append(1.0, one)) for one in (kept, other)]
        own, area, apart = [], [], []
        for sweep in range(sweeps):
            values, layers = _two(rng, n, kept, other), {"a": LAYERS, "b": LAYERS}
            table = robustness(values, layers, resamples=RESAMPLES, seed=sweep)
            first = table.set_index("model").loc["a"]
            own.append(bool(first["low"] <= truth[0] <= first["high"]))
            height = 100 * RIGHT * truth[0]
            area.append(bool(first["low_area"] <= height <= first["high_area"]))
            found = robustness_differences(values, resamples=RESAMPLES, seed=sweep).iloc[0]
            apart.append(bool(found["low"] <= truth[1] - truth[0] <= found["high"]))
        setting = f"6 of 8 layers go, {100 * gap:.0f} points more, n {n}"
        yield coverage_row("robustness", setting, own, sweeps=sweeps)
        yield coverage_row("area under a removal curve", setting, area, sweeps=sweeps)
        yield coverage_row("difference of robustness", setting, apart, sweeps=sweeps)


def _height(scores: np.ndarray) -> float:
    return float(((scores[0] + scores[-1]) / 2 + scores[1:-1].sum()) / (len(scores) - 1))


def _two(rng: np.random.Generator, n: int, kept: np.ndarray, other: np.ndarray) -> "pd.DataFrame":
    """Two models on the same examples, each of which lasts up to a step of its own."""
    lasting, tables = rng.random(n), []
    for model, shares in (("a", kept), ("b", other)):
        own = np.where(rng.random(n) < 0.5, lasting, rng.random(n))
        whole = rng.random(n) < RIGHT
        columns = {BASELINE: whole * 1.0}
        for step, share in zip(STEPS, shares, strict=True):
            columns[step] = (whole & (own < share)) * 1.0
        tables.append(long_table(columns, model=model))
    return pd.concat(tables, ignore_index=True)

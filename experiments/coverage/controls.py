"""The drop of top heads beyond that of each matched control, and beyond the mean of all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import coverage_row
from experiments.coverage.tables import long_table, outcomes
from interp.ablations import AblateHead, Ablation
from interp.attention import ALL, removal_contrasts
from interp.stats import BASELINE

RIGHT = 0.9
SETTINGS = {
    "top 30 points, controls 0-10, noise 3%, 20 controls, n 100": (100, 0.3, 0.1, 20),
    "top 30 points, controls 0-10, noise 3%, 20 controls, n 50": (50, 0.3, 0.1, 20),
    "top and controls 10 points, noise 3%, 20 controls, n 100": (100, 0.1, None, 20),
    "top 60 points, control 5, noise 3%, one control, n 100": (100, 0.6, 0.05, 1),
}
"""Examples, drop of the top heads, the largest of the controls' (None: as the top's), controls."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of `interp.attention.removal_contrasts`, each sweep a model of one table."""
    for number, (setting, (n, top, most, count)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 40, number])
        drops = np.array([top, *([top] * count if most is None else np.linspace(0, most, count))])
        plan: list[tuple[Ablation, int, str, int]] = [(AblateHead(0, 0), 1, "top", 0)]
        plan += [(AblateHead(0, 1 + at), 1, "random", at) for at in range(count)]
        single, mean = [], []
        for sweep in range(sweeps):
            whole, left = outcomes(rng, n, RIGHT, drops, 0.03, shared=0.6)
            names = [BASELINE, *(one.text for one, *_ in plan)]
            columns = dict(zip(names, np.column_stack([whole, left]).T * 1.0, strict=True))
            found = removal_contrasts(
                long_table(columns), plan, metric="acc", resamples=1000, seed=sweep
            )
            found = found.set_index("control")
            single.append(_holds(found.loc[plan[-1][0].text], 100 * (drops[0] - drops[-1])))
            mean.append(_holds(found.loc[ALL], 100 * (drops[0] - drops[1:].mean())))
        for what, hits in (("top heads minus one control", single),
                           ("top heads minus the mean of all controls", mean)):  # fmt: skip
            given = [one for one in hits if one is not None]
            yield coverage_row(what, setting, given, sweeps=sweeps)


def _holds(row: "pd.Series", truth: float) -> bool | None:
    """Whether the interval holds the truth; None where there is none."""
    if np.isnan(row["low"]):
        return None
    return bool(row["low"] - 1e-9 <= truth <= row["high"] + 1e-9)

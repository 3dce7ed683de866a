"""The drop of top heads beyond that of a matched control, and beyond the mean of all.

As `interp.attention.removal_contrasts` computes them; the columns of one table are sweeps.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import coverage_row, outcomes
from interp.stats import Sample, drop_intervals

RIGHT, NOISE = 0.9, 0.03
SETTINGS = {
    "top 30 points, controls 0-10, noise 3%, 20 controls, n 100": (100, 0.3, (0.0, 0.1), 20),
    "top 30 points, controls 0-10, noise 3%, 20 controls, n 50": (50, 0.3, (0.0, 0.1), 20),
    "top and controls 10 points, noise 3%, 20 controls, n 100": (100, 0.1, (0.1, 0.1), 20),
    "top and controls 2 points, noise 3%, 20 controls, n 100": (100, 0.02, (0.02, 0.02), 20),
    "top 60 points, control 5, noise 3%, one control, n 100": (100, 0.6, (0.05, 0.05), 1),
}
"""Examples, drop of the top heads, the least and the largest of the controls', controls."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of the difference of a top set and one control, and of the mean of all."""
    for number, (setting, (n, top, ends, count)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 40, number])
        drops = np.array([top, *np.linspace(*ends, count)])
        single, mean = np.empty((n, sweeps)), np.empty((n, sweeps))
        for sweep in range(sweeps):
            _, left = outcomes(rng, n, RIGHT, drops, NOISE, shared=0.6)
            # drop of the top set minus drop of the control: the baseline cancels
            more = left[:, 1:].astype(float) - left[:, :1]
            single[:, sweep], mean[:, sweep] = more[:, -1], more.mean(axis=1)
        for what, table, tied, truth in (
            ("top heads minus one control", single, True, drops[0] - drops[-1]),
            ("top heads minus the mean of all controls", mean, False, drops[0] - drops[1:].mean()),
        ):
            sample = Sample(table, np.arange(n), clustered=False)
            low, high, _ = drop_intervals(sample, tied, 0.95, 1000, seed)
            known = ~np.isnan(low)
            hits = (low <= truth + 1e-9) & (truth - 1e-9 <= high)
            yield coverage_row(what, setting, list(hits[known]), sweeps=sweeps)

"""What choosing the largest drop adds to it, beside what is estimated of it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import changes, error_row
from interp.stats import Sample, expected_excess

SETTINGS = {
    "8 layers, no effect, noise 5%, n 200": (200, [0.0] * 8, 0.05),
    "32 layers, no effect, noise 5%, n 200": (200, [0.0] * 32, 0.05),
    "64 heads, no effect, noise 3%, n 100": (100, [0.0] * 64, 0.03),
    "32 layers, one loses 10 points, noise 5%, n 200": (200, [0.1] + [0.0] * 31, 0.05),
    "32 layers, graded 0-10 points, noise 5%, n 200": (200, list(np.linspace(0, 0.1, 32)), 0.05),
    "8 layers, one loses 40 points, noise 3%, n 200": (200, [0.4] + [0.0] * 7, 0.03),
}


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Mean error of `expected_excess`, in points."""
    for number, (setting, (n, drops, noise)) in enumerate(SETTINGS.items()):
        rng, estimates, excess = np.random.default_rng([seed, 45, number]), [], []
        for sweep in range(sweeps):
            sample = Sample(changes(rng, n, drops, noise), np.arange(n), clustered=False)
            means = sample.table.mean(axis=0)
            largest = int(means.argmax())
            excess.append(100 * (means[largest] - drops[largest]))
            estimates.append(100 * expected_excess(sample, seed=sweep))
        truth = f"truth {np.mean(excess):.3f}"
        # sweep by sweep, so that the luck of the largest drop is not taken for an error
        apart = list(np.subtract(estimates, excess))
        row = error_row("excess of the largest drop", setting, apart, 0.0, sweeps=sweeps)
        yield row | {"note": truth}

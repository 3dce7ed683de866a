"""Perplexities of examples, as of LAMBADA's last words, and what an ablation adds to them.

As `interp.stats.perplexity_scores` and `perplexity_drops` compute them; columns are sweeps.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import coverage_row
from interp.stats import Sample, bootstrap_means, mean_intervals, percentiles

MEAN, SHAPE = 1.5, 0.7
"""Of the losses, in nats; the shape of their gamma distribution."""

SETTINGS = {
    "skewed losses of mean 1.5, 0.3 nats more, n 50": (50, 0.3),
    "skewed losses of mean 1.5, 0.3 nats more, n 200": (200, 0.3),
    "skewed losses of mean 1.5, 0.3 nats more, n 1000": (1000, 0.3),
    "skewed losses of mean 1.5, 3 nats more, n 200": (200, 3.0),
    "skewed losses of mean 1.5, nothing more, n 100": (100, 0.0),
}
"""Examples, and nats that an ablation adds on average."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of a perplexity, and of the difference that an ablation makes."""
    for number, (setting, (n, more)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 42, number])
        before, truth = np.exp(MEAN), np.exp(MEAN + more) - np.exp(MEAN)
        whole = rng.gamma(SHAPE, MEAN / SHAPE, (n, sweeps))
        # of some examples an ablation takes nothing away, of some it adds much
        added = rng.gamma(0.5, 2 * more, whole.shape) if more else 0.0
        ablated = whole + added + rng.normal(0, 0.3, whole.shape)
        sample = Sample(-np.concatenate([whole, ablated], axis=1), np.arange(n), False)
        low, high, _ = mean_intervals(sample, False, 0.95, 100, seed)
        hits = (np.exp(-high) <= before) & (before <= np.exp(-low))
        yield coverage_row("perplexity", setting, list(hits[:sweeps]), sweeps=sweeps)
        drawn = np.exp(-bootstrap_means(sample, resamples=500, seed=seed))
        low, high = percentiles(drawn[:, sweeps:] - drawn[:, :sweeps])
        apart = (low <= truth) & (truth <= high)
        yield coverage_row("difference of perplexities", setting, list(apart), sweeps=sweeps)

"""Perplexities of examples, as of LAMBADA's last words, and what an ablation adds to them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import coverage_row
from experiments.coverage.tables import long_table
from interp.stats import BASELINE, perplexity_drops, perplexity_scores, scores

NAME = {"loglikelihood": "perplexity"}
SETTINGS = {
    "skewed losses of mean 1.5, 0.3 nats more, n 50": (50, 0.7, 0.3),
    "skewed losses of mean 1.5, 0.3 nats more, n 200": (200, 0.7, 0.3),
    "skewed losses of mean 1.5, 0.3 nats more, n 1000": (1000, 0.7, 0.3),
    "skewed losses of mean 1.5, 3 nats more, n 200": (200, 0.7, 3.0),
    "skewed losses of mean 1.5, nothing more, n 100": (100, 0.7, 0.0),
}
"""Examples, shape of the losses (a gamma distribution), and nats that an ablation adds."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of `perplexity_scores` and `perplexity_drops`."""
    for number, (setting, (n, shape, more)) in enumerate(SETTINGS.items()):
        rng, hits, apart = np.random.default_rng([seed, 42, number]), [], []
        mean = 3.0 if shape > 1 else 1.5
        before, after = np.exp(mean), np.exp(mean + more)
        for sweep in range(sweeps):
            whole = rng.gamma(shape, mean / shape, n)
            # of some examples an ablation takes nothing away, of some it adds much
            added = rng.gamma(0.5, 2 * more, n) if more else np.zeros(n)
            noise = rng.normal(0, 0.3, n)
            values = long_table({BASELINE: -whole, "layer:0": -(whole + added + noise)},
                                metric="loglikelihood")  # fmt: skip
            alone = perplexity_scores(scores(values, ablations=[BASELINE]), NAME).iloc[0]
            hits.append(alone["low"] <= before <= alone["high"])
            named = pd.DataFrame({"model": "m", "task": "t", "metric": ["loglikelihood"],
                                  "ablation": "layer:0"})  # fmt: skip
            row = perplexity_drops(named, values, NAME, resamples=500, seed=sweep).iloc[0]
            apart.append(row["low"] <= after - before <= row["high"])
        yield coverage_row("perplexity", setting, hits, sweeps=sweeps)
        yield coverage_row("difference of perplexities", setting, apart, sweeps=sweeps)

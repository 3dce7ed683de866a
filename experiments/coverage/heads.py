"""Scores of heads: shares of tokens, and how far two wordings agree about 64 heads."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from experiments.coverage.drawing import coverage_row
from interp.stats import Sample, compared, mean_intervals, spearman

SCORES = (0.05, 0.3, 0.9)
AGREEMENTS = {
    "64 heads, a third of them equal, near scores, n 60": (60, -0.3),
    "64 heads, all graded, near scores, n 60": (60, 0.02),
}
"""Examples, and the least true score, of which what is below 0.01 is cut off."""

APART = 0.05
"""How far the true scores of the second wording differ from those of the first."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of retrieval and query-focused scores, and of `head_agreement`."""
    for n in (50, 200):
        for tokens in (1, 3):
            for score in SCORES:
                rng = np.random.default_rng([seed, 48, n, tokens, int(100 * score)])
                # tokens of one answer are looked up together more often than not
                chance = rng.beta(2 * score, 2 * (1 - score), size=(n, sweeps))
                table = rng.binomial(tokens, chance) / tokens
                sample = Sample(table, np.arange(n), clustered=False)
                low, high, _ = mean_intervals(sample, False, 0.95, 1000, seed)
                known = ~np.isnan(low)
                hits = (low <= score + 1e-9) & (score - 1e-9 <= high)
                yield coverage_row(
                    "score of a head", f"{score:g}, {tokens} tokens an answer, n {n}",
                    list(hits[known]), sweeps=sweeps,
                )  # fmt: skip
    for number, (setting, (n, least)) in enumerate(AGREEMENTS.items()):
        rng = np.random.default_rng([seed, 49, number])
        first = np.clip(np.linspace(least, 0.6, 64), 0.01, 1)
        second = np.clip(first + APART * rng.normal(size=64), 0.01, 1)
        truth, held = float(spearman(first.round(9), second.round(9))), list[bool]()
        for sweep in range(sweeps):
            pair = [_scores(rng, n, one) for one in (first, second)]
            found = compared(*pair, paired=False, points=False, resamples=200, seed=sweep)
            if not np.isnan(found["low"]):
                held.append(found["low"] - 1e-9 <= truth <= found["high"] + 1e-9)
        yield coverage_row("agreement of two scores of heads, disattenuated", setting, held,
                           sweeps=sweeps)  # fmt: skip


def _scores(rng: np.random.Generator, n: int, truth: np.ndarray) -> pd.DataFrame:
    """A row per example, a column per head."""
    values = rng.binomial(2, truth, size=(n, len(truth))) / 2
    return pd.DataFrame(values, index=pd.RangeIndex(n, name="doc_id"))

"""Running means with bootstrap intervals, in memory that does not grow with the examples.

The Poisson bootstrap (Chamandy et al., "Estimating uncertainty for massive data streams", 2012):
each example enters each replicate with its own weight drawn from Poisson(1), so that replicates
are sums that grow as examples come. The weights of an example depend on the seed and its number
alone: batches and order do not matter, and two models on the same examples share them, which
makes a difference of their replicates a paired one.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.stats.intervals import percentiles

RESAMPLES = 1000


def poisson_weights(
    doc_ids: Sequence[int], *, resamples: int = RESAMPLES, seed: int = 0
) -> Float[np.ndarray, "examples replicates"]:
    """The weight of each example in the sample itself (column 0: one) and in each replicate.

    Args:
        doc_ids: numbers of the examples; an example's weights depend on nothing else.
        resamples: how many replicates.
        seed: of the weights.

    Returns:
        `[examples, 1 + resamples]` whole numbers, 1 on average.
    """
    weights = np.ones((len(doc_ids), resamples + 1))
    for row, doc_id in enumerate(doc_ids):
        weights[row, 1:] = np.random.default_rng([seed, doc_id]).poisson(1.0, resamples)
    return weights


class StreamingMean:
    """Weighted sums of arrays of one shape, one array an example.

    Attributes:
        sums: `[replicates, *shape]`; replicate 0 is the sample itself.
        totals: `[replicates]` or `[replicates, *shape]`: what the sums are divided by.
        n: examples added.
    """

    def __init__(self, shape: tuple[int, ...], *, resamples: int = RESAMPLES) -> None:
        self.sums = np.zeros((resamples + 1, *shape))
        self.totals = np.zeros(resamples + 1)
        self.n = 0

    def add(
        self,
        weights: Float[np.ndarray, "examples replicates"],
        values: Float[np.ndarray, "examples ..."],
        counts: Float[np.ndarray, " examples"] | None = None,
    ) -> None:
        """Add examples.

        Args:
            weights: from `poisson_weights`.
            values: one array an example: its value, or its sum over `counts` observations.
            counts: observations an example; by default one each.
        """
        self.sums += np.tensordot(weights.T, values, axes=1)
        self.totals += weights.T @ (np.ones(len(values)) if counts is None else counts)
        self.n += len(values)

    @property
    def mean(self) -> Float[np.ndarray, "..."]:
        """Mean over the examples."""
        return np.asarray(self.sums[0] / self.totals[0])

    @property
    def replicates(self) -> Float[np.ndarray, "resamples ..."]:
        """The mean in each replicate; NaN where a replicate drew no example."""
        totals = self.totals[1:].reshape(-1, *[1] * (self.sums.ndim - 1))
        return np.divide(
            self.sums[1:], totals, out=np.full_like(self.sums[1:], np.nan), where=totals > 0
        )

    def interval(
        self, confidence: float = 0.95
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """Percentile bounds of the mean."""
        return percentiles(self.replicates, confidence)

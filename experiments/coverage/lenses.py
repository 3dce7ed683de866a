"""At which depth an answer is decided: its mean, and the difference of two models."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row
from interp.lens import Depth, Lens
from interp.lens.result import mean_decision
from interp.stats import StreamingMean, percentiles, poisson_weights

LAYERS = 12
DEPTHS = (Depth(0.0, -1, "embedding"), *(Depth(n + 1.0, n, "layer") for n in range(LAYERS)))
LENS = Lens("m", "t", "baseline", "logit lens", DEPTHS, {})
ALIKE, PARTS = 0.2, 20
SETTINGS = {
    "90 of 100 decided, late, n 50": (50, 1, 0.9, 6.0),
    "90 of 100 decided, late, n 200": (200, 1, 0.9, 6.0),
    "30 of 100 decided, n 50": (50, 1, 0.3, 2.0),
    "30 of 100 decided, n 200": (200, 1, 0.3, 2.0),
    "90 of 100 decided, late, 20 clusters of 10, alike by 0.2": (20, 10, 0.9, 6.0),
    "90 of 100 decided, late, 40 clusters of 5, alike by 0.2": (40, 5, 0.9, 6.0),
}
"""Clusters, examples of each, share that is decided, and how far it leans to the last layers."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of `Lens.decision_depth` and `decision_difference`."""
    for number, (setting, (clusters, each, share, late)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 41, number])
        units = np.repeat(np.arange(clusters), each)
        chances = [_chances(late), _chances(late - 1)]
        truths = [float(np.arange(LAYERS + 1) @ one) for one in chances]
        hits, apart = list[bool](), list[bool]()
        for part in range(PARTS):
            # one draw of weights serves some sweeps: their values are independent
            weights = poisson_weights(units.tolist(), seed=seed + part)
            luck = _luck(rng, clusters, each, max(1, sweeps // PARTS))
            pair = [_decided(rng, luck, one, share, weights, units.tolist()) for one in chances]
            drawn = [mean_decision(LENS, one.replicates) for one in pair]
            hits += _held(drawn[0], truths[0], clusters)
            apart += _held(drawn[0] - drawn[1], truths[0] - truths[1], clusters)
        for what, found in (("decision depth (lens)", hits),
                            ("difference of decision depths (lens)", apart)):  # fmt: skip
            yield coverage_row(what, setting, found, sweeps=len(found))


def _held(drawn: Float[np.ndarray, "replicates sweeps"], truth: float, n_units: int) -> list[bool]:
    """Whether the interval of each sweep holds the truth."""
    low, high = percentiles(drawn, n_units=n_units)
    return list((low <= truth) & (truth <= high))


def _chances(late: float) -> Float[np.ndarray, " depths"]:
    """How often an answer is decided at each depth, of those that are decided at all."""
    # a binomial's shape: most in the later layers, some at the embedding
    places = np.arange(LAYERS + 1)
    found = (places + 0.5) ** late * np.exp(-0.45 * places)
    return np.asarray(found / found.sum())


def _luck(
    rng: np.random.Generator, clusters: int, each: int, sweeps: int
) -> Float[np.ndarray, "n sweeps"]:
    """Uniform numbers; those of one cluster are alike."""
    if each == 1:
        return rng.random((clusters, sweeps))
    shared = np.repeat(rng.normal(size=(clusters, sweeps)), each, axis=0)
    own = np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * rng.normal(size=shared.shape)
    return np.asarray(torch.special.ndtr(torch.from_numpy(own)).numpy())


def _decided(
    rng: np.random.Generator,
    luck: Float[np.ndarray, "n sweeps"],
    chances: Float[np.ndarray, " depths"],
    share: float,
    weights: Float[np.ndarray, "n replicates"],
    units: Sequence[int],
) -> StreamingMean:
    """At which depth each example is decided; the same examples are decided late in both models."""
    places = np.minimum(np.searchsorted(chances.cumsum(), luck), LAYERS)
    never = rng.random(luck.shape) >= share
    decided = np.eye(LAYERS + 2)[np.where(never, LAYERS + 1, places)]
    tally = StreamingMean((luck.shape[1], LAYERS + 2))
    tally.add(weights, decided, units=units)
    return tally

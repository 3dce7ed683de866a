"""At which depth an answer is decided: its mean, and the difference of two models."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row
from interp.lens import QUANTITIES, WHOLE, Depth, Lens, decision_difference
from interp.lens.result import StepMeans
from interp.stats import StreamingMean, poisson_weights

LAYERS = 12
DEPTHS = (Depth(0, -1, "embedding"), *(Depth(n + 1, n, "layer") for n in range(LAYERS)))
ALIKE = 0.2
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
    """Coverage of `Lens.decision_depth` and `decision_difference`, through the lens itself."""
    for number, (setting, (clusters, each, share, late)) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 41, number])
        units = np.repeat(np.arange(clusters), each)
        # one draw of weights serves all sweeps: their values are independent
        weights = poisson_weights(units.tolist(), seed=seed)
        chances = [_chances(late), _chances(late - 1)]
        truths = [float(np.arange(LAYERS + 1) @ one) for one in chances]
        hits, apart = [], []
        for _ in range(sweeps):
            luck = _luck(rng, clusters, each)
            pair = [_lens(rng, luck, one, share, weights, units.tolist()) for one in chances]
            table = pair[0].decision_depth()
            hits.append(_holds(table[table["answer"] == "right"].iloc[0], truths[0]))
            difference = pd.Series(decision_difference(pair[0], pair[1]))
            apart.append(_holds(difference, (truths[0] - truths[1]) / LAYERS))
        for what, found in (("decision depth (lens)", hits),
                            ("difference of decision depths (lens)", apart)):  # fmt: skip
            given = [one for one in found if one is not None]
            yield coverage_row(what, setting, given, sweeps=sweeps)


def _chances(late: float) -> Float[np.ndarray, " depths"]:
    """How often an answer is decided at each depth, of those that are decided at all."""
    # a binomial's shape: most in the later layers, some at the embedding
    places = np.arange(LAYERS + 1)
    found = (places + 0.5) ** late * np.exp(-0.45 * places)
    return np.asarray(found / found.sum())


def _luck(rng: np.random.Generator, clusters: int, each: int) -> Float[np.ndarray, " n"]:
    """Uniform numbers; those of one cluster are alike."""
    own = rng.normal(size=clusters * each)
    if each > 1:
        shared = np.repeat(rng.normal(size=clusters), each)
        own = np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * own
    return np.array([NormalDist().cdf(one) for one in own])


def _lens(
    rng: np.random.Generator,
    luck: Float[np.ndarray, " n"],
    chances: Float[np.ndarray, " depths"],
    share: float,
    weights: Float[np.ndarray, "n replicates"],
    units: Sequence[int],
) -> Lens:
    """A lens that read these examples; two models decide about the same ones late."""
    places = np.minimum(np.searchsorted(chances.cumsum(), luck), LAYERS)
    never = rng.random(len(luck)) >= share
    decided = np.zeros((len(luck), 2, LAYERS + 2))
    decided[np.arange(len(luck)), :, np.where(never, LAYERS + 1, places)] = 1.0
    tally = StreamingMean((2, LAYERS + 2))
    tally.add(weights, decided, units=units)
    step = StepMeans(StreamingMean((LAYERS + 1, len(QUANTITIES))), tally)
    return Lens("m", "t", "baseline", "logit lens", DEPTHS, {WHOLE: step})


def _holds(row: "pd.Series", truth: float) -> bool | None:
    low, high = (row["low"], row["high"])
    return None if np.isnan(low) else bool(low - 1e-9 <= truth <= high + 1e-9)

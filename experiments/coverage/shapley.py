"""Shapley values whose truth is known: examples that each need some of the layers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from experiments.coverage.drawing import coverage_row
from interp.stats import fit_two_way

NEEDED = {
    "8 layers, two needed by most examples": (0.8, 0.6, *[0.1] * 6),
    "8 layers, each needed by a third": (0.33,) * 8,
}
"""Chance that an example needs each layer; what needs none is never lost."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of the interval over examples and orders, of a needed and of a minor layer."""
    for n in (50, 200):
        for orders in (10, 30):
            for number, (name, chances) in enumerate(NEEDED.items()):
                rng = np.random.default_rng([seed, 16, n, orders, number])
                truth = _shares(_needs(rng, (200_000,), chances)).mean(axis=0)
                for layer in (0, len(chances) - 1):
                    covered = [
                        _covers(rng, chances, (n, orders), layer, float(truth[layer]))
                        for _ in range(sweeps)
                    ]
                    setting = f"{name}, layer {layer}, {orders} orders, n {n}"
                    yield coverage_row("Shapley value of a layer", setting, covered, sweeps=sweeps)


def _needs(
    rng: np.random.Generator, shape: tuple[int, ...], chances: tuple[float, ...]
) -> Bool[np.ndarray, "... layer"]:
    return np.asarray(rng.random((*shape, len(chances))) < np.array(chances))


def _shares(needs: Bool[np.ndarray, "n layer"]) -> Float[np.ndarray, "n layer"]:
    """An example is lost with the first of its layers to go, each of them as likely to be it."""
    return needs / np.maximum(needs.sum(axis=1, keepdims=True), 1)


def _covers(
    rng: np.random.Generator,
    chances: tuple[float, ...],
    size: tuple[int, int],
    layer: int,
    truth: float,
) -> bool:
    n, orders = size
    needs = _needs(rng, (n,), chances)
    places = rng.permuted(np.tile(np.arange(len(chances)), (orders, 1)), axis=1)
    first = np.where(needs[:, None], places[None], len(chances)).min(axis=2)
    step = (needs[:, layer][:, None] & (places[None, :, layer] == first)).astype(float)
    fit = fit_two_way(step[None], points=True)
    return bool(fit.low[0] <= truth <= fit.high[0])

"""Two models compared part by part: swaps of layers in both directions, and weight distances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from interp.comparison.swaps import ends_line, swap_curves, swap_sweep
from interp.comparison.weights import distance_and_effect, layer_distances, weight_distances
from interp.errors import UserError, check_seed, path_given
from interp.results import Sweep, choose_metric
from interp.tasks import Task


@dataclass(frozen=True, eq=False)
class Swaps:
    """The layers of two models swapped in both directions.

    Attributes:
        runs: for each recipient, by name, its sweep.
        curves: `interp.comparison.swap_curves` of both, in one table.
        ends: for each recipient, by name, a sentence on what a swap of all its layers is.
    """

    runs: Mapping[str, Sweep]
    curves: pd.DataFrame
    ends: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Weights:
    """How far the weights of two models lie apart.

    Attributes:
        matrices: the table of `interp.comparison.weight_distances`, one row per matrix.
        layers: the table of `interp.comparison.layer_distances`, one row per layer.
        effects: the rank correlation of a layer's distance with the effect of swapping it, for each
            recipient and task; empty without swaps.
    """

    matrices: pd.DataFrame
    layers: pd.DataFrame
    effects: pd.DataFrame


def swaps_between(
    models: Mapping[str, TransformerBridge],
    tasks: Sequence[str | Task] | str | Task,
    *,
    out: str | Path,
    limit: int | None = None,
    seed: int = 0,
) -> Swaps:
    """Swap layers of two models in both directions, singly and cumulatively, whole and in parts.

    Args:
        models: two models of the same shape, by name.
        tasks: as for `interp.sweep`.
        out: the folder of the runs, `out/A-from-B` and `out/B-from-A`; the same call continues
            them.
        limit: at most this many examples per task, drawn with the seed.
        seed: seed of the draw, and of the bootstrap.

    Returns:
        The two runs, one table of their curves, and a sentence on what remains of each recipient.

    Raises:
        UserError: there are not two models, or as `interp.comparison.swap_sweep`.
    """
    (a, one), (b, other) = _pair(models)
    runs, curves, ends = {}, [], {}
    for name, model, donor, source in ((a, one, other, b), (b, other, one, a)):
        folder = path_given("out", out) / f"{name}-from-{source}"
        runs[name] = swap_sweep(model, donor, tasks, out=folder, limit=limit, seed=seed)
        curves.append(swap_curves(runs[name], recipient=name).assign(donor=source))
        ends[name] = ends_line(model, donor)
    return Swaps(runs, pd.concat(curves, ignore_index=True), ends)


def weights_between(
    models: Mapping[str, TransformerBridge], *, swaps: Swaps | None = None, seed: int = 0
) -> Weights:
    """Distances of the weights of two models, and whether they predict the effects of swaps.

    Args:
        models: two models of the same shape, by name.
        swaps: the swaps of the same two models.
        seed: seed of the bootstrap.

    Returns:
        Distances by matrix and by layer, and their rank correlation with the drops.

    Raises:
        UserError: there are not two models, or their shapes differ.
    """
    if swaps is not None and not isinstance(swaps, Swaps):
        raise UserError(f"swaps {swaps!r:.80}: allowed is what swaps_between gives")
    check_seed(seed)
    (_, one), (_, other) = _pair(models)
    matrices = weight_distances(one, other)
    layers = layer_distances(matrices)
    effects = [
        distance_and_effect(layers, choose_metric(run.gains().assign(model=name)), seed=seed)[0]
        for name, run in (swaps.runs.items() if swaps else ())
    ]
    joined = pd.concat(effects, ignore_index=True) if effects else pd.DataFrame()
    return Weights(matrices, layers, joined)


def _pair(
    models: Mapping[str, TransformerBridge],
) -> tuple[tuple[str, TransformerBridge], tuple[str, TransformerBridge]]:
    if not isinstance(models, Mapping):
        raise UserError(f"models {models!r:.80}: allowed are two names, each with a model")
    if len(models) != 2:
        raise UserError(f"models {', '.join(map(str, models)) or 'none'}: two are wanted")
    first, second = models.items()
    return first, second

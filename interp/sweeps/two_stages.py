"""A search in two stages: which layers' attention brings the twin's answer, and which heads of it.

A map of all heads costs a suffix of the model for each head and example; most layers carry nothing.
Layers are chosen on one half of the pairs, and measured again, with their heads, on the other half:
there nothing was chosen, and intervals of all that was measured hold together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Patch, each_patch, shape_of
from interp.errors import UserError, check_whole, path_given
from interp.results import Sweep
from interp.sweeps.plan import make_plan
from interp.sweeps.run import sweep
from interp.tasks import Task, halves_of_pairs


@dataclass(frozen=True, eq=False)
class PatchSearch:
    """What a search in two stages found.

    Attributes:
        layers: recovery of every layer's attention on the first half of the pairs, largest first,
            with the column `chosen`.
        heads: recovery of the chosen layers' attention and of each of their heads on the second
            half, largest first. `found`: the interval of all of these together is above 0.
        stages: the two runs.
    """

    layers: pd.DataFrame
    heads: pd.DataFrame
    stages: tuple[Sweep, Sweep]

    @property
    def found(self) -> list[str]:
        """Text forms of the heads whose recovery is above 0, largest first."""
        rows = self.heads[self.heads["found"]]
        return [text for text in rows["ablation"] if text.startswith("patch:head:")]

    def __repr__(self) -> str:
        chosen = ", ".join(self.layers.loc[self.layers["chosen"], "ablation"])
        return f"PatchSearch(layers {chosen or 'none'}; heads {', '.join(self.found) or 'none'})"


def patch_search(
    model: TransformerBridge,
    pairs: Task,
    *,
    positions: str = "last",
    most: int | None = None,
    direction: Literal["denoising", "noising"] = "denoising",
    seed: int = 0,
    out: str | Path | None = None,
) -> PatchSearch:
    """Look for the heads that carry what differs between two prompts, first by layer.

    Args:
        model: a bridge.
        pairs: from `interp.twins`.
        positions: at which class of positions attention and heads are patched.
        most: at most this many layers are chosen, by default 3, or all of a smaller model: those
            with the largest recovery whose interval over all layers together is above 0.
        direction: the direction of patching, by which layers are chosen and heads are found.
        seed: the seed of the halves.
        out: folder of the two runs, `layers` and `heads`; a temporary one by default.

    Returns:
        Tables of both stages. Where no layer is chosen the second has no rows.

    Raises:
        UserError: as `interp.tasks.halves_of_pairs`, or an option that is out of range.
    """
    most = min(3, shape_of(model).n_layers) if most is None else most
    check_whole("most", most, 1, shape_of(model).n_layers)
    if direction not in ("denoising", "noising"):
        raise UserError(f"direction {direction!r:.80}: allowed are denoising, noising")
    folder = None if out is None else path_given("out", out)
    first, second = halves_of_pairs(pairs, seed=seed)
    every = each_patch(model, "attn", positions=positions)
    # the rows of the second stage are read before the first is run
    make_plan(model, second, every, seed=seed)
    by_layer = sweep(model, first, every, seed=seed, out=folder and folder / "layers")
    layers = chosen_layers(by_layer.recovery(), most=most, direction=direction)
    chosen = [
        patch for patch in every if patch.text in set(layers.loc[layers["chosen"], "ablation"])
    ]
    numbers = [patch.layer for patch in chosen if isinstance(patch, Patch)]
    heads = [
        Patch(layer, "head", positions, head)
        for layer in numbers
        for head in range(shape_of(model).n_heads)
    ]
    if not heads:
        nothing = layers.drop(columns="chosen")[:0].assign(found=pd.Series(dtype=bool))
        return PatchSearch(layers, nothing, (by_layer, by_layer))
    by_head = sweep(model, second, [*chosen, *heads], seed=seed, out=folder and folder / "heads")
    return PatchSearch(layers, found_heads(by_head.recovery(), direction), (by_layer, by_head))


def chosen_layers(recovery: pd.DataFrame, *, most: int, direction: str) -> pd.DataFrame:
    """The first stage: layers by their recovery, and which of them are looked into.

    Args:
        recovery: the recovery of every layer (`interp.results.recovery`).
        most: at most this many are chosen.
        direction: the direction of patching.

    Returns:
        The rows of the direction, largest first, with the column `chosen`.
    """
    rows = _sorted(recovery, direction)
    above = rows["low_all"] > 0
    return rows.assign(chosen=above & (above.cumsum() <= most))


def found_heads(recovery: pd.DataFrame, direction: str) -> pd.DataFrame:
    """The second stage, on pairs on which nothing was chosen.

    Args:
        recovery: the recovery of the chosen layers and their heads, on these pairs.
        direction: the direction of patching.

    Returns:
        The rows of the direction, largest first, with the column `found`.
    """
    rows = _sorted(recovery, direction)
    return rows.assign(found=rows["low_all"] > 0)


def _sorted(recovery: pd.DataFrame, direction: str) -> pd.DataFrame:
    rows = recovery[recovery["direction"] == direction]
    return rows.sort_values("recovery", ascending=False, kind="stable", ignore_index=True)

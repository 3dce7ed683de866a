"""Swap curves: the score of a recipient as layers of a donor replace its own.

There are three curves for each part (whole layers, attentions, MLPs): one layer swapped at a time
(`single`), layers swapped from the first up (`up`), and from the last down (`down`). Both
cumulative curves begin at the recipient. They end at the donor's layers between the recipient's
embedding, final norm and unembedding. That is not the donor where these differ (`ends_line` says by
how much).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import (
    Ablation,
    Part,
    SwapLayer,
    SwapLayers,
    cumulative_swaps,
    each_swap,
    parsed_or_none,
    shape_of,
)
from interp.errors import UserError
from interp.models import model_name
from interp.results import Sweep
from interp.stats import BASELINE
from interp.sweeps import sweep
from interp.tasks import Task

PARTS: tuple[Part, ...] = ("layer", "attention", "mlp")
CURVES = ("single", "up", "down")
KEYS = ["ablation", "task", "metric"]
OF_DROP = {
    "drop": "drop",
    "low": "drop_low",
    "high": "drop_high",
    "low_all": "drop_low_all",
    "high_all": "drop_high_all",
    "p": "p",
    "p_adjusted": "p_adjusted",
    "interval": "interval_of_drop",
    "test": "test",
    "correction": "correction",
}
"""The columns of the table of importance, and their names beside the scores."""


def swap_ablations(
    model: TransformerBridge, donor: TransformerBridge, parts: Iterable[Part] = PARTS
) -> list[Ablation]:
    """Every swap that `swap_curves` needs, each once.

    Args:
        model: the model whose layers are replaced.
        donor: the model that they are taken from.
        parts: the parts that are swapped: `layer`, `attention`, `mlp`.

    Returns:
        Single swaps of every part, and those that grow from the first and from the last layer.
    """
    swaps: list[Ablation] = []
    for part in parts:
        swaps += each_swap(model, donor, part)
        swaps += cumulative_swaps(model, donor, "first", part)
        swaps += cumulative_swaps(model, donor, "last", part)
    return list(dict.fromkeys(swaps))


def swap_sweep(
    model: TransformerBridge,
    donor: TransformerBridge,
    tasks: Sequence[str | Task] | str | Task,
    *,
    parts: Iterable[Part] = PARTS,
    out: str | Path,
    limit: int | None = None,
    seed: int = 0,
    allow: Sequence[str] = (),
    token_budget: int | None = None,
) -> Sweep:
    """One sweep of a recipient under every single and cumulative swap.

    Args:
        model: the recipient.
        donor: the other model, of the same shape.
        tasks: as for `interp.sweep`.
        parts: the parts that are swapped.
        out: folder of the run; the same call continues it.
        limit: at most this many examples per task, drawn with the seed; all by default.
        seed: seed of the draw, and of the bootstrap.
        allow: as for `interp.sweep`.
        token_budget: as for `interp.sweep`.

    Returns:
        The finished run.

    Raises:
        UserError: as `interp.sweep`; or the donor has another shape.
    """
    return sweep(
        model,
        tasks,
        swap_ablations(model, donor, parts),
        out=out,
        limit=limit,
        seed=seed,
        allow=allow,
        token_budget=token_budget,
    )


def swap_curves(run: Sweep, *, recipient: str | None = None) -> pd.DataFrame:
    """The curves of a sweep of swaps, and each swap's paired drop.

    Args:
        run: the run of a recipient under swaps from one donor.
        recipient: the name of the recipient in the table; by default that of the run's model.

    Returns:
        Columns `recipient donor part curve n_swapped first last task metric value low high drop
        drop_low drop_high drop_low_all drop_high_all p p_adjusted n unit interval interval_of_drop
        test correction`. `n_swapped` is 0 for the recipient itself, in every curve. The drop is the
        recipient's score minus that of the swapped model: negative is a gain. The p-values are
        corrected over the swaps of a form (`swap`, `swap-attn`, `swaps`, ...), for each task.

    Raises:
        UserError: the run holds no swap, or swaps from several donors.
    """
    donors = {name for named in run.manifest.donors.values() for name in named}
    swaps = {text: swap_of(text) for text in run.manifest.ablations}
    placed = {text: swap for text, swap in swaps.items() if swap is not None}
    if len(donors) != 1 or not placed:
        raise UserError(
            f"run {run.folder}: swaps from one donor are needed; it has "
            f"{', '.join(sorted(donors)) or 'none'}"
        )
    last = max(end for _, _, end in placed.values())
    drops = run.importance()[[*KEYS, *OF_DROP]].rename(columns=OF_DROP)
    joined = run.scores().merge(drops, on=KEYS, how="left")
    named = {"recipient": recipient or run.manifest.model, "donor": donors.pop()}
    tables = []
    for part in dict.fromkeys(part for part, _, _ in placed.values()):
        for curve in CURVES:
            for text, first, end in _along(placed, part, curve, last):
                rows = joined[joined["ablation"] == text]
                step: dict[str, Any] = {"part": part, "curve": curve, "first": first, "last": end}
                step["n_swapped"] = 0 if first is None or end is None else end - first + 1
                tables.append(rows.assign(**named, **step))
    curves = pd.concat(tables, ignore_index=True).drop(columns="model")
    curves[["first", "last"]] = curves[["first", "last"]].astype("Int64")
    front = ["recipient", "donor", "part", "curve", "n_swapped", "first", "last", "ablation"]
    return curves[[*front, *(c for c in curves.columns if c not in front)]]


def swap_of(text: str) -> tuple[Part, int, int] | None:
    """Part, first layer and last layer in the text of a swap; None for any other text."""
    parsed = parsed_or_none(text)
    if isinstance(parsed, SwapLayer):
        return parsed.part, parsed.layer, parsed.layer
    if isinstance(parsed, SwapLayers):
        return parsed.part, parsed.first, parsed.last
    return None


def ends_line(model: TransformerBridge, donor: TransformerBridge) -> str:
    """A line that says what a swap of all layers is, and how far it is from the donor.

    Args:
        model: the model whose layers are replaced.
        donor: the model that they are taken from.

    Returns:
        The line, without a line break.
    """
    last = shape_of(model).n_layers - 1
    model_ends, donor_ends = _ends(model), _ends(donor)
    apart = ", ".join(f"{name} {_apart(model_ends[name], donor_ends[name])}" for name in model_ends)
    name, other = model_name(model), model_name(donor)
    return (
        f"swaps:0-{last} of {name} is the layers of {other} between the embedding, final norm and "
        f"unembedding of {name}, not {other} itself; relative Frobenius distance of these: {apart}"
    )


def _along(
    placed: dict[str, tuple[Part, int, int]], part: Part, curve: str, last: int
) -> list[tuple[str, int | None, int | None]]:
    """The ablations of one curve in order, the recipient first."""
    of_part = [(text, first, end) for text, (of, first, end) in placed.items() if of == part]
    chosen = {
        "single": [swap for swap in of_part if swap[1] == swap[2]],
        "up": [swap for swap in of_part if swap[1] == 0],
        "down": [swap for swap in of_part if swap[2] == last],
    }[curve]
    if curve == "down":
        chosen.sort(key=lambda swap: -swap[1])
    else:
        chosen.sort(key=lambda swap: swap[2])
    return [(BASELINE, None, None), *chosen]


def _ends(model: TransformerBridge) -> dict[str, torch.Tensor]:
    decoder = models.decoder(model)
    ends = {"embedding": decoder.root.get_input_embeddings().weight}
    norm = getattr(decoder.ln_final, "weight", None)
    if norm is not None:
        ends["final norm"] = norm
    output = decoder.root.get_output_embeddings()
    if output is not None and output.weight is not ends["embedding"]:
        ends["unembedding"] = output.weight
    return ends


def _apart(mine: torch.Tensor, its: torch.Tensor | None) -> str:
    if its is None or its.shape != mine.shape:
        return "of another shape"
    distance = (its.detach().float() - mine.detach().float()).norm() / mine.detach().float().norm()
    return f"{100 * float(distance):.3g}%"

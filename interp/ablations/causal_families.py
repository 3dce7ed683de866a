"""Families of causal tracing: every window of layers cut, every activation patched."""

from collections.abc import Sequence
from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.base import Ablation
from interp.ablations.knockout import Cut
from interp.ablations.patches import BackPatch, Patch
from interp.ablations.shapes import blocks_of_size, layers_with, shape_of
from interp.ablations.value_checks import layer_in
from interp.ablations.windowed_heads import RECENT, SINKS, StreamingHead


def each_cut(
    model: TransformerBridge, width: int, *, queries: str = "answering", keys: str = "gold"
) -> list[Ablation]:
    """Cut attention in every window of `width` consecutive layers: `cut:0-4@answering/gold`, ...

    Args:
        model: a bridge.
        width: how many layers each window has.
        queries: positions that cannot attend (see `Cut`).
        keys: what they cannot see.

    Returns:
        `n_layers - width + 1` ablations, in the order of the first layer.

    Raises:
        UserError: the width is below 1 or above the number of layers, or no class is named so.
    """
    starts = range(blocks_of_size(model, width))
    return [Cut(first, first + width - 1, queries, keys) for first in starts]


def each_patch(
    model: TransformerBridge,
    site: Literal["resid", "attn", "mlp", "head"],
    *,
    positions: str = "last",
) -> list[Ablation]:
    """Take one activation after the other from the twin: `patch:resid:0@last`, ...

    Args:
        model: a bridge.
        site: the activation that is patched (see `Patch`).
        positions: at which positions.

    Returns:
        One ablation per layer, or one per head, layer by layer.

    Raises:
        UserError: no such site or class of positions.
    """
    shape = shape_of(model)
    if site != "head":
        part: dict[str, Literal["layer", "attention", "mlp"]] = {"attn": "attention", "mlp": "mlp"}
        layers = layers_with(model, part.get(site, "layer"))
        return [Patch(layer, site, positions) for layer in layers]
    return [
        Patch(layer, site, positions, head)
        for layer in layers_with(model, "heads")
        for head in range(shape.n_heads)
    ]


def each_window(
    model: TransformerBridge,
    *,
    sinks: int = SINKS,
    recent: int = RECENT,
    layers: Sequence[int] | None = None,
) -> list[Ablation]:
    """Leave each query head in turn only the first and the recent tokens: `head:0.0@window`, ...

    Args:
        model: the model whose heads are ablated.
        sinks: tokens from the start of the row that a head sees (see `StreamingHead`).
        recent: tokens that it sees up to each position.
        layers: whose heads; those of all layers by default.

    Returns:
        One ablation per query head: all heads of the first layer, then those of the next.

    Raises:
        UserError: a layer is out of range, or no recent token is left.
    """
    shape = shape_of(model)
    chosen = layers_with(model, "heads") if layers is None else layers
    return [
        StreamingHead(layer_in(layer, shape), head, sinks, recent)
        for layer in chosen
        for head in range(shape.n_heads)
    ]


def each_back_patch(model: TransformerBridge, *, positions: str = "last") -> list[Ablation]:
    """Put every later layer's stream into every earlier layer: `backpatch:1-0@last`, ...

    Args:
        model: a bridge.
        positions: at which positions.

    Returns:
        `n_layers * (n_layers - 1) / 2` ablations, by the earlier layer.

    Raises:
        UserError: no such class of positions.
    """
    n_layers = shape_of(model).n_layers
    return [
        BackPatch(source, target, positions)
        for target in range(n_layers)
        for source in range(target + 1, n_layers)
    ]

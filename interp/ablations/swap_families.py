"""Families of swaps: one layer at a time, blocks of layers, and more and more layers."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.base import Ablation
from interp.ablations.edits import Part
from interp.ablations.shapes import blocks_of_size, shape_of
from interp.ablations.values import SwapLayer, SwapLayers
from interp.errors import UserError


def each_swap(
    model: TransformerBridge, donor: TransformerBridge, part: Part = "layer"
) -> list[Ablation]:
    """Run each layer in turn with the weights of the donor: `swap:0`, `swap:1`, ...

    Args:
        model: the recipient.
        donor: the other model, of the same shape.
        part: `"layer"`, or only its `"attention"` (`swap-attn:0`, ...) or its `"mlp"`
            (`swap-mlp:0`, ...), each with its norms.

    Returns:
        One ablation per layer, in the order of the layers.
    """
    return [SwapLayer(layer, donor, part) for layer in range(shape_of(model).n_layers)]


def swapped_blocks(
    model: TransformerBridge, donor: TransformerBridge, size: int, part: Part = "layer"
) -> list[Ablation]:
    """Swap every block of `size` consecutive layers: `swaps:0-2`, `swaps:1-3`, ...

    Returns:
        `n_layers - size + 1` ablations, in the order of their first layer.

    Raises:
        UserError: the size is below 1 or above the number of layers.
    """
    starts = range(blocks_of_size(model, size))
    return [SwapLayers(first, first + size - 1, donor, part) for first in starts]


def cumulative_swaps(
    model: TransformerBridge,
    donor: TransformerBridge,
    start: Literal["first", "last"] = "first",
    part: Part = "layer",
) -> list[Ablation]:
    """Swap one layer, then two, then three ... until all are the donor's.

    Args:
        model: the recipient.
        donor: the other model, of the same shape.
        start: `"first"`: from the first layer up (`swap:0`, `swaps:0-1`, ...); `"last"`: from the
            last layer down (`swap:7`, `swaps:6-7`, ...). Both end with all layers: the donor's
            layers between the recipient's embedding, final norm and unembedding.
        part: as for `each_swap`.

    Returns:
        One ablation for each number of swapped layers, from one to all.

    Raises:
        UserError: another start.
    """
    last = shape_of(model).n_layers - 1
    if start not in ("first", "last"):
        raise UserError(f"start {start!r}: allowed are 'first' and 'last'")
    if start == "first":
        blocks = [(0, n) for n in range(1, last + 1)]
    else:
        blocks = [(n, last) for n in range(last - 1, -1, -1)]
    one = SwapLayer(0 if start == "first" else last, donor, part)
    return [one, *(SwapLayers(first, end, donor, part) for first, end in blocks)]


SWAP_FAMILIES: dict[str, Callable[[TransformerBridge, TransformerBridge], list[Ablation]]] = {
    "swaps": each_swap,
    "swaps-attn": partial(each_swap, part="attention"),
    "swaps-mlp": partial(each_swap, part="mlp"),
    "swaps-up": cumulative_swaps,
    "swaps-down": partial(cumulative_swaps, start="last"),
}
"""Families that need a donor; `swaps-up` and `swaps-down` are the cumulative ones."""

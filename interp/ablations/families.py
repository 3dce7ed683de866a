"""Families of ablations: every layer, every head, sliding blocks, cumulative, swaps."""

from collections.abc import Callable, Sequence

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.values import (
    AblateHead,
    AblateKVGroup,
    Ablation,
    Combination,
    Replacement,
    Shape,
    SkipAttention,
    SkipLayer,
    SkipLayers,
    SkipMLP,
    SwapLayer,
)
from interp.errors import UserError
from interp.models import decoder


def shape_of(model: TransformerBridge) -> Shape:
    """The numbers of layers, query heads and key/value heads of a model."""
    parts = decoder(model)
    return Shape(parts.n_layers, parts.n_heads, parts.n_kv_heads)


def each_layer(model: TransformerBridge) -> list[Ablation]:
    """Skip each layer in turn: `layer:0`, `layer:1`, ..."""
    return [SkipLayer(layer) for layer in range(shape_of(model).n_layers)]


def each_attention(model: TransformerBridge) -> list[Ablation]:
    """Skip each attention in turn: `attn:0`, `attn:1`, ..."""
    return [SkipAttention(layer) for layer in range(shape_of(model).n_layers)]


def each_mlp(model: TransformerBridge) -> list[Ablation]:
    """Skip each MLP in turn: `mlp:0`, `mlp:1`, ..."""
    return [SkipMLP(layer) for layer in range(shape_of(model).n_layers)]


def each_head(model: TransformerBridge, *, by: Replacement = "zero") -> list[Ablation]:
    """Ablate each query head in turn, layer by layer: `head:0.0`, `head:0.1`, ..."""
    shape = shape_of(model)
    return [
        AblateHead(layer, head, by)
        for layer in range(shape.n_layers)
        for head in range(shape.n_heads)
    ]


def each_kv_group(model: TransformerBridge) -> list[Ablation]:
    """Ablate each group of query heads that share a key/value head."""
    shape = shape_of(model)
    return [
        AblateKVGroup(layer, group)
        for layer in range(shape.n_layers)
        for group in range(shape.n_kv_heads)
    ]


def sliding_blocks(model: TransformerBridge, size: int) -> list[Ablation]:
    """Skip every block of `size` consecutive layers.

    Raises:
        UserError: the size is below 1 or above the number of layers.
    """
    n_layers = shape_of(model).n_layers
    if not 1 <= size <= n_layers:
        raise UserError(f"block size {size}: allowed are 1-{n_layers}")
    return [SkipLayers(first, first + size - 1) for first in range(n_layers - size + 1)]


def cumulative(model: TransformerBridge, order: Sequence[int] | None = None) -> list[Ablation]:
    """Skip one layer, then two, then three ...

    Args:
        model: the model whose layers are skipped.
        order: the layers in the order in which they go; by default from the deepest up.

    Raises:
        UserError: a layer is out of range or named twice.
    """
    shape = shape_of(model)
    layers = list(order) if order is not None else list(reversed(range(shape.n_layers)))
    if len(set(layers)) < len(layers):
        raise UserError(f"order {layers}: a layer is named twice")
    for layer in layers:
        SkipLayer(layer).edits(shape)
    parts = [SkipLayer(layer) for layer in layers]
    return [parts[0], *(Combination(tuple(parts[:n])) for n in range(2, len(parts) + 1))]


def each_swap(model: TransformerBridge, donor: TransformerBridge) -> list[Ablation]:
    """Run each layer in turn with the weights of the donor: `swap:0`, `swap:1`, ..."""
    return [SwapLayer(layer, donor) for layer in range(shape_of(model).n_layers)]


FAMILIES: dict[str, Callable[[TransformerBridge], list[Ablation]]] = {
    "layers": each_layer,
    "attentions": each_attention,
    "mlps": each_mlp,
    "heads": each_head,
    "kvgroups": each_kv_group,
    "cumulative": cumulative,
}

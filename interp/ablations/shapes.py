"""How many layers and heads a model has, and how many blocks of layers of one size."""

from typing import Literal

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.edits import Shape
from interp.errors import UserError


def shape_of(model: TransformerBridge) -> Shape:
    """The numbers of layers, query heads and key/value heads of a model.

    Args:
        model: a bridge.

    Returns:
        The three counts, as one value.
    """
    decoder = models.decoder(model)
    return Shape(decoder.n_layers, decoder.n_heads, decoder.n_kv_heads)


def layers_with(
    model: TransformerBridge, part: Literal["layer", "attention", "mlp", "heads"]
) -> tuple[int, ...]:
    """The layers that have a part: in hybrid models not all have heads, or an MLP.

    Args:
        model: a bridge.
        part: `layer`, `attention` (whatever mixes tokens), `mlp` or `heads`.

    Returns:
        Numbers of layers, ascending.

    Raises:
        UserError: no layer has it.
    """
    decoder = models.decoder(model)
    layers = tuple(range(decoder.n_layers)) if part == "layer" else decoder.layers_with(part)
    if not layers:
        names = {
            "attention": "a part that mixes tokens",
            "mlp": "an MLP",
            "heads": "attention heads",
        }
        raise UserError(
            f"model {models.model_name(model)}: no layer has {names[part]} that can be told apart; "
            "allowed are whole layers (layers, layer:7)"
        )
    return layers


def blocks_of_size(model: TransformerBridge, size: int) -> int:
    """How many blocks of `size` consecutive layers a model has.

    Returns:
        `n_layers - size + 1`, for the blocks may overlap.

    Raises:
        UserError: the size is below 1 or above the number of layers.
    """
    n_layers = shape_of(model).n_layers
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= n_layers:
        raise UserError(f"block size {size}: allowed are 1-{n_layers}")
    return n_layers - size + 1

"""How many layers and heads a model has, and how many blocks of layers of one size."""

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

"""Heads take their z on another example: `head:7.3@resample` on the bridge and on native blocks."""

from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations
from interp.ablations.edits import LayerEdit
from interp.ablations.native_hooks import heads_resampled
from interp.ablations.replaced_parts import Pairs
from interp.errors import UserError


def resample_heads_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Pairs:
    """The reference texts' z, aligned at the last position."""
    if not given.sources:
        raise UserError(
            f"head:{layer}.{min(edit.resample_heads)}@resample: another example is needed; give "
            "reference=[TEXTS]"
        )
    decoder, heads = models.decoder(model), sorted(edit.resample_heads)
    n_heads = decoder.n_heads

    def replaced(z: Tensor, hook: Any) -> Tensor:
        shape = z.shape
        z = z.clone().view(*shape[:2], n_heads, -1)
        for row in range(shape[0]):
            source_z = given.at_ends((layer, "z"), row, shape[1])
            z[row][:, heads] = source_z.view(shape[1], n_heads, -1)[:, heads]
        return z.view(shape)

    return [(decoder.hook_of_z(layer), replaced)]


def resample_heads_on_blocks(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> AbstractContextManager[Any]:
    """Inside the context, the heads of an edit have their z on the other example that is given."""
    if given.resample is None:
        head = min(edit.resample_heads)
        raise UserError(f"head:{layer}.{head}@resample: no other example's z was given")
    return heads_resampled(models.decoder(model), layer, edit, given.resample[layer, "z"])

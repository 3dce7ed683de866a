"""Parts that add nothing: blocks, whatever mixes tokens, and MLPs; on the bridge and natively."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations, Rows
from interp.ablations.edits import LayerEdit
from interp.ablations.native_hooks import (
    Where,
    block_skipped_in,
    forward_replaced,
    hooked_after,
    identity_block,
    output_replaced,
)
from interp.models import Decoder

HookPairs = Sequence[tuple[str, Callable[..., Tensor | None]]]


def skip_on_bridge(
    _model: TransformerBridge, layer: int, _edit: LayerEdit, _given: Activations
) -> HookPairs:
    """Hooks under which a block hands on what enters it."""
    entered: list[Tensor] = []

    def keep(resid_pre: Tensor, hook: Any) -> None:
        entered[:] = [resid_pre]

    def pass_unchanged(_resid_post: Tensor, hook: Any) -> Tensor:
        return entered.pop()

    block = f"blocks.{layer}"
    return [(f"{block}.hook_in", keep), (f"{block}.hook_out", pass_unchanged)]


def skip_on_rows(
    decoder: Decoder, layer: int, rows: Rows, _given: Activations
) -> AbstractContextManager[Any]:
    """A context inside which a block hands on what enters it, in some rows of a batch."""
    if rows.all:
        return forward_replaced(decoder.blocks[layer], identity_block(decoder, layer))
    skipped = block_skipped_in(rows.mask, streams_first=decoder.streams_first)
    return hooked_after(decoder.blocks[layer], skipped)


def _zero(value: Tensor, hook: Any) -> Tensor:
    return torch.zeros_like(value)


def attention_on_bridge(
    model: TransformerBridge, layer: int, _edit: LayerEdit, _given: Activations
) -> HookPairs:
    """Hooks under which whatever mixes the tokens of a layer adds nothing."""
    decoder = models.decoder(model)
    # where the sublayer itself adds the residual, only its projection is its own
    inside = "o." if decoder.attention_adds_residual else ""
    names = decoder.parts[layer].mixers
    return [(f"blocks.{layer}.{name}.{inside}hook_out", _zero) for name in names]


def mlp_on_bridge(
    model: TransformerBridge, layer: int, _edit: LayerEdit, _given: Activations
) -> HookPairs:
    """Hooks under which the MLP of a layer adds nothing."""
    decoder = models.decoder(model)
    inside = "out." if decoder.mlp_adds_residual else ""
    names = decoder.parts[layer].mlps
    return [(f"blocks.{layer}.{name}.{inside}hook_out", _zero) for name in names]


def attention_off(decoder: Decoder, layer: int, mask: Where | None) -> AbstractContextManager[Any]:
    """What mixes the tokens of a layer adds nothing inside the context, somewhere or at all."""
    nothing = output_replaced(torch.zeros_like, decoder.attention_adds_residual, mask)
    return _hooked_after_each((decoder.attentions[layer], *decoder.further_mixers[layer]), nothing)


def _hooked_after_each(
    modules: Sequence[nn.Module], hook: Callable[..., Any]
) -> AbstractContextManager[Any]:
    stack = ExitStack()
    for module in modules:
        stack.enter_context(hooked_after(module, hook))
    return stack


def mlp_off(decoder: Decoder, layer: int, mask: Where | None) -> AbstractContextManager[Any]:
    """The MLP of a layer adds nothing inside the context, somewhere or at all."""
    nothing = output_replaced(torch.zeros_like, decoder.mlp_adds_residual, mask)
    return _hooked_after_each((decoder.mlps[layer], *decoder.further_mlps[layer]), nothing)

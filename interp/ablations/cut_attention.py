"""Attention knockout on native blocks: a layer's attention is given a mask with the cuts in it."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations
from interp.ablations.edits import LayerEdit
from interp.ablations.example import Example
from interp.ablations.native_hooks import called_positions
from interp.ablations.replaced_parts import Pairs
from interp.errors import UserError

MASK = "attention_mask"


def cut_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Pairs:
    """A hook under which the patterns of a layer lose what is cut, and sum to 1 again."""
    example = _example(layer, given)

    def renormalised(pattern: Tensor, hook: Any) -> Tensor:
        queries, keys = pattern.shape[-2:]
        cut = _cut(example, edit, range(keys - queries, keys), range(keys)).to(pattern.device)
        kept = pattern.masked_fill(cut, 0)
        return kept / kept.sum(dim=-1, keepdim=True)

    return [(f"blocks.{layer}.attn.hook_pattern", renormalised)]


def _example(layer: int, given: Activations) -> Example:
    if given.example is None:
        raise UserError(
            f"layer {layer}: a cut needs to know which positions are which, and a prompt alone "
            "does not say it; use a sweep"
        )
    return given.example


@contextmanager
def cut_on_blocks(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Iterator[None]:
    """Inside the context, the attention of a layer is given a mask with the cuts in it."""
    example, decoder = _example(layer, given), models.decoder(model)
    attention = decoder.attentions[layer]
    names = list(inspect.signature(attention.forward).parameters)
    if MASK not in names:
        raise UserError(f"layer {layer}: what mixes its tokens takes no mask, so nothing is cut")

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        at = names.index(MASK)
        mask = args[at] if at < len(args) else kwargs.get(MASK)
        hidden = models.hidden_states_of(args, kwargs)
        end, keys = call.start + call.positions, call.keys
        if mask is not None:
            if mask.ndim != 4:
                raise UserError(f"layer {layer}: its mask has no queries and keys; use eager")
            keys = mask.shape[-1]
        cut = _cut(example, edit, range(call.start, end), range(end - keys, end))
        mask = _masked(mask, cut, hidden, range(call.start, end), range(end - keys, end))
        if at < len(args):
            return (*args[:at], mask, *args[at + 1 :]), kwargs
        return args, {**kwargs, MASK: mask}

    with called_positions(decoder, layer) as call:
        handle = attention.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def _cut(
    example: Example, edit: LayerEdit, queries: range, keys: range
) -> Bool[Tensor, "query key"]:
    """`[query, key]`, True where a query cannot see a key that it would see."""
    cut = torch.zeros(len(queries), len(keys), dtype=torch.bool)
    for asking, seen in sorted(edit.cuts):
        rows = example.inside(asking, queries.start, queries.stop)
        cut |= rows[:, None] & example.inside(seen, keys.start, keys.stop)
    itself = torch.arange(queries.start, queries.stop)[:, None] == torch.arange(
        keys.start, keys.stop
    )
    return cut & ~itself


def _masked(
    mask: Tensor | None, cut: Tensor, hidden: Tensor, queries: range, keys: range
) -> Tensor:
    """The mask with the cuts in it; where there is none, that of causal attention."""
    cut = cut.to(hidden.device)
    if mask is None:
        later = torch.arange(queries.start, queries.stop)[:, None] < torch.arange(
            keys.start, keys.stop
        )
        nothing = torch.zeros(1, 1, *cut.shape, dtype=hidden.dtype, device=hidden.device)
        cut, mask = cut | later.to(hidden.device), nothing
    if mask.dtype == torch.bool:
        return mask & ~cut
    return mask.masked_fill(cut, torch.finfo(mask.dtype).min)

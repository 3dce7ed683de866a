"""Positions that cannot see others: a layer's attention is given a mask with that in it.

A cut (`cut:7@last/gold`) is one of positions, the same in every head; a window
(`head:7.3@window`) is one head's, the same at every position.
"""

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
    example = _example(layer, edit, given)

    def renormalised(pattern: Tensor, hook: Any) -> Tensor:
        queries, keys = pattern.shape[-2:]
        if edit.windows and pattern.shape[0] > 1:
            raise UserError(
                f"layer {layer}: a window counts positions from the start of a row, and rows of a "
                "batch may be padded; run one prompt at a time, or use a sweep"
            )
        hidden = _hidden(example, edit, range(keys - queries, keys), range(keys), pattern.shape[1])
        kept = pattern.masked_fill(hidden.to(pattern.device), 0)
        return kept / kept.sum(dim=-1, keepdim=True)

    return [(f"blocks.{layer}.attn.hook_pattern", renormalised)]


def _example(layer: int, edit: LayerEdit, given: Activations) -> Example | None:
    if given.example is None and edit.cuts:
        raise UserError(
            f"layer {layer}: a cut needs classes of positions, which a prompt alone lacks; "
            "use a sweep"
        )
    return given.example


@contextmanager
def cut_on_blocks(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Iterator[None]:
    """Inside the context, the attention of a layer is given a mask with the cuts in it."""
    example, decoder = _example(layer, edit, given), models.decoder(model)
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
        queries, seen = range(call.start, end), range(end - keys, end)
        cut = _hidden(example, edit, queries, seen, decoder.n_heads)
        mask = _masked(mask, cut, hidden, queries, seen)
        if at < len(args):
            return (*args[:at], mask, *args[at + 1 :]), kwargs
        return args, {**kwargs, MASK: mask}

    with called_positions(decoder, layer) as call:
        handle = attention.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def _hidden(
    example: Example | None, edit: LayerEdit, queries: range, keys: range, n_heads: int
) -> Bool[Tensor, "head query key"]:
    """`[head, query, key]`, True where a query cannot see a key; one head stands for all."""
    cut = torch.zeros(1, len(queries), len(keys), dtype=torch.bool)
    if edit.cuts:
        assert example is not None
        cut = _cut(example, edit, queries, keys)[None]
    if not edit.windows:
        return cut
    cut = cut.repeat(n_heads, 1, 1)
    at = torch.arange(queries.start, queries.stop)[:, None]
    seen = torch.arange(keys.start, keys.stop)[None]
    for head, sinks, recent in sorted(edit.windows):
        cut[head] |= (seen >= sinks) & (seen <= at - recent)
    return cut


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
        nothing = torch.zeros(1, *cut.shape, dtype=hidden.dtype, device=hidden.device)
        cut, mask = cut | later.to(hidden.device), nothing
    if mask.dtype == torch.bool:
        return mask & ~cut
    if mask.shape[1] == 1:
        mask = mask.expand(-1, len(cut), -1, -1)
    return mask.masked_fill(cut, torch.finfo(mask.dtype).min)

"""Tokens that many examples start with, run once and kept as keys and values.

The few-shot prompt that hundreds of examples share costs one pass of one row for each ablation;
the examples attend to its keys and values as they would have to their own. Every ablation has its
own cache from its first layer on and shares the baseline's below.
"""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from jaxtyping import Int
from torch import Tensor

from interp.models import Decoder
from interp.narrowing import narrows, only_at
from interp.replay import Pass, call_arguments, record, replay


@dataclass(frozen=True, eq=False)
class Prefix:
    """The baseline pass over shared tokens.

    Attributes:
        tokens: the shared tokens, BOS included.
        baseline: the pass over one row, `[1, pos, d_model]` entering each block.
        cache: its keys and values, every layer whole (windows are the masks' business).
    """

    tokens: tuple[int, ...]
    baseline: Pass
    cache: transformers.DynamicCache

    def __len__(self) -> int:
        return len(self.tokens)


def record_prefix(parts: Decoder, tokens: Sequence[int]) -> Prefix:
    """Run the baseline over shared tokens.

    Args:
        parts: the modules of the model.
        tokens: at least one.
    """
    cache = transformers.DynamicCache()
    ids = torch.tensor([list(tokens)], device=parts.device)
    baseline = record(parts, ids, past_key_values=cache, use_cache=True)
    return Prefix(tuple(tokens), baseline, cache)


def prefix_cache(parts: Decoder, prefix: Prefix, first: int) -> transformers.DynamicCache:
    """The keys and values of the prefix under an ablation; call it inside `edited(...)`.

    Args:
        parts: the modules of the model.
        prefix: the baseline pass over it.
        first: the first layer that is edited; layers below share the baseline's tensors.

    Returns:
        A cache of one row. Growing it makes new tensors, so the shared ones are never written to.
    """
    own = transformers.DynamicCache()
    own.layers = [copy.copy(layer) for layer in prefix.cache.layers[:first]]
    with ExitStack() as stack:
        if narrows(parts):
            # nothing is read behind the last block: its keys and values are all that is wanted
            nowhere = torch.zeros(1, dtype=torch.long, device=parts.device)
            stack.enter_context(only_at(parts, parts.n_layers - 1, nowhere, nowhere))
        replay(parts, prefix.baseline, first, cache=own)
    return own


def expand(cache: transformers.DynamicCache, rows: int) -> transformers.DynamicCache:
    """A cache of `rows` equal rows over the same storage; growing it leaves the given one alone."""
    grown = transformers.DynamicCache()
    grown.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in grown.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return grown


def calls_behind(
    parts: Decoder,
    input_ids: Int[Tensor, "batch pos"],
    prefix: Prefix | None,
    **model_arguments: Any,
) -> Pass:
    """What the model would call its blocks with on rows behind a prefix (None: whole rows)."""
    if prefix is None:
        return call_arguments(parts, input_ids, use_cache=False, **model_arguments)
    cache = expand(prefix.cache, len(input_ids))
    return call_arguments(
        parts, input_ids, past_key_values=cache, use_cache=True, **model_arguments
    )


def borrow(cache: transformers.DynamicCache, rows: int) -> transformers.DynamicCache:
    """A cache of `rows` equal rows that hands out keys and values and keeps nothing new."""
    lent = transformers.DynamicCache()
    lent.layers = [_Borrowed(layer.keys, layer.values, rows) for layer in cache.layers]
    return lent


class _Borrowed(transformers.cache_utils.DynamicLayer):
    """Keys and values of a prefix, seen by every row; what rows add is not remembered."""

    def __init__(self, keys: Tensor, values: Tensor, rows: int) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self.rows = rows

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values `[rows, head, prefix + pos, d_head]`."""
        keys = self.keys.expand(self.rows, -1, -1, -1)
        values = self.values.expand(self.rows, -1, -1, -1)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)

"""Tokens that many examples start with, run once and kept as keys and values.

The few-shot prompt that hundreds of examples share costs one pass of one row for each ablation;
the examples attend to its keys and values as they would have to their own. Every ablation has its
own cache from its first layer on and shares the baseline's below.
"""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.last_block import compute_at_positions
from interp.engine.replay import Pass, call_arguments, record, replay, run_block
from interp.models import Decoder


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


def record_prefix(decoder: Decoder, tokens: Sequence[int]) -> Prefix:
    """Run the baseline over shared tokens.

    Args:
        decoder: the modules of the model.
        tokens: at least one.

    Returns:
        The residual streams, and the keys and values, at each of the tokens.
    """
    cache = transformers.DynamicCache()
    ids = torch.tensor([list(tokens)], device=decoder.device)
    baseline = record(decoder, ids, past_key_values=cache, use_cache=True)
    return Prefix(tuple(tokens), baseline, cache)


def prefix_cache(
    decoder: Decoder, prefix: Prefix, first: int, *, last_block: bool = False
) -> transformers.DynamicCache:
    """The keys and values of the prefix under an ablation; call it inside `edited(...)`.

    Args:
        decoder: the modules of the model.
        prefix: the baseline pass over it.
        first: the first layer that is edited; layers below share the baseline's tensors.
        last_block: leave out what is never read of the last block; the model must allow it.

    Returns:
        A cache of one row. Growing it makes new tensors, so the shared ones are never written to.
    """
    cache = _below(prefix, first)
    with _unread(decoder, decoder.n_layers - 1, last_block):
        replay(decoder, prefix.baseline, first, cache=cache)
    return cache


def prefix_under(
    decoder: Decoder, prefix: Prefix, first: int, *, last_block: bool = False
) -> Prefix:
    """The prefix under an ablation, to go on from; call it inside `edited(...)`.

    Args:
        decoder: the modules of the model.
        prefix: the pass over it without the ablation.
        first: the first layer that is edited.
        last_block: leave out what is never read of the last block; the model must allow it.

    Returns:
        Streams, keys and values under the ablation. What leaves the last block means nothing where
        `last_block` leaves it out.
    """
    cache, residuals = _below(prefix, first), list(prefix.baseline.residuals[: first + 1])
    for layer in range(first, decoder.n_layers):
        with _unread(decoder, layer, last_block):
            residuals.append(run_block(decoder, layer, residuals[-1], prefix.baseline, cache=cache))
    return Prefix(prefix.tokens, Pass(residuals, prefix.baseline.calls), cache)


def begin_cache(
    decoder: Decoder, prefix: Prefix, layer: int, *, last_block: bool = False
) -> tuple[transformers.DynamicCache, Float[Tensor, "1 pos d_model"]]:
    """As `prefix_cache`, up to and with one layer, and the residual stream that leaves it."""
    cache = _below(prefix, layer)
    with _unread(decoder, layer, last_block):
        resid = prefix.baseline.residuals[layer]
        return cache, run_block(decoder, layer, resid, prefix.baseline, cache=cache)


def finish_caches(
    decoder: Decoder,
    prefix: Prefix,
    begun: Sequence[transformers.DynamicCache],
    resid: Float[Tensor, "cache pos d_model"],
    *,
    last_block: bool = False,
) -> None:
    """Run the prefixes of several ablations through the layers that none of them edits, together.

    Args:
        decoder: the modules of the model.
        prefix: the baseline pass over it.
        begun: one cache per ablation, each with the same layers; the missing ones are added.
        resid: what enters the first missing layer, one row per ablation.
        last_block: leave out what is never read of the last block; the model must allow it.
    """
    first, calls = len(begun[0].layers), prefix.baseline
    if first < decoder.n_layers and len(begun) > 1:
        ids = torch.tensor([prefix.tokens] * len(begun), device=decoder.device)
        calls = calls_from_the_start(decoder, ids)
    grown = _below(prefix, first)
    for layer in range(first, decoder.n_layers):
        with _unread(decoder, layer, last_block):
            resid = run_block(decoder, layer, resid, calls, cache=grown)
    for row, cache in enumerate(begun):
        cache.layers += [_row(layer, row) for layer in grown.layers[first:]]


def _below(prefix: Prefix, layer: int) -> transformers.DynamicCache:
    """A cache that shares the baseline's keys and values below a layer and has none from it on."""
    cache = transformers.DynamicCache()
    cache.layers = [copy.copy(cache_layer) for cache_layer in prefix.cache.layers[:layer]]
    return cache


def _row(layer: Any, row: int) -> Any:
    cache_layer = copy.copy(layer)
    cache_layer.keys, cache_layer.values = layer.keys[row : row + 1], layer.values[row : row + 1]
    return cache_layer


def _unread(decoder: Decoder, layer: int, last_block: bool) -> AbstractContextManager[None]:
    """Inside the context, the last block computes only its keys and values: nothing reads more."""
    if layer < decoder.n_layers - 1 or not last_block:
        return nullcontext()
    nowhere = torch.zeros(1, dtype=torch.long, device=decoder.device)
    return compute_at_positions(decoder, layer, nowhere, nowhere)


def expand(cache: transformers.DynamicCache, rows: int) -> transformers.DynamicCache:
    """A cache of `rows` equal rows over the same storage; growing it leaves the given one alone."""
    grown = transformers.DynamicCache()
    grown.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in grown.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return grown


def calls_after(
    decoder: Decoder,
    input_ids: Int[Tensor, "batch pos"],
    prefix: Prefix | None,
    **model_arguments: Any,
) -> Pass:
    """What the model would call its blocks with on rows after a prefix (None: whole rows)."""
    if prefix is None:
        return call_arguments(decoder, input_ids, use_cache=False, **model_arguments)
    cache = expand(prefix.cache, len(input_ids))
    return call_arguments(
        decoder, input_ids, past_key_values=cache, use_cache=True, **model_arguments
    )


def calls_from_the_start(decoder: Decoder, input_ids: Int[Tensor, "batch pos"]) -> Pass:
    """What the model would call its blocks with on rows whose keys and values it keeps."""
    cache = transformers.DynamicCache()
    return call_arguments(decoder, input_ids, past_key_values=cache, use_cache=True)


def read_only_cache(caches: Sequence[transformers.DynamicCache]) -> transformers.DynamicCache:
    """A cache that hands out keys and values and keeps nothing new.

    Args:
        caches: caches of one row each. A batch's rows are cut into as many equal parts; the rows of
            the first part follow the first cache, and so on.

    Returns:
        A cache for a batch. It shares the storage of the given ones.
    """
    joined = transformers.DynamicCache()
    layers = zip(*(cache.layers for cache in caches), strict=True)
    joined.layers = [_ReadOnly(layer) for layer in layers]
    return joined


class _ReadOnly(transformers.cache_utils.DynamicLayer):
    """Keys and values of prefixes, seen by every row; what rows add is not remembered."""

    def __init__(self, prefixes: Sequence[Any]) -> None:
        super().__init__()
        self.prefixes = prefixes
        # what the length of the cache is read from
        self.keys, self.values = prefixes[0].keys, prefixes[0].values
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values `[rows, head, prefix + pos, d_head]`."""
        keys = _after([prefix.keys for prefix in self.prefixes], key_states)
        return keys, _after([prefix.values for prefix in self.prefixes], value_states)


def _after(prefixes: Sequence[Tensor], own: Tensor) -> Tensor:
    """Rows after their prefixes, in one copy: each equal part of the rows after its own prefix."""
    rows, length = len(own) // len(prefixes), prefixes[0].shape[-2]
    joined_values = own.new_empty(*own.shape[:2], length + own.shape[-2], own.shape[-1])
    for part, prefix in zip(joined_values.split(rows), prefixes, strict=True):
        part[:, :, :length] = prefix
    joined_values[:, :, length:] = own
    return joined_values

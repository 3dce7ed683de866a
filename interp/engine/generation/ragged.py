"""Rows of any length in one batch, over shared prefixes: a KV cache and its attention.

Each row keeps the keys and values of its own tokens, column c of its buffer holding its token at
position `offset + c`; what its prompt shares with others is stored once. Nothing is padded on the
left and no column is ever moved, so a row may start, fall back to an earlier token, and leave at
any time. The attention is that of the model (`softmax(q k^T) v`), summed over both stores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AttentionInterface

from interp.models import Decoder

NAME = "interp_ragged"
# numbers in one block of attention scores: what stays in a CPU's cache and is small on a GPU
SCORES = 4_000_000


@dataclass(frozen=True, eq=False)
class SharedKeys:
    """One prefix at one layer.

    Attributes:
        keys: `[kv_head, pos, d_head]`.
        values: `[kv_head, pos, d_head]`.
    """

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The prefixes that the rows of a batch attend to at one layer.

    Attributes:
        kept: the prefixes.
        counts: how many rows attend to each; None where one prefix serves all.
        order: `[row]` numbers of rows, those of the first prefix first; None for their own order.
        back: `[row]` where each row stands in that order.
    """

    kept: tuple[SharedKeys, ...]
    counts: tuple[int, ...] | None = None
    order: Tensor | None = None
    back: Tensor | None = None

    @classmethod
    def by_rows(cls, chosen: Sequence[tuple[SharedKeys, Sequence[int]]]) -> "Prefixes":
        """Prefixes, each with its rows."""
        if len(chosen) == 1:
            return cls((chosen[0][0],))
        rows = [row for _, numbers in chosen for row in numbers]
        kept = tuple(one for one, _ in chosen)
        counts = tuple(len(numbers) for _, numbers in chosen)
        if rows == list(range(len(rows))):
            return cls(kept, counts)
        order = torch.tensor(rows, device=kept[0].keys.device)
        return cls(kept, counts, order, order.argsort())


class RaggedCache(transformers.Cache):
    """Keys and values of rows of different lengths; the model writes, `attend` reads.

    Attributes:
        keys: for each layer `[row, kv_head, column, d_head]`, None before it is written.
        values: the same.
        shared: for each layer the prefixes, None without.
        offset: positions before column 0.
        columns: `[row, pos]` (or `[1, pos]` where all rows agree) of the tokens being run.
    """

    def __init__(self, n_layers: int, rows: int, width: int, *, offset: int) -> None:
        super().__init__(layers=[])
        self.keys: list[Tensor | None] = [None] * n_layers
        self.values: list[Tensor | None] = [None] * n_layers
        self.shared: list[Prefixes | None] = [None] * n_layers
        self.rows, self.width, self.offset = rows, width, offset
        self.columns: Tensor = torch.zeros(1, 0, dtype=torch.long)
        self.start: int | None = 0
        self.end = 0
        self._hidden: dict[tuple[int, int | None, torch.device], Tensor] = {}

    def share(self, prefix: Sequence[SharedKeys]) -> None:
        """All rows attend to one prefix, given layer by layer; nothing where there is none."""
        self.shared = [Prefixes((kept,)) for kept in prefix] or [None] * len(self.keys)

    def place(self, columns: Tensor) -> None:
        """Say where the tokens of the next pass go."""
        self.columns = columns
        # one row of columns stands for all: then they are consecutive
        self.start = int(columns[0, 0]) if columns.shape[0] == 1 else None
        self.end = int(columns.max()) + 1
        self._hidden.clear()

    def hidden(self, start: int, end: int, window: int | None, device: torch.device) -> Tensor:
        """`[row, pos, end - start]`: which columns a token does not see.

        One tensor for all layers of a device. Columns below 0 are those of the prefix.
        """
        key = (start, window, device)
        if key not in self._hidden:
            at = torch.arange(start, end, device=device)
            columns = self.columns.to(device)[..., None]
            hidden = at > columns
            self._hidden[key] = hidden if window is None else hidden | (at <= columns - window)
        return self._hidden[key]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> Any:
        """Write new keys and values `[row, kv_head, pos, d_head]`; returns all columns so far."""
        rows = keys.shape[0]
        own_keys, own_values = self.keys[layer], self.values[layer]
        if own_keys is None or own_values is None:
            own_keys = keys.new_zeros(self.rows, keys.shape[1], self.width, keys.shape[3])
            own_values = values.new_zeros(self.rows, values.shape[1], self.width, values.shape[3])
            self.keys[layer], self.values[layer] = own_keys, own_values
        if self.start is not None:
            own_keys[:rows, :, self.start : self.end] = keys
            own_values[:rows, :, self.start : self.end] = values
        else:
            index = torch.arange(rows, device=keys.device)[:, None]
            columns = self.columns.to(keys.device)
            own_keys[index, :, columns] = keys.transpose(1, 2)
            own_values[index, :, columns] = values.transpose(1, 2)
        return own_keys[:rows, :, : self.end], own_values[:rows, :, : self.end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions before the widest row's new tokens."""
        return self.offset + self.end - self.columns.shape[1]

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Not used: the attention makes its own mask."""
        return self.offset + self.end, 0


_active: ContextVar[RaggedCache] = ContextVar("cache")


@contextmanager
def attending(decoder: Decoder, cache: RaggedCache) -> Iterator[None]:
    """Inside the context the model's attention reads and writes a ragged cache."""
    AttentionInterface.register(NAME, attend)
    before = decoder.root.config._attn_implementation
    decoder.root.set_attn_implementation(NAME)
    outer = _active.set(cache)
    try:
        yield
    finally:
        _active.reset(outer)
        decoder.root.set_attn_implementation(before)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of `query` `[row, head, pos, d_head]` to a row's own columns and its prefix.

    It stands in for `transformers`' attention functions, whose parameters these are.

    Returns:
        The output `[row, pos, head, d_head]`, and None in place of the attention pattern.
    """
    cache = _active.get()
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rows, heads, length, width = query.shape
    form = _Form(scale, others.get("softcap"), sliding_window, length)
    grouped = query.reshape(rows, key.shape[1], -1, width)
    part = _own_part(cache, grouped, key, value, form)
    shared = cache.shared[int(module.layer_idx)]  # type: ignore[arg-type]
    if shared is not None:
        part = _merged(part, _shared_part(cache, grouped, shared, form))
    out = part[0].view(rows, heads, length, -1)
    return out.transpose(1, 2), None


@dataclass(frozen=True)
class _Form:
    scale: float
    softcap: float | None
    window: int | None
    length: int  # tokens of a row in this pass


# what attention to some of the keys gives: the weighted mean of their values
# `[row, kv_head, group * pos, d_head]`, and the logarithm of their summed weights `[..., 1]`
_Part = tuple[Tensor, Tensor]


def _own_part(
    cache: RaggedCache, query: Tensor, keys: Tensor, values: Tensor, form: _Form
) -> _Part:
    rows, kv_heads, queries, _ = query.shape
    # one token per row and all rows equally long: every column there is may be seen
    seen = form.length == 1 and cache.columns.shape[0] == 1 and form.window is None
    hidden = None
    if not seen:
        hidden = cache.hidden(0, keys.shape[2], form.window, query.device)[:, None, None]

    def some(at: slice) -> _Part:
        shape = (-1, kv_heads, queries // form.length)
        hidden_rows = hidden if hidden is None or hidden.shape[0] == 1 else hidden[at]
        return _summed(query[at], keys[at], values[at], shape, hidden_rows, form)

    return _in_blocks(some, rows, kv_heads * queries * keys.shape[2], dim=0)


def _shared_part(cache: RaggedCache, query: Tensor, shared: Prefixes, form: _Form) -> _Part:
    """All rows of a prefix meet its keys in one product per head, instead of one per row."""
    rows, kv_heads, queries, width = query.shape
    ordered = query if shared.order is None else query[shared.order]
    flat = ordered.transpose(0, 1).reshape(kv_heads, rows * queries, width)
    hidden = None
    if form.window is not None:
        hidden = cache.hidden(-cache.offset, 0, form.window, query.device)[:, None]
        if shared.order is not None and hidden.shape[0] > 1:
            hidden = hidden[shared.order]
    layers, first = [], 0
    for one, count in zip(shared.kept, shared.counts or (rows,), strict=True):
        layers.append(_prefix_part(flat, one, (first, count, queries), hidden, form))
        first += count
    out, mass = (torch.cat(x, dim=1) if len(x) > 1 else x[0] for x in zip(*layers, strict=True))
    by_row = [x.view(kv_heads, rows, queries, -1).transpose(0, 1) for x in (out, mass)]
    if shared.back is not None:
        by_row = [x[shared.back] for x in by_row]
    return by_row[0], by_row[1]


def _prefix_part(
    flat: Tensor,
    prefix: SharedKeys,
    place: tuple[int, int, int],
    hidden: Tensor | None,
    form: _Form,
) -> _Part:
    first, count, queries = place
    kv_heads = flat.shape[0]
    if hidden is None and form.softcap is None and _fusable(flat, prefix.values):
        chosen = flat[:, first * queries : (first + count) * queries]
        # what `scaled_dot_product_attention` runs on a CPU, with the masses that it drops
        out, mass = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            chosen[None], prefix.keys[None], prefix.values[None], scale=form.scale
        )
        return out[0], mass[0, :, :, None]

    def some(at: slice) -> _Part:
        rows = slice(first + at.start, first + at.stop)
        chosen = flat[:, rows.start * queries : rows.stop * queries]
        shape = (kv_heads, -1, queries // form.length)
        unseen = hidden if hidden is None or hidden.shape[0] == 1 else hidden[rows]
        return _summed(chosen, prefix.keys, prefix.values, shape, unseen, form)

    return _in_blocks(some, count, kv_heads * queries * prefix.keys.shape[1], dim=1)


def _fusable(query: Tensor, values: Tensor) -> bool:
    return query.device.type == "cpu" and query.shape[-1] == values.shape[-1]


def _in_blocks(some: Callable[[slice], _Part], rows: int, scores: int, *, dim: int) -> _Part:
    """Rows in blocks, so that the scores (so many per row) of a block stay small."""
    step = max(1, SCORES // max(1, scores))
    if step >= rows:
        return some(slice(0, rows))
    blocks = [some(slice(first, min(first + step, rows))) for first in range(0, rows, step)]
    out, mass = (torch.cat(x, dim=dim) for x in zip(*blocks, strict=True))
    return out, mass


def _summed(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    shape: tuple[int, int, int],
    hidden: Tensor | None,
    form: _Form,
) -> _Part:
    """Softmax attention; `shape` and the length are the axes of the queries, for the mask."""
    scores = ((query * form.scale) @ keys.transpose(-2, -1)).float()
    if form.softcap is not None:
        scores = torch.tanh(scores / form.softcap) * form.softcap
    if hidden is not None:
        scores.view(*shape, form.length, keys.shape[-2]).masked_fill_(hidden, -torch.inf)
    least = torch.finfo(torch.float32)
    # a window may hide all of a prefix
    top = scores.amax(dim=-1, keepdim=True).clamp_(min=least.min)
    weights = scores.sub_(top).exp_()
    total = weights.sum(dim=-1, keepdim=True).clamp_(min=least.tiny)
    out = (weights.to(values.dtype) @ values) / total.to(values.dtype)
    return out, top + total.log()


def _merged(own: _Part, shared: _Part) -> _Part:
    """Attention to both: their means by their masses."""
    weight = torch.sigmoid(shared[1] - own[1])
    out = torch.lerp(own[0].float(), shared[0].float(), weight).to(own[0].dtype)
    return out, own[1]

"""Rows of any length in one batch, over shared prefixes: a KV cache and its attention.

Each row keeps the keys and values of its own tokens, column c of its buffer holding its token at
position `offset + c`; what its prompt shares with others is stored once. Nothing is padded on the
left and no column is ever moved, so a row may start, fall back to an earlier token, and leave at
any time. The attention is that of the model (`softmax(q k^T) v`), summed over both stores.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    """One prefix at one layer, and the rows that attend to it (None: all of them).

    Attributes:
        keys: `[kv_head, pos, d_head]`.
        values: `[kv_head, pos, d_head]`.
        rows: `[n]` numbers of rows.
    """

    keys: Tensor
    values: Tensor
    rows: Tensor | None


class RaggedCache(transformers.Cache):
    """Keys and values of rows of different lengths; the model writes, `attend` reads.

    Attributes:
        keys: for each layer `[row, kv_head, column, d_head]`, None before it is written.
        values: the same.
        shared: for each layer the prefixes, by rows.
        offset: positions in front of column 0.
        columns: `[row, pos]` (or `[1, pos]` where all rows agree) of the tokens being run.
    """

    def __init__(self, n_layers: int, rows: int, width: int, *, offset: int) -> None:
        super().__init__(layers=[])
        self.keys: list[Tensor | None] = [None] * n_layers
        self.values: list[Tensor | None] = [None] * n_layers
        self.shared: list[Sequence[SharedKeys]] = [()] * n_layers
        self.rows, self.width, self.offset = rows, width, offset
        self.columns: Tensor = torch.zeros(1, 0, dtype=torch.long)
        self.start: int | None = 0
        self.end = 0

    def place(self, columns: Tensor) -> None:
        """Say where the tokens of the next pass go."""
        self.columns = columns
        # one row of columns stands for all: then they are consecutive
        self.start = int(columns[0, 0]) if columns.shape[0] == 1 else None
        self.end = int(columns.max()) + 1

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
            own_keys[index, :, self.columns] = keys.transpose(1, 2)
            own_values[index, :, self.columns] = values.transpose(1, 2)
        return own_keys[:rows, :, : self.end], own_values[:rows, :, : self.end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions in front of the widest row's new tokens."""
        return self.offset + self.end - self.columns.shape[1]

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Not used: the attention makes its own mask."""
        return self.offset + self.end, 0


_active: list[RaggedCache] = []


@contextmanager
def attending(parts: Decoder, cache: RaggedCache) -> Iterator[None]:
    """Inside the context the model's attention reads and writes a ragged cache."""
    before = parts.root.config._attn_implementation
    parts.root.set_attn_implementation(NAME)
    _active.append(cache)
    try:
        yield
    finally:
        _active.pop()
        parts.root.set_attn_implementation(before)


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
    """
    cache = _active[-1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rows, heads, length, width = query.shape
    groups = heads // key.shape[1]
    grouped = query.reshape(rows, key.shape[1], groups * length, width) * scale
    out = query.new_empty(rows, key.shape[1], groups * length, value.shape[3])
    columns = cache.columns.to(query.device)
    shared = cache.shared[int(module.layer_idx)]  # type: ignore[arg-type]
    # one token a row and all rows equally long: every column there is may be seen
    mask_own = length > 1 or columns.shape[0] > 1 or sliding_window is not None
    limits = (cache.offset, sliding_window, others.get("softcap"), mask_own)
    for part in shared or (None,):
        chosen = None if part is None or part.rows is None else part.rows
        count = rows if chosen is None else len(chosen)
        total = key.shape[2] + (0 if part is None else part.keys.shape[1])
        step = max(1, SCORES // max(1, heads * length * total))
        for first in range(0, count, step):
            index: Any = slice(first, min(first + step, count))
            if chosen is not None:
                index = chosen[index]
            own = _Own(grouped[index], key[index], value[index])
            here = columns if columns.shape[0] == 1 else columns[index]
            out[index] = _attend_rows(own, part, here, limits)
    result = out.view(rows, key.shape[1], groups, length, -1).flatten(1, 2)
    return result.transpose(1, 2), None


@dataclass(frozen=True, eq=False)
class _Own:
    query: Tensor  # [row, kv_head, group * pos, d_head]
    keys: Tensor  # [row, kv_head, column, d_head]
    values: Tensor


def _attend_rows(
    own: _Own,
    part: SharedKeys | None,
    columns: Tensor,
    limits: tuple[int, int | None, float | None, bool],
) -> Tensor:
    """`[row, kv_head, group * pos, d_head]`; one softmax over prefix and own columns."""
    offset, window, softcap, mask_own = limits
    rows, kv_heads, queries, width = own.query.shape
    length = columns.shape[1]
    position = columns[:, None, None, :, None]
    scores = _capped((own.query @ own.keys.transpose(2, 3)).float(), softcap)
    if mask_own:
        at = torch.arange(own.keys.shape[2], device=columns.device)
        hidden = at > position
        if window is not None:
            hidden = hidden | (at <= position - window)
        scores.view(rows, kv_heads, -1, length, len(at)).masked_fill_(hidden, -torch.inf)
    top = scores.amax(dim=-1, keepdim=True)
    if part is None:
        weights = scores.sub_(top).exp_()
        return (weights / weights.sum(dim=-1, keepdim=True)).to(own.values.dtype) @ own.values
    # all rows meet one prefix: a single product a head, instead of one a row
    flat = own.query.transpose(0, 1).reshape(kv_heads, rows * queries, width)
    before = _capped((flat @ part.keys.transpose(1, 2)).float(), softcap)
    if window is not None:
        at = torch.arange(part.keys.shape[1], device=columns.device)
        hidden = (at <= position + offset - window).expand(rows, kv_heads, -1, -1, -1)
        view = before.view(kv_heads, rows, -1, length, len(at)).transpose(0, 1)
        view.masked_fill_(hidden, -torch.inf)

    def by_row(flat: Tensor) -> Tensor:
        return flat.view(kv_heads, rows, queries, -1).transpose(0, 1)

    def by_head(rowwise: Tensor) -> Tensor:
        return rowwise.transpose(0, 1).reshape(kv_heads, rows * queries, -1)

    top = torch.maximum(top, by_row(before.amax(dim=-1, keepdim=True)))
    weights = scores.sub_(top).exp_()
    before = before.sub_(by_head(top)).exp_()
    total = weights.sum(dim=-1, keepdim=True) + by_row(before.sum(dim=-1, keepdim=True))
    dtype = own.values.dtype
    summed = (weights.to(dtype) @ own.values) + by_row(before.to(dtype) @ part.values)
    return summed / total.to(dtype)


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap


AttentionInterface.register(NAME, attend)

"""Attention rows of chosen query positions, without computing the whole pattern.

The prompt runs in pieces over a KV cache, through the fused attention of the native blocks. Only
the rows of the wanted queries are computed, from their q and the cached keys, so memory grows
linearly with the context. Where an architecture has an attention function of its own (BLOOM), the
rows are cut out of what it returns for a piece, which is linear, too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from interp import models
from interp.ablations import refuse_hooks
from interp.attention.interactive import View, attention_view
from interp.engine import runs_in_pieces, segments
from interp.errors import UserError, check_whole
from interp.models import Decoder, model_name, stopped_before_readout

PIECE = 512
IMPLEMENTATION = "interp_rows"

Take = Callable[[int, list[int], Float[Tensor, "head query pos"]], None]
"""A function that is given the layer, the numbers of queries and their rows, for each piece."""


@dataclass(frozen=True, eq=False)
class AttentionRows:
    """Where some positions of a prompt attend, in every head.

    Attributes:
        rows: `[layer, head, query, pos]`. Each row sums to 1; it is zero after the query.
        queries: the position of each query.
        tokens: the prompt's token ids.
        texts: the prompt's tokens as text.
    """

    rows: Float[Tensor, "layer head query pos"]
    queries: tuple[int, ...]
    tokens: tuple[int, ...]
    texts: tuple[str, ...]

    def show(self, heads: Sequence[tuple[int, int]]) -> View:
        """The interactive view of circuitsvis for some heads, in a notebook.

        Args:
            heads: (layer, head) of each.

        Raises:
            UserError: a head does not exist; or as `attention_view`.
        """
        n_layers, n_heads = self.rows.shape[:2]
        check_heads(heads, n_layers, n_heads)
        chosen = self.rows[[layer for layer, _ in heads], [head for _, head in heads]]
        return attention_view(chosen, queries=self.queries, texts=self.texts, heads=heads)

    def __repr__(self) -> str:
        layers, heads, queries, positions = self.rows.shape
        return (
            f"AttentionRows({queries} queries over {positions} positions, {layers} layers of "
            f"{heads} heads)"
        )


def attention_rows(
    model: TransformerBridge,
    prompt: str | Sequence[int],
    *,
    queries: Sequence[int] = (-1,),
    piece: int = PIECE,
) -> AttentionRows:
    """The attention of chosen positions to all positions before them, in every head.

    They equal the rows of TransformerLens' `hook_pattern`, but no `[head, pos, pos]` tensor is
    made.

    Args:
        model: a bridge.
        prompt: text, or token ids.
        queries: the positions whose rows are wanted; negative ones count from the end.
        piece: the number of tokens that run at a time.

    Returns:
        Weights `[layer, head, query, pos]`, each row summing to 1, and the prompt's tokens.

    Raises:
        UserError: a query is outside the prompt, the prompt is empty or too long, hooks are
            active, or a weight is not finite.
    """
    found = scanned_rows(model, prompt, queries=queries, piece=piece)
    if not bool(found.rows.isfinite().all()):
        layer = int((~found.rows.isfinite()).flatten(start_dim=1).any(dim=1).nonzero()[0])
        raise UserError(
            f"model {model_name(model)}: its attention is not finite in layer {layer}; a "
            "number format of a wider range (bfloat16, float32) may hold it"
        )
    return found


def scanned_rows(
    model: TransformerBridge,
    prompt: str | Sequence[int],
    *,
    queries: Sequence[int],
    piece: int = PIECE,
) -> AttentionRows:
    """What `attention_rows` gives, also where it is NaN or infinite."""
    check_whole("piece", piece, 1)
    if isinstance(queries, str) or not isinstance(queries, Sequence):
        raise UserError(f"queries {queries!r:.80}: allowed is a list of positions")
    decoder = models.decoder(model)
    tokens = decoder.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    wanted = [q + len(tokens) if q < 0 else q for q in queries]
    for row_weights, query in zip(queries, wanted, strict=True):
        if not 0 <= query < len(tokens):
            raise UserError(f"query {row_weights}: the prompt has positions 0-{len(tokens) - 1}")
    rows = torch.zeros(decoder.n_layers, decoder.n_heads, len(wanted), len(tokens))

    def keep(layer: int, numbers: list[int], found: Tensor) -> None:
        rows[layer, :, numbers, : found.shape[-1]] = found.cpu()

    scan_rows(model, tokens, wanted, keep, piece=piece)
    texts = token_texts(decoder, tokens)
    return AttentionRows(rows, tuple(wanted), tuple(tokens), texts)


def check_heads(heads: Any, n_layers: int, n_heads: int) -> None:
    """Refuse what is no list of heads, an empty one, and a head that the model does not have."""
    pairs = isinstance(heads, Sequence | np.ndarray) and not isinstance(heads, str)
    if not pairs or not all(_is_head(head) for head in heads):
        raise UserError(f"heads {heads!r:.80}: allowed are (layer, head) pairs such as (4, 5)")
    if not len(heads):
        raise UserError("no head was named; heads are (layer, head) pairs such as (4, 5)")
    for layer, head in heads:
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise UserError(
                f"head L{layer}H{head}: the model has layers 0-{n_layers - 1} and heads "
                f"0-{n_heads - 1}"
            )


def _is_head(given: Any) -> bool:
    """Whether something is a pair of whole numbers."""
    pair = isinstance(given, Sequence | np.ndarray) and len(given) == 2
    return pair and all(isinstance(n, Integral) and not isinstance(n, bool) for n in given)


def scan_rows(
    model: TransformerBridge,
    tokens: Sequence[int],
    queries: Sequence[int],
    take: Take,
    *,
    piece: int = PIECE,
) -> Float[Tensor, "query d_model"]:
    """Run a prompt and pass the attention rows of some positions to a function, layer by layer.

    Args:
        model: a bridge.
        tokens: token ids of the prompt.
        queries: the positions, each 0 or more.
        take: the function, given the rows `[head, query, pos]` of each layer and piece, in float32;
            pos counts from the prompt's start and ends with the piece.
        piece: the number of tokens that run at a time. All run at once where the model cannot run
            in pieces (LongRoPE beyond its switch).

    Returns:
        The output of the last block at the queries.

    Raises:
        UserError: hooks are active; the prompt is empty or too long; or the attention has a term
            that is not in its scores (learned sinks, position bias), or sees only keys that an
            index chooses.
    """
    refuse_hooks(model, "the tracer")
    decoder = models.decoder(model)
    if len(decoder.layers_with("heads")) < decoder.n_layers:
        layer = next(n for n, parts in enumerate(decoder.parts) if not parts.has_heads)
        raise UserError(
            f"model {model_name(model)}: layer {layer} has no attention heads "
            f"({decoder.parts[layer].kind or 'nothing in it mixes tokens'}); rows of attention are "
            "read of models that have them in every layer"
        )
    chosen = [
        n for n, attention in enumerate(decoder.attentions) if getattr(attention, "indexer", None)
    ]
    if chosen:
        raise UserError(
            f"model {model_name(model)}: in layer {chosen[0]} an index chooses the keys that a "
            "query sees (sparse attention), which rows of attention do not show"
        )
    if not 0 < len(tokens) <= decoder.max_length:
        raise UserError(
            f"prompt of {len(tokens)} tokens: model {model_name(model)} takes "
            f"1-{decoder.max_length}"
        )
    end = max(queries, default=-1) + 1
    if len(segments(model, [end, len(tokens)])) > 1:
        # tokens after the last query can change how the model computes those before it
        end = len(tokens)
    if end > piece and not runs_in_pieces(model, end):
        piece = end
    resid: dict[int, Tensor] = {}
    cache = transformers.DynamicCache(config=decoder.root.config)
    with _watched(decoder) as watch, torch.no_grad():
        for start in range(0, end, piece):
            stop = min(start + piece, end)
            numbers = [n for n, q in enumerate(queries) if start <= q < stop]
            columns = [queries[n] - start for n in numbers]
            watch.begin(columns, stop, _numbered(take, numbers))
            ids = torch.tensor([tokens[start:stop]], device=decoder.device)
            with stopped_before_readout(decoder, partial(setattr, watch, "resid")):
                decoder.root(input_ids=ids, past_key_values=cache, use_cache=True)
            resid.update({n: watch.resid[0, c] for n, c in zip(numbers, columns, strict=True)})
            watch.check(decoder, model_name(model))
    if not resid:
        return torch.zeros(0, decoder.d_model)
    return torch.stack([resid[n] for n in range(len(queries))])


def _numbered(take: Take, numbers: list[int]) -> Callable[[int, Tensor], None]:
    return lambda layer, rows: take(layer, numbers, rows)


@dataclass(eq=False)
class _Watch:
    """Which rows the attention function computes for the running piece, and who receives them."""

    layers: dict[int, int]
    columns: list[int] = field(default_factory=list)
    end: int = 0
    take: Callable[[int, Tensor], None] = lambda layer, rows: None
    seen: set[int] = field(default_factory=set)
    resid: Tensor = field(default_factory=lambda: torch.zeros(0))

    def begin(self, columns: list[int], end: int, take: Callable[[int, Tensor], None]) -> None:
        self.columns, self.end, self.take = columns, end, take
        self.seen.clear()

    def give(self, module: nn.Module, rows: Tensor) -> None:
        """Pass on `[head, query, key]` rows; the keys end with the piece."""
        layer = self.layers[id(module)]
        self.seen.add(layer)
        # a layer with a sliding window caches only the window
        missing = self.end - rows.shape[-1]
        self.take(layer, nn.functional.pad(rows, (missing, 0)) if missing > 0 else rows)

    def check(self, decoder: Decoder, name: str) -> None:
        missing = set(range(decoder.n_layers)) - self.seen
        if self.columns and missing:
            raise UserError(
                f"model {name}: its attention in layer {min(missing)} gives no rows; the tracer "
                "does not know this architecture"
            )


_active: ContextVar[_Watch] = ContextVar("watch")


@contextmanager
def _watched(decoder: Decoder) -> Iterator[_Watch]:
    """A context in which the native attention passes its rows to the watch."""
    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, sdpa_mask)
    watch = _Watch({id(module): layer for layer, module in enumerate(decoder.attentions)})
    modules: Iterable[Any] = decoder.root.modules()
    configs = {id(m.config): m.config for m in modules if hasattr(m, "config")}
    fused = [c for c in configs.values() if getattr(c, "_attn_implementation", "") == "sdpa"]

    def cut_out(module: nn.Module, _args: Any, out: Any) -> None:
        pattern = out[1] if isinstance(out, tuple) and len(out) > 1 else None
        if watch.columns and watch.layers[id(module)] not in watch.seen and pattern is not None:
            watch.give(module, pattern[0, :, watch.columns].float())

    with ExitStack() as stack:
        stack.callback(_active.reset, _active.set(watch))
        for config in fused:
            config._attn_implementation_internal = IMPLEMENTATION
            stack.callback(setattr, config, "_attn_implementation_internal", "sdpa")
        for attention in decoder.attentions:
            stack.callback(attention.register_forward_hook(cut_out).remove)
        yield watch


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Fused attention, which also computes the rows of the wanted queries."""
    watch = _active.get()
    odd = [k for k in ("s_aux", "position_bias") if kwargs.get(k) is not None]
    if odd:
        raise UserError(f"attention of {type(module).__name__}: {odd[0]} is not supported here")
    scores = {"scaling": kwargs.get("scaling"), "softcap": kwargs.get("softcap")}
    if watch.columns:
        columns = torch.tensor(watch.columns, device=query.device)
        watch.give(module, _rows(query, key, attention_mask, columns, **scores)[0])
    if kwargs.get("softcap") is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    # fused attention has no cap on scores: each piece is computed in full
    every = torch.arange(query.shape[2], device=query.device)
    rows = _rows(query, key, attention_mask, every, **scores).to(value.dtype)
    groups = query.shape[1] // value.shape[1]
    out = rows @ value.repeat_interleave(groups, dim=1)
    return out.transpose(1, 2).contiguous(), None


def _rows(
    query: Float[Tensor, "batch head pos d_head"],
    key: Float[Tensor, "batch kv_head key d_head"],
    mask: Tensor | None,
    columns: Tensor,
    *,
    scaling: float | None,
    softcap: float | None,
) -> Float[Tensor, "batch head query key"]:
    """The softmax of the scores of some queries, in float32."""
    n_kv, n_keys, n_positions = key.shape[1], key.shape[2], query.shape[2]
    q = query[:, :, columns].unflatten(1, (n_kv, -1)).float()
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.einsum("bkgqd,bknd->bkgqn", q, key.float()).flatten(1, 2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        last = n_keys - n_positions + columns
        allowed = torch.arange(n_keys, device=key.device) <= last[:, None]
        scores = scores.masked_fill(~allowed, float("-inf"))
    elif mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask[:, :, columns, :n_keys], float("-inf"))
    else:
        scores = scores + mask[:, :, columns, :n_keys]
    return scores.softmax(dim=-1)


def token_texts(decoder: Decoder, tokens: Sequence[int]) -> tuple[str, ...]:
    """Each token as text, or as its id where there is no tokenizer."""
    if decoder.tokenizer is None:
        return tuple(map(str, tokens))
    return tuple(decoder.tokenizer.decode([token]) for token in tokens)

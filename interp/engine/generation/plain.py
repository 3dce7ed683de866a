"""Plain decoding: token by token, by the model's own attention and `transformers`' cache.

What everything else must agree with. One row at a time it settles near ties; in batches, padded on
the left, it serves the architectures whose attention cannot be replaced.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import (
    BITS,
    Edits,
    Example,
    Means,
    Outputs,
    Places,
    edited,
    padded_labels,
)
from interp.engine.generation.sampling import finite_or_failed
from interp.engine.generation.stopping import Answer, Stopping
from interp.engine.replay import record, replay, unembed
from interp.models import Decoder

Choose = Callable[[Tensor, Sequence[int], int], Tensor]
"""From logits `[row, d_vocab]`, numbers of rows, and tokens written so far to the next tokens."""


@dataclass(frozen=True)
class RowCaching:
    """How one row is decoded so that every token is as if the whole text were run.

    Attributes:
        cached: keep keys and values from token to token; else the whole text is run each time.
        rebuilt_beyond: lengths at which the model changes what it keeps (LongRoPE exchanges its
            rotary table): there the cache is thrown away and the whole text is run once.
    """

    cached: bool = True
    rebuilt_beyond: tuple[int, ...] = ()


class PlainRow:
    """One prompt under one ablation, decoded as `transformers` would without a batch.

    It remembers how far it is, so that a second near tie in the same answer costs only the tokens
    since the first.

    Args:
        model: a bridge.
        prompt: tokens.
        edits: what changes.
        caching: what the row keeps from token to token.
        put: `edited`, with what it puts in.
    """

    def __init__(
        self,
        model: TransformerBridge,
        prompt: Sequence[int],
        edits: Edits,
        caching: RowCaching = RowCaching(),
        put: Callable[..., AbstractContextManager[Decoder]] = edited,
    ) -> None:
        self.model, self.prompt, self.edits = model, tuple(prompt), edits
        self.caching, self.put = caching, put
        self.cache: transformers.DynamicCache | None = None
        self.places = Places()
        self.fed = 0
        self.logits: Tensor | None = None

    def next_logits(self, written: Sequence[int]) -> Float[Tensor, " d_vocab"]:
        """The logits after the written tokens."""
        text = (*self.prompt, *written)
        with self.put(self.model, self.edits, places=self.places) as decoder:
            while self.logits is None or self.fed < len(text):
                end = self.fed + 1 if self.fed else len(self.prompt)
                self.logits = self._feed(decoder, text[:end])
        return self.logits

    def _feed(self, decoder: Decoder, text: Sequence[int]) -> Tensor:
        """Logits after a text, of which the cache holds all but what is new."""
        crossed = any(self.fed <= at < len(text) for at in self.caching.rebuilt_beyond)
        if self.cache is None or crossed or not self.caching.cached:
            self.cache = transformers.DynamicCache(config=decoder.root.config)
            self.fed = 0
        before, tokens = self.fed, text[self.fed :]
        self.fed = len(text)
        self.places.of_text(len(self.prompt), before, len(text))
        mask = torch.ones(1, before + len(tokens), dtype=torch.long, device=decoder.device)
        positions = torch.arange(before, before + len(tokens), device=decoder.device)[None]
        with torch.no_grad():
            logits: Tensor = decoder.root(
                input_ids=torch.tensor([list(tokens)], device=decoder.device),
                past_key_values=self.cache,
                use_cache=True,
                **_arguments(decoder, mask, positions),
            ).logits
        return logits[0, -1]


def single_row(
    model: TransformerBridge,
    prompt: Sequence[int],
    stop: Stopping,
    edits: Edits,
    *,
    means: Means | None = None,
    caching: RowCaching,
    resample: Outputs | None = None,
    example: Example | None = None,
    choose: Choose | None = None,
) -> Answer:
    """The answer to one prompt by a row of its own: what is exact for every architecture.

    Args:
        model: a bridge.
        prompt: tokens.
        stop: the end of the answer.
        edits: what changes.
        means: what `@mean` puts (`mean_outputs`).
        caching: what the row keeps from token to token.
        resample: another example's z (`edited`).
        example: the one that is run (`edited`).
        choose: as for `plain_batches`.

    Returns:
        The tokens that were written, and why writing ended.
    """
    put = partial(edited, means=means, resample=resample, example=example)
    row = PlainRow(model, prompt, edits, caching, put)
    written: list[int] = []
    while stop.max_gen_toks > 0 and (not written or not stop.done(written)):
        logits = row.next_logits(written)
        written.append(int((choose or _likeliest)(logits[None], [0], len(written))[0]))
    return stop.answer(written)


def forced_logits(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    forced: Int[Tensor, "row token"],
    *,
    times: int,
) -> list[Float[Tensor, "step row d_vocab"]]:
    """Logits of a left-padded batch, decoded along given tokens by so many equal ablations."""
    logits_of: list[list[Tensor]] = []

    def choose(logits: Tensor, _rows: Sequence[int], step: int) -> Tensor:
        if not step:
            logits_of.append([])
        logits_of[-1].append(logits)
        return forced[:, min(step, forced.shape[1] - 1)]

    never = Stopping(None, frozenset(), (), forced.shape[1] + 1)
    edits = [Edits()] * times
    for _ in _decoded(model, prompts, [never] * len(prompts), edits, choose=choose):
        pass
    return [torch.stack(logits) for logits in logits_of]


def plain_batches(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[Stopping],
    ablations: Sequence[Edits],
    *,
    means: Means | None = None,
    resample: Outputs | None = None,
    example: Example | None = None,
    choose: Choose | None = None,
) -> Iterator[list[Answer]]:
    """The answers of each ablated model in turn, one left-padded batch.

    The prompts run once, unablated; an ablated model keeps the baseline's keys and values below
    its first edited layer and replays the blocks from there on.

    Args:
        model: a bridge.
        prompts: tokens.
        stops: the end of each answer.
        ablations: what changes in each run.
        means: what `@mean` puts (`mean_outputs`).
        resample: another example's z (`edited`); the batch is then one prompt.
        example: the one that is run (`edited`); likewise.
        choose: a function from logits `[row, d_vocab]`, the numbers of the rows and the number of
            tokens written, the next tokens; the largest logit where it is None.

    Yields:
        For each ablation in turn, one answer per prompt, in the order of the prompts.
    """
    put = partial(edited, means=means, resample=resample, example=example)
    for written in _decoded(model, prompts, stops, ablations, put=put, choose=choose):
        yield [stop.answer(w) for stop, w in zip(stops, written, strict=True)]


def _decoded(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[Stopping],
    ablations: Sequence[Edits],
    *,
    put: Callable[..., AbstractContextManager[Decoder]] = edited,
    choose: Choose | None,
) -> Iterator[list[list[int]]]:
    """The tokens that each ablated model writes; `put` is `edited` with what is put in."""
    decoder = models.decoder(model)
    ids, mask = _padded(decoder, prompts)
    cache = transformers.DynamicCache(config=decoder.root.config)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    baseline = record(
        decoder, ids, past_key_values=cache, use_cache=True, **_arguments(decoder, mask, positions)
    )
    for edits in ablations:
        first = edits.first_layer(decoder.n_layers)
        places = Places()
        places.at(padded_labels([len(prompt) for prompt in prompts]))
        with put(model, edits, places=places) as ablated:
            ablated_cache = _own_cache(ablated, cache, first)
            resid = replay(ablated, baseline, first, cache=ablated_cache)[:, -1]
            logits = torch.cat(list(unembed(ablated, resid)))
            places.at(torch.full((1, 1), BITS["answer"]))
            yield _decode(ablated, (ablated_cache, mask, logits), stops, choose)


def _likeliest(logits: Tensor, _rows: Sequence[int], _step: int) -> Tensor:
    """The token of each row's largest logit; `FAILED` where logits are not finite."""
    return finite_or_failed(logits, logits.argmax(dim=-1))


def _padded(decoder: Decoder, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask `[batch, pos]`, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[decoder.pad_id] * (longest - len(p)) + list(p) for p in prompts]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
    return torch.tensor(ids, device=decoder.device), torch.tensor(mask, device=decoder.device)


def _arguments(decoder: Decoder, mask: Tensor, positions: Tensor) -> dict[str, Any]:
    """Mask and positions, as far as the architecture takes them."""
    arguments: dict[str, Any] = {}
    if not bool(mask.all()):
        arguments["attention_mask"] = mask
    # BLOOM derives positions from the mask, and takes none
    if "position_ids" in inspect.signature(decoder.root.forward).parameters:
        arguments["position_ids"] = positions
    elif "attention_mask" not in arguments:
        arguments["attention_mask"] = mask
    return arguments


def _own_cache(
    decoder: Decoder, shared: transformers.DynamicCache, first: int
) -> transformers.DynamicCache:
    """A cache that shares the baseline's keys and values below `first` and is empty above."""
    copied = transformers.DynamicCache(config=decoder.root.config)
    for layer in range(first):
        cache_layer = shared.layers[layer]
        # growing keys and values makes new tensors, so the shared ones are never written to;
        # states of a recurrence are written in place
        grows = not hasattr(cache_layer, "conv_states")
        copied.layers[layer] = copy.copy(cache_layer) if grows else copy.deepcopy(cache_layer)
    return copied


def _keep_rows(cache: transformers.DynamicCache, rows: Tensor) -> None:
    """Leave some rows of a cache, whose layers may be on several devices."""
    for layer in cache.layers:
        if hasattr(layer, "conv_states"):
            # states of a recurrence, and keys and values beside them where there are any
            layer.reorder_cache(rows.to(layer.device or rows.device))
        elif layer.keys is not None:
            layer.batch_select_indices(rows.to(layer.keys.device))


def _decode(
    decoder: Decoder,
    state: tuple[transformers.DynamicCache, Tensor, Tensor],
    stops: Sequence[Stopping],
    choose: Choose | None,
) -> list[list[int]]:
    """Decode from the logits after each row's prompt."""
    cache, mask, logits = state
    written: list[list[int]] = [[] for _ in stops]
    rows = [i for i, stop in enumerate(stops) if stop.max_gen_toks > 0]
    position, steps = mask.sum(dim=1), 0
    row_numbers = torch.tensor(rows, device=decoder.device, dtype=torch.long)
    while rows:
        if len(row_numbers) < len(position):
            _keep_rows(cache, row_numbers)
            logits, mask, position = logits[row_numbers], mask[row_numbers], position[row_numbers]
        tokens = (choose or _likeliest)(logits, rows, steps)
        steps += 1
        for row, token in zip(rows, tokens.tolist(), strict=True):
            written[row].append(token)
        going = [i for i, row in enumerate(rows) if not stops[row].done(written[row])]
        if not going:
            break
        row_numbers = torch.tensor(going, device=decoder.device)
        if len(going) < len(rows):
            _keep_rows(cache, row_numbers)
            rows = [rows[i] for i in going]
            tokens, mask, position = tokens[row_numbers], mask[row_numbers], position[row_numbers]
            row_numbers = torch.arange(len(rows), device=decoder.device)
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        with torch.no_grad():
            logits = decoder.root(
                input_ids=tokens[:, None],
                past_key_values=cache,
                use_cache=True,
                **_arguments(decoder, mask, position[:, None]),
            ).logits[:, -1]
        position = position + 1
    return written

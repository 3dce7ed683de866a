"""Greedy generation under ablation, in batches, with a KV cache.

The prompts run once, unablated. An ablated model keeps the baseline's keys and values below its
first edited layer, replays the blocks from there on, and then decodes token by token.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.editing import edited
from interp.ablations.means import HeadMeans
from interp.ablations.resampling import HeadOutputs
from interp.ablations.values import Edits
from interp.models import Decoder, decoder
from interp.replay import record, replay, unembed
from interp.requests import GenerationRequest


@dataclass(frozen=True)
class Answer:
    """What a model wrote for one request.

    Attributes:
        text: up to the first stop string.
        n_tokens: tokens generated, the stop string's included.
        finished: False where the token limit cut the answer.
    """

    text: str
    n_tokens: int
    finished: bool


def generate(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    *,
    means: HeadMeans | None = None,
    resample: HeadOutputs | None = None,
) -> Iterator[list[Answer]]:
    """The answers of each ablated model in turn (no edits: the baseline), one batch.

    Args:
        model: a bridge.
        requests: prompts; they run together, padded on the left.
        ablations: what changes in each run.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        resample: another example's z (`edited`); the batch is then one request.

    Yields:
        One answer a request, for each ablation.
    """
    parts = decoder(model)
    prompts = _Prompts.of(parts, requests)
    cache = transformers.DynamicCache(config=parts.root.config)
    baseline = record(
        parts, prompts.ids, past_key_values=cache, use_cache=True, **prompts.arguments(parts)
    )
    for edits in ablations:
        first = min(edits, default=parts.n_layers)
        with edited(model, edits, means, resample):
            own = _own_cache(parts, cache, first)
            resid = replay(parts, baseline, first, cache=own)[:, -1]
            logits = torch.cat(list(unembed(parts, resid)))
            yield _decode(parts, requests, prompts, own, logits.argmax(dim=-1))


@dataclass(frozen=True, eq=False)
class _Prompts:
    ids: Tensor  # [batch, pos], padded on the left
    mask: Tensor  # [batch, pos], 1 where there is a token

    @classmethod
    def of(cls, parts: Decoder, requests: Sequence[GenerationRequest]) -> "_Prompts":
        longest = max(len(r.prompt) for r in requests)
        pad = parts.tokenizer.pad_token_id or 0
        ids = [[pad] * (longest - len(r.prompt)) + list(r.prompt) for r in requests]
        mask = [[0] * (longest - len(r.prompt)) + [1] * len(r.prompt) for r in requests]
        return cls(torch.tensor(ids, device=parts.device), torch.tensor(mask, device=parts.device))

    def arguments(self, parts: Decoder) -> dict[str, Any]:
        return _arguments(parts, self.mask, (self.mask.cumsum(dim=1) - 1).clamp(min=0))


def _arguments(parts: Decoder, mask: Tensor, positions: Tensor) -> dict[str, Any]:
    """Mask and positions, as far as the architecture takes them."""
    arguments: dict[str, Any] = {}
    if not bool(mask.all()):
        arguments["attention_mask"] = mask
    # OPT and BLOOM derive positions from the mask, and take none
    if "position_ids" in inspect.signature(parts.root.forward).parameters:
        arguments["position_ids"] = positions
    elif "attention_mask" not in arguments:
        arguments["attention_mask"] = mask
    return arguments


def _own_cache(
    parts: Decoder, shared: transformers.DynamicCache, first: int
) -> transformers.DynamicCache:
    """A cache that shares the baseline's keys and values below `first` and is empty above."""
    own = transformers.DynamicCache(config=parts.root.config)
    for layer in range(first):
        # growing a layer makes new tensors, so the shared ones are never written to
        own.layers[layer] = copy.copy(shared.layers[layer])
    return own


def _decode(
    parts: Decoder,
    requests: Sequence[GenerationRequest],
    prompts: _Prompts,
    cache: transformers.DynamicCache,
    tokens: Tensor,
) -> list[Answer]:
    """Decode greedily from the first generated token of each row."""
    ends = _end_tokens(parts)
    written: list[list[int]] = [[] for _ in requests]
    rows, mask = list(range(len(requests))), prompts.mask
    position = mask.sum(dim=1)
    while True:
        for row, token in zip(rows, tokens.tolist(), strict=True):
            written[row].append(token)
        going = [
            i for i, row in enumerate(rows) if not _done(parts, requests[row], written[row], ends)
        ]
        if not going:
            break
        if len(going) < len(rows):
            keep = torch.tensor(going, device=parts.device)
            cache.batch_select_indices(keep)
            rows = [rows[i] for i in going]
            tokens, mask, position = tokens[keep], mask[keep], position[keep]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        with torch.no_grad():
            logits = parts.root(
                input_ids=tokens[:, None],
                past_key_values=cache,
                use_cache=True,
                **_arguments(parts, mask, position[:, None]),
            ).logits[:, -1]
        tokens, position = logits.argmax(dim=-1), position + 1
    return [_answer(parts, r, w, ends) for r, w in zip(requests, written, strict=True)]


def _end_tokens(parts: Decoder) -> set[int]:
    config = getattr(parts.root, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    ends = parts.tokenizer.eos_token_id if ends is None else ends
    return set(ends) if isinstance(ends, (list, tuple)) else {ends}


def _done(parts: Decoder, request: GenerationRequest, written: list[int], ends: set[int]) -> bool:
    if written[-1] in ends or len(written) >= request.max_gen_toks:
        return True
    # a stop string of n characters lies in the last n tokens, and one more where it began inside
    reach = max((len(stop.encode()) for stop in request.until), default=0) + 1
    tail = parts.tokenizer.decode(written[-reach:])
    return any(stop in tail for stop in request.until)


def _answer(
    parts: Decoder, request: GenerationRequest, written: list[int], ends: set[int]
) -> Answer:
    kept = [token for token in written if token not in ends]
    text = parts.tokenizer.decode(kept, skip_special_tokens=True)
    stopped = any(stop in text for stop in request.until)
    for stop in request.until:
        text = text.split(stop)[0]
    return Answer(text, len(written), stopped or written[-1] in ends)

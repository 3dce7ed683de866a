"""Answers of a model under many ablations: the baseline writes, the ablated models verify.

What all prompts share is run once under each ablation. The baseline's answers are drafts: each
ablated model verifies them in a few parallel passes, replayed from its first edited layer, and
decodes from the first token that differs, in a batch with the rows of other ablations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, HeadMeans
from interp.engine.generation.grouping import pass_batches, stops_of
from interp.engine.generation.plain import plain_batches
from interp.engine.generation.pool import Counts
from interp.engine.generation.probing import rounding
from interp.engine.generation.run import Run, Settings
from interp.engine.generation.sampling import Picking, choosing
from interp.engine.generation.stopping import Answer
from interp.models import Decoder, decoder, model_name
from interp.tasks import BEYOND_GREEDY, BEYOND_SAMPLING, GenerationRequest

# Logits closer than this many times the model's own rounding are near ties: two logits may move by
# that much each, in opposite directions, and an ablated model's by twice as much as the model's.
# Over trained and random models, layer by layer, the difference of the two largest was seen to move
# by at most 1.9 times the rounding, with a standard deviation of a half.
TIE = 4

# what a model's generation config may ask for where tokens are drawn; a task asks for itself
DRAWS = BEYOND_SAMPLING | {"top_k": 0, "top_p": 1.0}

_said: "WeakKeyDictionary[Decoder, set[bool]]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Generated:
    """The answers of each ablated model, and what they took.

    Attributes:
        answers: for each ablation one answer a request.
        counts: for each ablation.
        path: `ragged`, or `plain` where the architecture's attention cannot be replaced.
        tolerance: two logits closer than this are a near tie.
    """

    answers: list[list[Answer]]
    counts: list[Counts]
    path: str
    tolerance: float

    def __iter__(self) -> Iterator[list[Answer]]:
        return iter(self.answers)


def generate(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    *,
    means: HeadMeans | None = None,
    settings: Settings | None = None,
    done: Callable[[int], Any] = lambda answers: None,
) -> Generated:
    """The answer of each ablated model (no edits: the baseline) to each request.

    In float32 the texts are those of plain decoding, one request at a time. Where a token's two
    largest logits (with the noise that draws it, where it is drawn) are closer than the model's
    rounding allows to tell apart, that row is decoded plainly up to there. In narrower types every
    second token would be such a near tie; there the order that is found counts.

    Args:
        model: a bridge.
        requests: prompts; what they have in common in front is run once an ablation.
        ablations: what changes in each run.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        settings: how to decode.
        done: told how many answers are finished, as they are.
    """
    parts = decoder(model)
    settings = settings or Settings.for_model(parts)
    say_what_is_left_out(model, requests)
    pick = None if settings.plain else sure_picking(parts, requests)
    if pick is None:
        return _plainly(model, requests, ablations, means, done)
    run = Run(model, requests, means, settings, pick, done)
    answers, counts = run.all(ablations)
    return Generated(answers, counts, "ragged", pick.tolerance)


def say_what_is_left_out(model: TransformerBridge, requests: Sequence[GenerationRequest]) -> None:
    """`transformers` obeys a model's generation config even when it is greedy: here it does not."""
    parts = decoder(model)
    config = getattr(parts.root, "generation_config", None)
    sampled = any(request.sampling is not None for request in requests)
    asked = [
        f"{name} {value}"
        for name, neutral in (BEYOND_GREEDY | (DRAWS if sampled else {})).items()
        if (value := getattr(config, name, neutral)) not in (neutral, None, [])
    ]
    if asked and sampled not in _said.setdefault(parts, set()):
        _said[parts].add(sampled)
        tqdm.write(
            f"model {model_name(model)}: its generation config asks for {', '.join(asked)}, which "
            f"is left out ({'draws from' if sampled else 'greedy decoding of'} what the model says)"
        )


def sure_picking(parts: Decoder, requests: Sequence[GenerationRequest]) -> Picking | None:
    """Picking with the model's own tolerance; None where its attention stays its own."""
    noise = rounding(parts)
    if noise is None:
        return None
    exact = next(parts.root.parameters()).dtype == torch.float32
    return Picking(requests, TIE * max(noise, 1e-7) if exact else 0.0)


def _plainly(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    means: HeadMeans | None,
    done: Callable[[int], Any],
) -> Generated:
    parts = decoder(model)
    stops = stops_of(parts, requests)
    answers: list[list[Answer | None]] = [[None] * len(requests) for _ in ablations]
    prompts = {i: request.prompt for i, request in enumerate(requests)}
    order = sorted(prompts, key=lambda i: (-len(prompts[i]), i))
    for batch in pass_batches(order, prompts):
        every = plain_batches(
            model,
            [prompts[i] for i in batch],
            [stops[i] for i in batch],
            ablations,
            means=means,
            choose=choosing([requests[i] for i in batch]),
        )
        for edits, found, written in zip(ablations, answers, every, strict=True):
            for i, answer in zip(batch, written, strict=True):
                found[i] = answer
                if answer.failure and len(batch) > 1:
                    # alone: zero times NaN is NaN, so that padding can spoil a row
                    ((found[i],),) = plain_batches(
                        model,
                        [prompts[i]],
                        [stops[i]],
                        [edits],
                        means=means,
                        choose=choosing([requests[i]]),
                    )
            done(len(batch))
    counts = [Counts(written=sum(a.n_tokens for a in one if a)) for one in answers]
    return Generated([[a for a in one if a] for one in answers], counts, "plain", 0.0)

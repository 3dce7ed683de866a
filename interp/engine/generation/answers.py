"""Answers of a model under many ablations: the baseline writes, the ablated models verify.

What all prompts share is run once under each ablation. The baseline's answers are drafts: each
ablated model verifies them in a few parallel passes, replayed from its first edited layer, and
decodes from the first token that differs, in a batch with the rows of other ablations.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits, Means
from interp.engine.capabilities import capabilities, refuse_impossible
from interp.engine.generation.grouping import pass_batches, stops_of
from interp.engine.generation.plain import plain_batches, single_row
from interp.engine.generation.pool import Counts
from interp.engine.generation.run import Finished, Run, Settings, Stepped
from interp.engine.generation.sampling import Picking, choosing
from interp.engine.generation.stopping import Answer
from interp.engine.generation.with_hooks import hooked_answers
from interp.models import model_name
from interp.tasks import BEYOND_GREEDY, BEYOND_SAMPLING, GenerationRequest

# Logits closer than this many times the model's own rounding are near ties: two logits may move by
# that much each, in opposite directions, and an ablated model's by twice as much as the model's.
# Over trained and random models, layer by layer, the difference of the two largest was seen to move
# by at most 1.9 times the rounding, with a standard deviation of a half.
TIE = 4

# what a model's generation config may ask for where tokens are drawn; a task asks for itself
DRAWS = BEYOND_SAMPLING | {"top_k": 0, "top_p": 1.0}

log = logging.getLogger("interp")

Path = Literal["ragged", "batches", "alone"]


@dataclass(frozen=True)
class Generated:
    """The answers of each ablated model, and what they took.

    Attributes:
        answers: for each ablation one answer per request.
        counts: the counts of each ablation.
        paths: how requests were decoded: `ragged`; `batches` where the architecture's attention
            cannot be replaced; `alone` where only rows of their own are exact.
        tolerance: two logits closer than this are a near tie.
    """

    answers: list[list[Answer]]
    counts: list[Counts]
    paths: tuple[Path, ...]
    tolerance: float

    def __iter__(self) -> Iterator[list[Answer]]:
        return iter(self.answers)


def generate(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    *,
    means: Means | None = None,
    settings: Settings | None = None,
    finished: Finished = lambda number, request, answer: None,
    stepped: Stepped = lambda rows: None,
) -> Generated:
    """The answer of each ablated model (no edits: the baseline) to each request.

    In float32 the texts are those of plain decoding, one request at a time. Where a token's two
    largest logits (with the noise that draws it, where it is drawn) are closer than the model's
    rounding allows to tell apart, that row is decoded plainly up to there. In narrower types every
    second token would be such a near tie; there the order that is found counts.

    Args:
        model: a bridge.
        requests: prompts; what they have in common in front is run once per ablation.
        ablations: what changes in each run.
        means: what `@mean` puts (`mean_outputs`).
        settings: how to decode.
        finished: told each answer as it is finished, in the order in which they are.
        stepped: told how many rows each step has in which rows are decoded together.

    Returns:
        Answers by ablation and request, how many steps each way of decoding took, and the
        difference of two logits below which a token was decoded plainly.
    """
    settings = settings or Settings.for_model(models.decoder(model))
    hooked = [n for n, edits in enumerate(ablations) if edits.is_hooked]
    alone = [n for n, edits in enumerate(ablations) if edits.order or edits.is_scoped]
    for apart in (hooked, alone):
        if apart and len(apart) < len(ablations):
            some = partial(
                generate, model, requests, means=means, settings=settings, stepped=stepped
            )
            return _apart(some, ablations, apart, finished)
    if hooked:
        return _with_hooks(model, requests, ablations, means, finished)
    # blocks in another order share no batch with the model's own, and positions of a scope differ
    # from row to row
    settings = replace(settings, plain=settings.plain or bool(alone))
    say_what_is_left_out(model, requests)
    refuse_impossible(model, ablations)
    by_path: dict[Path, list[int]] = {}
    for number, request in enumerate(requests):
        by_path.setdefault(path_of(model, request, settings), []).append(number)
    answers: list[dict[int, Answer]] = [{} for _ in ablations]
    counts, tolerance = [Counts() for _ in ablations], 0.0
    for path, numbers in by_path.items():
        batch_requests = [requests[number] for number in numbers]
        tell = _renumbered(finished, requests=numbers)
        if path == "ragged":
            pick = sure_picking(model, batch_requests)
            tolerance = pick.tolerance
            run = Run(model, batch_requests, ablations, means=means, settings=settings, pick=pick)
            written, counts = run.all(tell, stepped)
        else:
            write = _in_batches if path == "batches" else _one_by_one
            written = write(model, batch_requests, ablations, means, tell)
        for found, texts in zip(answers, written, strict=True):
            found.update(zip(numbers, texts, strict=True))
    for count, found in zip(counts, answers, strict=True):
        count.written = sum(answer.n_tokens for answer in found.values())
    ordered = [[found[number] for number in range(len(requests))] for found in answers]
    return Generated(ordered, counts, tuple(by_path), tolerance)


def _with_hooks(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    means: Means | None,
    finished: Finished,
) -> Generated:
    """Hooks of a user's own, which see the bridge's blocks and whole rows."""
    say_what_is_left_out(model, requests)
    answers = [
        hooked_answers(model, requests, ablation, means, partial(finished, number))
        for number, ablation in enumerate(ablations)
    ]
    counts = [Counts() for _ in ablations]
    for count, found in zip(counts, answers, strict=True):
        count.written = sum(answer.n_tokens for answer in found)
    return Generated(answers, counts, ("batches",), 0.0)


def _apart(
    generate_under: Callable[..., Generated],
    ablations: Sequence[Edits],
    alone: Sequence[int],
    finished: Finished,
) -> Generated:
    """Ablations that share no batch with others by themselves, and the others together."""
    row_by_row = [number for number in range(len(ablations)) if number not in alone]
    answers: list[list[Answer]] = [[] for _ in ablations]
    counts, paths, tolerance = [Counts() for _ in ablations], dict[Path, None](), 0.0
    for numbers in (row_by_row, alone):
        batch_ablations = [ablations[number] for number in numbers]
        answers_of_chunk = generate_under(
            batch_ablations, finished=_renumbered(finished, ablations=numbers)
        )
        for at, number in enumerate(numbers):
            answers[number], counts[number] = (
                answers_of_chunk.answers[at],
                answers_of_chunk.counts[at],
            )
        paths |= dict.fromkeys(answers_of_chunk.paths)
        tolerance = max(tolerance, answers_of_chunk.tolerance)
    return Generated(answers, counts, tuple(paths), tolerance)


def _renumbered(
    finished: Finished,
    *,
    ablations: Sequence[int] | None = None,
    requests: Sequence[int] | None = None,
) -> Finished:
    """For work on some ablations or requests: tells their numbers among all."""

    def tell(number: int, request: int, answer: Answer) -> None:
        finished(
            number if ablations is None else ablations[number],
            request if requests is None else requests[request],
            answer,
        )

    return tell


def path_of(model: TransformerBridge, request: GenerationRequest, settings: Settings) -> Path:
    """How a request is decoded: the fastest way that is exact for this model at its length."""
    can, length = capabilities(model), len(request.prompt) + request.max_gen_toks
    if can.replays and not settings.plain and can.rounding(length) is not None:
        return "ragged"
    return "batches" if can.replays and can.pads_left(length) else "alone"


def say_what_is_left_out(model: TransformerBridge, requests: Sequence[GenerationRequest]) -> None:
    """`transformers` obeys a model's generation config even when it is greedy: here it does not."""
    decoder = models.decoder(model)
    config = getattr(decoder.root, "generation_config", None)
    sampled = any(request.sampling is not None for request in requests)
    messages = [
        f"{name} {value}"
        for name, neutral in (BEYOND_GREEDY | (DRAWS if sampled else {})).items()
        if (value := getattr(config, name, neutral)) not in (neutral, None, [])
    ]
    method, already_said = (
        "draws from" if sampled else "greedy decoding of",
        capabilities(model).said,
    )
    if messages and method not in already_said:
        already_said.add(method)
        log.warning(
            "model %s: its generation config asks for %s, which is left out (%s what the model "
            "says)",
            model_name(model), ", ".join(messages), method,
        )  # fmt: skip


def sure_picking(model: TransformerBridge, requests: Sequence[GenerationRequest]) -> Picking:
    """Picking with the tolerance that the ragged attention's rounding asks for."""
    exact = next(models.decoder(model).root.parameters()).dtype == torch.float32
    longest = max(len(request.prompt) + request.max_gen_toks for request in requests)
    noise = capabilities(model).rounding(longest)
    assert noise is not None
    return Picking(requests, TIE * max(noise, 1e-7) if exact else 0.0)


def _in_batches(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    means: Means | None,
    finished: Finished,
) -> list[list[Answer]]:
    """Batches that are padded on the left, by the model's own attention."""
    stops = stops_of(models.decoder(model), requests)
    answers: list[dict[int, Answer]] = [{} for _ in ablations]
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
        for number, (edits, found, written) in enumerate(
            zip(ablations, answers, every, strict=True)
        ):
            for i, answer in zip(batch, written, strict=True):
                # alone where it fails: zero times NaN is NaN, so that padding can spoil a row
                spoilt = answer.failure and len(batch) > 1
                found[i] = _alone(model, requests[i], edits, means) if spoilt else answer
                finished(number, i, found[i])
    return [[found[i] for i in prompts] for found in answers]


def _one_by_one(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    means: Means | None,
    finished: Finished,
) -> list[list[Answer]]:
    """Each request under each ablation in a row of its own, from its first layer on."""
    answers: list[list[Answer]] = []
    for number, edits in enumerate(ablations):
        answers.append([])
        for i, request in enumerate(requests):
            answers[-1].append(_alone(model, request, edits, means))
            finished(number, i, answers[-1][-1])
    return answers


def _alone(
    model: TransformerBridge, request: GenerationRequest, edits: Edits, means: Means | None
) -> Answer:
    (stop,) = stops_of(models.decoder(model), [request])
    caching = capabilities(model).caching(len(request.prompt) + request.max_gen_toks)
    return single_row(
        model, request.prompt, stop, edits, means=means, caching=caching,
        choose=choosing([request]),
    )  # fmt: skip

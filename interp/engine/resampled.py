"""Requests under `@resample`: every example is run with activations of its own donor.

The donor's sequence is its prompt and its right answer. Examples run one at a time, because no two
of a batch share a donor. The last position of a prompt takes what the donor's last prompt position
has, and answer position t that of the donor's answer position t.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits, Means, Outputs, Place, aligned, edited, outputs_on
from interp.engine.capabilities import capabilities, refuse_impossible
from interp.engine.generation.answers import path_of
from interp.engine.generation.grouping import stops_of
from interp.engine.generation.plain import plain_batches, single_row
from interp.engine.generation.run import Settings
from interp.engine.generation.sampling import choosing
from interp.engine.generation.stopping import Answer
from interp.engine.replay import record, replay
from interp.engine.scoring.packing import group_examples, padded_batches
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.engine.shortcuts import segments
from interp.tasks import (
    GenerationRequest,
    OptionRequest,
    Task,
    encode,
    encode_pair,
    prompt_text,
)

Scores = dict[int, Score]
BATCH_TOKENS = 4096


def resampled_scores(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    edits: Sequence[Edits],
    *,
    donors: Mapping[int, int],
    means: Means | None = None,
) -> Iterator[tuple[Edits, int, Scores]]:
    """Scores of options under each edit, one example at a time.

    Args:
        model: the model.
        task: the requests' task.
        requests: options of some examples.
        edits: the ablations.
        donors: example to donor (`draw_donors`).
        means: what `@mean` puts, where an edit also asks for it.

    Yields:
        Ablation, example, and request number to (log-likelihood in nats, greedy).
    """
    refuse_impossible(model, edits)
    decoder, wanted, replays = models.decoder(model), _places(edits), capabilities(model).replays
    numbers: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        numbers.setdefault(request.doc_id, []).append(number)
    for doc_id, mine in numbers.items():
        outputs, donor_end = _donor(model, task, donors[doc_id], wanted)
        found: dict[Edits, Scores] = {one: {} for one in edits}
        for chosen in _alike(model, requests, mine):
            end = len(requests[chosen[0]].context) - 1
            (group,) = group_examples([requests[n] for n in chosen], prefixes=False, trees=False)
            for batch in padded_batches(group.trees, BATCH_TOKENS):
                ids = torch.from_numpy(batch.ids).to(decoder.device)
                baseline = record(decoder, ids, use_cache=False) if replays else None
                targets = ScoredPositions.of(batch, ids.device)
                there = _aligned(outputs, end, donor_end, ids.shape[1])
                for one in edits:
                    with edited(model, one, means, there):
                        if baseline is None:
                            resid = record(decoder, ids, use_cache=False).residuals[-1]
                        else:
                            resid = replay(decoder, baseline, one.first_layer(decoder.n_layers))
                        scored = targets.scores(decoder, resid)
                    found[one].update({chosen[n]: value for n, value in scored.items()})
        yield from ((one, doc_id, scores) for one, scores in found.items())


def _alike(
    model: TransformerBridge, requests: Sequence[OptionRequest], numbers: Sequence[int]
) -> Iterator[list[int]]:
    """Requests of one example whose prompts have the same length and which may share a batch."""
    by_prompt: dict[int, list[int]] = {}
    for number in numbers:
        by_prompt.setdefault(len(requests[number].context), []).append(number)
    for _, some in sorted(by_prompt.items()):
        for part in segments(model, [requests[number].row_length for number in some]):
            yield [some[i] for i in part]


def resampled_answers(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    edits: Sequence[Edits],
    *,
    donors: Mapping[int, int],
    means: Means | None = None,
) -> Iterator[tuple[Edits, int, Answer]]:
    """Answers under each edit, one request at a time.

    Args:
        model: the model.
        task: the requests' task.
        requests: prompts of some examples, those of one example together.
        edits: the ablations.
        donors: example to donor (`draw_donors`).
        means: what `@mean` puts, where an edit also asks for it.

    Yields:
        Ablation, number of the request, answer.
    """
    refuse_impossible(model, edits)
    wanted = _places(edits)
    for i, request in enumerate(requests):
        if not i or request.doc_id != requests[i - 1].doc_id:
            outputs, donor_end = _donor(model, task, donors[request.doc_id], wanted)
        length = len(request.prompt) + request.max_gen_toks
        there = _aligned(outputs, len(request.prompt) - 1, donor_end, length)
        (stop,), choose = stops_of(models.decoder(model), [request]), choosing([request])
        if path_of(model, request, Settings(plain=True)) == "batches":
            answers = plain_batches(
                model,
                [request.prompt],
                [stop],
                edits,
                means=means,
                resample=there,
                choose=choose,
            )
            yield from ((one, i, answer) for one, (answer,) in zip(edits, answers, strict=True))
            continue
        caching = capabilities(model).caching(length)
        for one in edits:
            yield (
                one,
                i,
                single_row(
                    model,
                    request.prompt,
                    stop,
                    one,
                    means=means,
                    caching=caching,
                    resample=there,
                    choose=choose,
                ),
            )


def donor_tokens(model: TransformerBridge, task: Task, doc_id: int) -> tuple[list[int], int]:
    """Tokens of an example with its right answer, and the last position of its prompt."""
    decoder, document = models.decoder(model), task.documents()[doc_id]
    prompt, delimiter = prompt_text(task, document), task.target_delimiter
    if task.generates:
        # a prompt that is generated from keeps its trailing spaces, unlike one that is scored
        before = encode(prompt, decoder)
        whole = encode(prompt + delimiter + task.target_text(document), decoder)
        behind = whole[len(before) :] if whole[: len(before)] == before else []
    else:
        before, behind = encode_pair(prompt, delimiter + task.target_text(document), decoder)
    tokens = before + behind
    cut = max(0, len(tokens) - decoder.max_length)
    return tokens[cut:], len(before) - 1 - cut


def _donor(
    model: TransformerBridge, task: Task, doc_id: int, wanted: Sequence[Place]
) -> tuple[dict[Place, Tensor], int]:
    tokens, end = donor_tokens(model, task, doc_id)
    return outputs_on(model, tokens, wanted), end


def _aligned(outputs: Mapping[Place, Tensor], end: int, donor_end: int, length: int) -> Outputs:
    return {
        place: aligned(one, end=end, donor_end=donor_end, length=length).unsqueeze(0)
        for place, one in outputs.items()
    }


def _places(edits: Sequence[Edits]) -> list[Place]:
    return sorted({place for one in edits for place in one.resampled})

"""Requests under ablations that differ from example to example: each example is run alone.

Under `@resample` a part takes what it gives on the example's donor, whose sequence is its prompt
and its right answer. The last position of a prompt takes what the donor's last prompt position has,
and answer position t that of the donor's answer position t. Under a cut, positions of one class
cannot see those of another, and where they are is the example's own.

What acts at some positions only changes nothing before them. So keys and values are kept of one
unablated pass, and an ablation runs from its first position and its first layer on; ablations go
through the layers after their own together (`one_example.stacks`). What all prompts start with is
run once, where no ablation acts there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import (
    Edits,
    Example,
    Means,
    Outputs,
    Place,
    aligned,
    of_the_row,
    outputs_on,
)
from interp.engine.capabilities import capabilities, refuse_impossible
from interp.engine.generation.answers import path_of
from interp.engine.generation.grouping import stops_of
from interp.engine.generation.plain import plain_batches, single_row
from interp.engine.generation.run import Settings
from interp.engine.generation.sampling import choosing
from interp.engine.generation.stopping import Answer
from interp.engine.one_example import ExampleBatch, first_position
from interp.engine.prefix import Prefix, expand, record_prefix
from interp.engine.scoring.packing import group_examples, padded_batches
from interp.engine.scoring.targets import Score
from interp.engine.shortcuts import EVERY, Shortcuts, exact_shortcuts, segments
from interp.tasks import (
    GenerationRequest,
    OptionRequest,
    Task,
    class_positions,
    encode,
    encode_pair,
    prompt_text,
    twin_tokens,
)

Scores = dict[int, Score]
BATCH_TOKENS = 4096
# a pass of its own costs about as much as so many tokens more in every example
LEAST_SHARED = 16


@dataclass(frozen=True, eq=False)
class _Examples:
    """What ablations take from, and ask of, the examples of a task.

    Attributes:
        model: the model.
        task: the examples' task.
        edits: the ablations.
        donors: example to donor (`draw_donors`), where something is resampled.
        shared: what all prompts start with, where it is run for all of them together.
    """

    model: TransformerBridge
    task: Task
    edits: tuple[Edits, ...]
    donors: Mapping[int, int] | None
    shared: Prefix | None = None

    def example(self, doc_id: int, context: Sequence[int]) -> tuple[Example, Prefix | None]:
        """Where classes of positions are in one prompt, and what its twin and later layers have.

        With it comes what the prompt shares with others, where every ablation acts after it.
        """
        places = {place for edit in self.edits for place in edit.patched}
        back = {place for edit in self.edits for place in edit.put_back}
        tokens: Sequence[int] = ()
        if places:
            tokens = twin_tokens(self.task, doc_id, models.decoder(self.model), context=context)
        example = _placed(self.model, self.task, doc_id, self.edits, context)
        shared = self.shared
        if shared and min(first_position(edit, example) for edit in self.edits) < len(shared):
            shared = None
        if places:
            example = replace(example, twin=self._on(tokens, places, shared))
        if back:
            example = replace(example, later=self._on(context, back, shared))
        return example, shared

    def _on(self, tokens: Sequence[int], places: set[Place], shared: Prefix | None) -> Outputs:
        before = None
        if shared is not None and tuple(tokens[: len(shared)]) == shared.tokens:
            before = expand(shared.cache, 1)
        outputs = outputs_on(self.model, tokens, sorted(places), before=before)
        return {place: output[None] for place, output in outputs.items()}

    def outputs(self, doc_id: int) -> tuple[dict[Place, Tensor], int]:
        """What the ablations take from the donor, and the last position of its prompt."""
        wanted = sorted({place for edit in self.edits for place in edit.resampled})
        if not wanted:
            return {}, 0
        assert self.donors is not None
        tokens, end = donor_tokens(self.model, self.task, self.donors[doc_id])
        return outputs_on(self.model, tokens, wanted), end


def example_of(
    model: TransformerBridge,
    task: Task,
    doc_id: int,
    edits: Sequence[Edits],
    context: Sequence[int],
) -> Example:
    """Where the classes of positions that ablations name are in one prompt.

    Args:
        model: the model.
        task: the example's task.
        doc_id: the example.
        edits: the ablations.
        context: tokens of the prompt as they are run.

    Returns:
        The classes that are named, and where the prompt ends.

    Raises:
        UserError: the example has no such class, or no twin of the same length where it needs one.
    """
    if any(edit.patched for edit in edits):
        twin_tokens(task, doc_id, models.decoder(model), context=context)
    return _placed(model, task, doc_id, edits, context)


def _placed(
    model: TransformerBridge,
    task: Task,
    doc_id: int,
    edits: Sequence[Edits],
    context: Sequence[int],
) -> Example:
    """Where the classes that ablations name are in one prompt."""
    names = of_the_row(name for edit in edits for name in edit.position_classes)
    classes = class_positions(task, doc_id, names, models.decoder(model), context=context)
    return Example(len(context), classes)


def scores_by_example(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    edits: Sequence[Edits],
    *,
    donors: Mapping[int, int] | None = None,
    means: Means | None = None,
    shortcuts: Shortcuts = EVERY,
    divergence: bool = False,
) -> Iterator[tuple[Edits, int, Scores]]:
    """Scores of options under each edit, one example at a time.

    Args:
        model: the model.
        task: the requests' task.
        requests: options of some examples.
        edits: the ablations.
        donors: example to donor (`draw_donors`), where something is resampled.
        means: what `@mean` puts, where an edit also asks for it.
        shortcuts: what to share and leave out; never changes a result.
        divergence: compare with what the whole model predicts (scores are `Compared`).

    Yields:
        Ablation, example, and request number to (log-likelihood in nats, greedy).
    """
    refuse_impossible(model, edits)
    longest = max((request.row_length for request in requests), default=0)
    exact = exact_shortcuts(model, shortcuts, longest)
    shared = _shared_start(requests) if exact.prefixes else ()
    prefix = record_prefix(models.decoder(model), shared) if shared else None
    examples = _Examples(model, task, tuple(edits), donors, prefix)
    numbers: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        numbers.setdefault(request.doc_id, []).append(number)
    for doc_id, numbers_of in numbers.items():
        outputs, donor_end = examples.outputs(doc_id)
        by_edits: dict[Edits, Scores] = {edit: {} for edit in edits}
        for chosen in _alike(model, requests, numbers_of):
            context = requests[chosen[0]].context
            example, shared_prefix = examples.example(doc_id, context)
            (group,) = group_examples([requests[n] for n in chosen], prefixes=False, trees=False)
            for batch in padded_batches(group.trees, BATCH_TOKENS):
                source_outputs = _aligned(outputs, len(context) - 1, donor_end, batch.ids.shape[1])
                run = ExampleBatch(
                    model, batch, example, exact, means, source_outputs, divergence, shared_prefix
                )
                for edit, scored in run.scores(edits):
                    by_edits[edit].update({chosen[n]: value for n, value in scored.items()})
        yield from ((edit, doc_id, scores) for edit, scores in by_edits.items())


def _shared_start(requests: Sequence[OptionRequest]) -> tuple[int, ...]:
    """What the prompts of all examples start with, where it is long enough to be run apart."""
    contexts = sorted({request.context for request in requests})
    if len(contexts) < 2:
        return ()
    first, last = contexts[0], contexts[-1]
    pairs = enumerate(zip(first, last, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(first), len(last)))
    common = min(common, *(len(context) - 1 for context in contexts))
    return tuple(first[:common]) if common >= LEAST_SHARED else ()


def _alike(
    model: TransformerBridge, requests: Sequence[OptionRequest], numbers: Sequence[int]
) -> Iterator[list[int]]:
    """Requests of one example whose prompts have the same length and which may share a batch."""
    by_prompt: dict[int, list[int]] = {}
    for number in numbers:
        by_prompt.setdefault(len(requests[number].context), []).append(number)
    for _, group in sorted(by_prompt.items()):
        for part in segments(model, [requests[number].row_length for number in group]):
            yield [group[i] for i in part]


def answers_by_example(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    edits: Sequence[Edits],
    *,
    donors: Mapping[int, int] | None = None,
    means: Means | None = None,
) -> Iterator[tuple[Edits, int, Answer]]:
    """Answers under each edit, one request at a time.

    Args:
        model: the model.
        task: the requests' task.
        requests: prompts of some examples, those of one example together.
        edits: the ablations.
        donors: example to donor (`draw_donors`), where something is resampled.
        means: what `@mean` puts, where an edit also asks for it.

    Yields:
        Ablation, number of the request, answer.
    """
    refuse_impossible(model, edits)
    examples = _Examples(model, task, tuple(edits), donors)
    for i, request in enumerate(requests):
        if not i or request.doc_id != requests[i - 1].doc_id:
            outputs, donor_end = examples.outputs(request.doc_id)
            example, _ = examples.example(request.doc_id, request.prompt)
        length = len(request.prompt) + request.max_gen_toks
        source_outputs = _aligned(outputs, len(request.prompt) - 1, donor_end, length)
        (stop,), choose = stops_of(models.decoder(model), [request]), choosing([request])
        if path_of(model, request, Settings(plain=True)) == "batches":
            answers = plain_batches(
                model,
                [request.prompt],
                [stop],
                edits,
                means=means,
                resample=source_outputs,
                example=example,
                choose=choose,
            )
            yield from ((edit, i, answer) for edit, (answer,) in zip(edits, answers, strict=True))
            continue
        caching = capabilities(model).caching(length)
        for edit in edits:
            answer = single_row(
                model,
                request.prompt,
                stop,
                edit,
                means=means,
                caching=caching,
                resample=source_outputs,
                example=example,
                choose=choose,
            )
            yield edit, i, answer


def donor_tokens(model: TransformerBridge, task: Task, doc_id: int) -> tuple[list[int], int]:
    """Tokens of an example with its right answer, and the last position of its prompt."""
    decoder, document = models.decoder(model), task.documents()[doc_id]
    prompt, delimiter = prompt_text(task, document), task.target_delimiter
    if task.generates:
        # a prompt that is generated from keeps its trailing spaces, unlike one that is scored
        before = encode(prompt, decoder)
        whole = encode(prompt + delimiter + task.target_text(document), decoder)
        answer_tokens = whole[len(before) :] if whole[: len(before)] == before else []
    else:
        before, answer_tokens = encode_pair(prompt, delimiter + task.target_text(document), decoder)
    tokens = before + answer_tokens
    cut = max(0, len(tokens) - decoder.max_length)
    return tokens[cut:], len(before) - 1 - cut


def _aligned(outputs: Mapping[Place, Tensor], end: int, donor_end: int, length: int) -> Outputs:
    return {
        place: aligned(output, end=end, donor_end=donor_end, length=length).unsqueeze(0)
        for place, output in outputs.items()
    }

"""Generated answers become records: the text, whether it was cut, and the task's metrics."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Means, Variant
from interp.engine import (
    Answer,
    Compared,
    Score,
    answers_by_example,
    generate,
    score_requests,
    scores_by_example,
)
from interp.records import Record
from interp.sweeps.outcomes import record_of
from interp.sweeps.telling import NOBODY, Told
from interp.tasks import GenerationRequest, OptionRequest, Task, divergence_metrics

CUT = "cut"
"""The metric that says which share of an example's answers the token limit cut."""


def text_records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Sequence[Variant],
    *,
    means: Means | None = None,
    told: Told = NOBODY,
) -> Iterator[Record]:
    """Generate under every ablation and score the answers.

    An answer that the token limit cut is scored as it stands, and counted in the metric `cut`: it
    is not finished, which is not the same as wrong. Several draws of one example are one record:
    they are not independent examples.

    Args:
        model: the model.
        task: whose filters and metrics.
        requests: its prompts, as often as answers are drawn.
        variants: the baseline and the ablations.
        means: what `@mean` puts (`mean_outputs`).
        told: what is told of finished pairs and their records, as they are finished.

    Yields:
        One record per ablation and example.
    """
    edits = [variant.edits for variant in variants]
    collected = _Collected(model, task, requests, variants, told)
    generated = list(
        generate(model, requests, edits, means=means, finished=collected.add, stepped=told.step)
    )
    if not task.compared:
        yield from collected.in_order()
        return
    read = _TeacherForced.of(model, task, requests, dict(zip(edits, generated, strict=True)))
    beside = read.scores(edits, means=means)
    for variant, answers in zip(variants, generated, strict=True):
        compared = read.by_example(beside.get(variant.edits))
        yield from _records(model, task, requests, variant, answers, compared)


def text_records_by_example(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Sequence[Variant],
    *,
    donors: Mapping[int, int] | None = None,
    means: Means | None = None,
    told: Told = NOBODY,
) -> Iterator[Record]:
    """As `text_records`, where what an ablation does differs from example to example."""
    edits = [variant.edits for variant in variants]
    collected = _Collected(model, task, requests, variants, told)
    answers: dict[Edits, dict[int, Answer]] = {edit: {} for edit in edits}
    for edit, number, answer in answers_by_example(
        model, task, requests, edits, donors=donors, means=means
    ):
        answers[edit][number] = answer
        for place, variant in enumerate(variants):
            if variant.edits == edit:
                collected.add(place, number, answer)
    if not task.compared:
        yield from collected.in_order()
        return
    read = _TeacherForced.of(model, task, requests, {})
    beside = read.scores_by_example(edits, donors=donors, means=means)
    for variant in variants:
        of_variant = answers[variant.edits]
        ordered = [of_variant[number] for number in range(len(requests))]
        compared = read.by_example(beside.get(variant.edits))
        yield from _records(model, task, requests, variant, ordered, compared)


class _Collected:
    """Answers as they are finished; a record as soon as all draws of its example are.

    Where the answers are compared with the whole model's, there is no record before all of them
    are read.
    """

    def __init__(
        self,
        model: TransformerBridge,
        task: Task,
        requests: Sequence[GenerationRequest],
        variants: Sequence[Variant],
        told: Told,
    ) -> None:
        self.model, self.task, self.requests = model, task, requests
        self.variants, self.told = variants, told
        self.numbers: dict[int, list[int]] = {}
        for number, request in enumerate(requests):
            self.numbers.setdefault(request.doc_id, []).append(number)
        self.answers: dict[tuple[int, int], dict[int, Answer]] = {}
        self.records: dict[tuple[int, int], Record] = {}

    def add(self, place: int, number: int, answer: Answer) -> None:
        """Take an answer: the place of its ablation, the number of its request."""
        doc_id = self.requests[number].doc_id
        found, wanted = self.answers.setdefault((place, doc_id), {}), self.numbers[doc_id]
        found[number] = answer
        if len(found) < len(wanted):
            return
        if not self.task.compared:
            requests = [self.requests[n] for n in wanted]
            answers = [found[n] for n in wanted]
            (record,) = _records(self.model, self.task, requests, self.variants[place], answers, {})
            self.records[place, doc_id] = record
            self.told.record(record)
        self.told.pairs(1)

    def in_order(self) -> Iterator[Record]:
        """The records by ablation and then by example."""
        for place in range(len(self.variants)):
            for doc_id in self.numbers:
                yield self.records[place, doc_id]


def _records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variant: Variant,
    answers: Sequence[Answer],
    compared: Mapping[int, Mapping[str, float]],
) -> Iterator[Record]:
    """One record per example, from the one answer to it or from all that were drawn."""
    drawn: dict[int, list[tuple[GenerationRequest, Answer]]] = {}
    for request, answer in zip(requests, answers, strict=True):
        drawn.setdefault(request.doc_id, []).append((request, answer))
    for doc_id, pairs in drawn.items():
        document, (request, first) = task.documents()[doc_id], pairs[0]
        own_answers = [answer for _, answer in pairs]
        draws = None if request.sampling is None else tuple(answer.text for answer in own_answers)
        metrics = task.score_texts(document, task.given_answers(first.text, draws))
        unfinished = sum(not answer.finished for answer in own_answers)
        yield record_of(
            model,
            task,
            variant,
            doc_id,
            metrics={**metrics, **compared.get(doc_id, {}), CUT: unfinished / len(own_answers)},
            failure=next((answer.failure for answer in own_answers if answer.failure), ""),
            token_counts=tuple(answer.n_tokens for answer in own_answers),
            text=first.text,
            draws=draws,
            finished=not unfinished,
            cut_tokens=request.truncated_tokens,
        )


@dataclass(frozen=True, eq=False)
class _TeacherForced:
    """The whole model's answers, read token by token under ablations.

    Attributes:
        model: the model.
        task: the task.
        answers: the answers of the whole model, as continuations that are scored; none where
            nothing is compared.
    """

    model: TransformerBridge
    task: Task
    answers: tuple[OptionRequest, ...]

    @classmethod
    def of(
        cls,
        model: TransformerBridge,
        task: Task,
        requests: Sequence[GenerationRequest],
        found: Mapping[Edits, Sequence[Answer]],
    ) -> "_TeacherForced":
        """The answers among those that were found, else generated now."""
        if not task.compared:
            return cls(model, task, ())
        if Edits() in found:
            whole = found[Edits()]
        else:
            (whole,) = generate(model, requests, [Edits()])
        pairs = zip(requests, whole, strict=True)
        # a token that failed is none
        answers = (
            OptionRequest(request.doc_id, request.draw, request.prompt, answer.tokens)
            for request, answer in pairs
            if answer.tokens and not answer.failure
        )
        return cls(model, task, tuple(answers))

    def scores(self, edits: Sequence[Edits], *, means: Means | None) -> dict[Edits, list[Score]]:
        """What is predicted along the answers, beside the whole model."""
        if not self.answers:
            return {}
        scores = score_requests(self.model, self.answers, edits, means=means, divergence=True)
        return dict(zip(edits, scores, strict=True))

    def scores_by_example(
        self,
        edits: Sequence[Edits],
        *,
        donors: Mapping[int, int] | None,
        means: Means | None,
    ) -> dict[Edits, list[Score]]:
        """As `scores`, where what an ablation does differs from example to example."""
        if not self.answers:
            return {}
        by_edits: dict[Edits, dict[int, Score]] = {edit: {} for edit in edits}
        for edit, _, scored in scores_by_example(
            self.model, self.task, self.answers, edits, donors=donors, means=means, divergence=True
        ):
            by_edits[edit].update(scored)
        return {edit: [scores[n] for n in sorted(scores)] for edit, scores in by_edits.items()}

    def by_example(self, scores: Sequence[Score] | None) -> dict[int, dict[str, float]]:
        """Metrics of each example whose answer was read, over all its draws."""
        scores_of: dict[int, list[tuple[Score, int]]] = {}
        for request, score in zip(self.answers, scores or (), strict=True):
            scores_of.setdefault(request.doc_id, []).append((score, len(request.continuation)))
        documents = self.task.documents()
        return {
            doc_id: divergence_metrics(
                self.task,
                documents[doc_id],
                [(s.kl, s.agreed) for s, _ in pairs if isinstance(s, Compared)],
                [count for _, count in pairs],
            )
            for doc_id, pairs in scores_of.items()
        }

"""Generated answers become records: the text, whether it was cut, and the task's metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Means, Variant
from interp.engine import Answer, answers_by_example, generate
from interp.records import Record
from interp.sweeps.outcomes import record_of
from interp.tasks import GenerationRequest, Task

CUT = "cut"
"""The metric that says which share of an example's answers the token limit cut."""


def text_records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Sequence[Variant],
    *,
    means: Means | None = None,
    done: Callable[[int], Any] = lambda answers: None,
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
        done: told how many answers are finished, as they are.

    Yields:
        One record an ablation and example.
    """
    edits = [one.edits for one in variants]
    found = generate(model, requests, edits, means=means, done=_by_example(requests, done))
    for variant, answers in zip(variants, found, strict=True):
        yield from _records(model, task, requests, variant, answers)


def text_records_by_example(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Sequence[Variant],
    *,
    donors: Mapping[int, int] | None = None,
    means: Means | None = None,
    done: Callable[[int], Any] = lambda answers: None,
) -> Iterator[Record]:
    """As `text_records`, where what an ablation does differs from example to example."""
    told, edits = _by_example(requests, done), [one.edits for one in variants]
    answers: dict[Edits, dict[int, Answer]] = {one: {} for one in edits}
    for one, number, answer in answers_by_example(
        model, task, requests, edits, donors=donors, means=means
    ):
        told(1)
        answers[one][number] = answer
    for variant in variants:
        found = answers[variant.edits]
        ordered = [found[number] for number in range(len(requests))]
        yield from _records(model, task, requests, variant, ordered)


def _records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variant: Variant,
    answers: Sequence[Answer],
) -> Iterator[Record]:
    """One record per example, from the one answer to it or from all that were drawn."""
    drawn: dict[int, list[tuple[GenerationRequest, Answer]]] = {}
    for request, answer in zip(requests, answers, strict=True):
        drawn.setdefault(request.doc_id, []).append((request, answer))
    for doc_id, pairs in drawn.items():
        document, (request, first) = task.documents()[doc_id], pairs[0]
        own = [answer for _, answer in pairs]
        draws = None if request.sampling is None else tuple(answer.text for answer in own)
        metrics = task.score_texts(document, task.given_answers(first.text, draws))
        unfinished = sum(not answer.finished for answer in own)
        yield record_of(
            model,
            task,
            variant,
            doc_id,
            metrics={**metrics, CUT: unfinished / len(own)},
            failure=next((answer.failure for answer in own if answer.failure), ""),
            token_counts=tuple(answer.n_tokens for answer in own),
            text=first.text,
            draws=draws,
            finished=not unfinished,
            cut_tokens=request.truncated_tokens,
        )


def _by_example(
    requests: Sequence[GenerationRequest], done: Callable[[int], Any]
) -> Callable[[int], Any]:
    """Turns a count of finished answers into one of examples, which may have several."""
    examples, answers, told = len({request.doc_id for request in requests}), 0, 0

    def tell(finished: int) -> None:
        nonlocal answers, told
        answers += finished
        whole = answers * examples // len(requests)
        if whole > told:
            done(whole - told)
            told = whole

    return tell

"""Generated answers become records: the text, whether it was cut, and the task's metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import nan
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, HeadMeans
from interp.engine import Answer, generate, resampled_answers
from interp.models import model_name
from interp.records import Record
from interp.tasks import GenerationRequest, Task

CUT = "cut"
"""The metric that says which share of an example's answers the token limit cut."""


def text_records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[tuple[str, Edits]],
    *,
    means: HeadMeans | None = None,
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
        ablations: text form and edits of each; no edits are the baseline.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        done: told how many answers are finished, as they are.
    """
    every = [edits for _, edits in ablations]
    found = generate(model, requests, every, means=means, done=_by_example(requests, done))
    for (text, _), answers in zip(ablations, found, strict=True):
        yield from _records(model, task, requests, text, answers)


def resampled_text_records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[tuple[str, Edits]],
    *,
    donors: Mapping[int, int],
    means: HeadMeans | None = None,
    done: Callable[[int], Any] = lambda answers: None,
) -> Iterator[Record]:
    """As `text_records`, where heads take their z from another example (`draw_donors`)."""
    told, answers = _by_example(requests, done), [dict[int, Answer]() for _ in ablations]
    for number, i, answer in resampled_answers(
        model, task, requests, [edits for _, edits in ablations], donors=donors, means=means
    ):
        told(1)
        answers[number][i] = answer
    for (text, _), found in zip(ablations, answers, strict=True):
        yield from _records(model, task, requests, text, [found[i] for i in range(len(requests))])


def _records(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    text: str,
    answers: Sequence[Answer],
) -> Iterator[Record]:
    """One record an example, from the one answer to it or from all that were drawn."""
    drawn: dict[int, list[tuple[GenerationRequest, Answer]]] = {}
    for request, answer in zip(requests, answers, strict=True):
        drawn.setdefault(request.doc_id, []).append((request, answer))
    for doc_id, pairs in drawn.items():
        document, (request, first) = task.documents()[doc_id], pairs[0]
        own = [answer for _, answer in pairs]
        draws = None if request.sampling is None else tuple(answer.text for answer in own)
        metrics = task.score_texts(document, task.given_answers(first.text, draws))
        unfinished = sum(not answer.finished for answer in own)
        metrics = {**metrics, CUT: unfinished / len(own)}
        failure = next((answer.failure for answer in own if answer.failure), "")
        yield Record(
            model=model_name(model),
            task=task.name,
            doc_id=doc_id,
            ablation=text,
            target=task.target_text(document),
            token_counts=tuple(answer.n_tokens for answer in own),
            text=first.text,
            draws=draws,
            finished=not unfinished,
            cut_tokens=request.truncated_tokens,
            metrics=dict.fromkeys(metrics, nan) if failure else metrics,
            failure=failure,
        )


def _by_example(
    requests: Sequence[GenerationRequest], done: Callable[[int], Any]
) -> Callable[[int], Any]:
    """Tells of examples where it is told of answers, of which an example may have several."""
    examples, answers, told = len({request.doc_id for request in requests}), 0, 0

    def tell(finished: int) -> None:
        nonlocal answers, told
        answers += finished
        whole = answers * examples // len(requests)
        if whole > told:
            done(whole - told)
            told = whole

    return tell

"""Generated answers become records: the text, whether it was cut, and the task's metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.means import HeadMeans
from interp.ablations.values import Edits
from interp.decode import Answer, generate
from interp.metrics import target_text, text_metrics
from interp.models import model_name
from interp.records import Record
from interp.requests import GenerationRequest
from interp.resampled import resampled_answers
from interp.tasks import Task

CUT = "cut"
"""The metric that says whether the token limit cut an answer: its mean is the share of such."""


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
    is not finished, which is not the same as wrong.

    Args:
        model: the model.
        task: whose filters and metrics.
        requests: its prompts.
        ablations: text form and edits of each; no edits are the baseline.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        done: told how many answers are finished, as they are.
    """
    found = generate(model, requests, [edits for _, edits in ablations], means=means, done=done)
    for (text, _), answers in zip(ablations, found, strict=True):
        for request, answer in zip(requests, answers, strict=True):
            yield _record(model, task, request, text, answer)


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
    by_document = {request.doc_id: request for request in requests}
    for number, doc_id, answer in resampled_answers(
        model, task, requests, [edits for _, edits in ablations], donors=donors, means=means
    ):
        done(1)
        yield _record(model, task, by_document[doc_id], ablations[number][0], answer)


def _record(
    model: TransformerBridge, task: Task, request: GenerationRequest, text: str, answer: Answer
) -> Record:
    document = task.documents()[request.doc_id]
    metrics = text_metrics(task, document, answer.text)
    return Record(
        model=model_name(model),
        task=task.name,
        doc_id=request.doc_id,
        ablation=text,
        target=target_text(task, document),
        token_counts=(answer.n_tokens,),
        text=answer.text,
        finished=answer.finished,
        cut_tokens=request.cut,
        metrics={**metrics, CUT: float(not answer.finished)},
    )

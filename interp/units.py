"""One work unit of a sweep: some examples of one task, the baseline and every ablation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.means import HeadMeans
from interp.ablations.values import Edits
from interp.decode import Answer, generate
from interp.metrics import option_metrics, target_text, text_metrics
from interp.models import decoder, model_name
from interp.records import Record
from interp.requests import GenerationRequest, OptionRequest, build_requests
from interp.scoring import score_requests
from interp.shortcuts import EVERY, Shortcuts
from interp.tasks import Task

# tokens of one batch, padding counted: enough to fill two cores, small enough for any laptop
TOKEN_BUDGET = 8192


@dataclass(frozen=True)
class WorkUnit:
    """Some examples of one task; its name is the same wherever it is run.

    Attributes:
        task: position of the task in the sweep.
        name: of the shard.
        doc_ids: rows of the task.
    """

    task: int
    name: str
    doc_ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Variants:
    """The baseline and the ablations, each with its text and its edits; the baseline is first."""

    texts: tuple[str, ...]
    edits: tuple[Edits, ...]
    means: HeadMeans | None = None


def run_unit(
    model: TransformerBridge,
    task: Task,
    unit: WorkUnit,
    variants: Variants,
    *,
    shortcuts: Shortcuts = EVERY,
    done: Callable[[int], Any] = lambda examples: None,
) -> list[Record]:
    """The records of one unit: every example under the baseline and every ablation.

    Args:
        model: the model.
        task: the unit's task.
        unit: which examples.
        variants: the baseline and the ablations.
        shortcuts: what the engine shares and leaves out; never changes a result.
        done: told how many (example, ablation) pairs have been computed, as they are.
    """
    requests = build_requests(task, unit.doc_ids, decoder(model))
    if task.generates:
        return list(_texts(model, task, requests, variants, done))  # type: ignore[arg-type]
    return list(_options(model, task, requests, variants, shortcuts, done))  # type: ignore[arg-type]


def _options(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    variants: Variants,
    shortcuts: Shortcuts,
    done: Callable[[int], Any],
) -> Iterator[Record]:
    results = score_requests(
        model, requests, variants.edits, means=variants.means, shortcuts=shortcuts, done=done
    )
    documents = task.documents()
    by_document: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        by_document.setdefault(request.doc_id, []).append(number)
    for text, scored in zip(variants.texts, results, strict=True):
        for doc_id, numbers in by_document.items():
            responses = [scored[n] for n in numbers]
            yield Record(
                model=model_name(model),
                task=task.name,
                doc_id=doc_id,
                ablation=text,
                target=target_text(task, documents[doc_id]),
                loglikelihoods=tuple(value for value, _ in responses),
                token_counts=tuple(len(requests[n].continuation) for n in numbers),
                greedy=tuple(greedy for _, greedy in responses),
                cut_tokens=max(requests[n].cut for n in numbers),
                metrics=option_metrics(task, documents[doc_id], responses),
            )


def _texts(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Variants,
    done: Callable[[int], Any],
) -> Iterator[Record]:
    documents = task.documents()
    answers: list[dict[int, Answer]] = [{} for _ in variants.texts]
    longest_first = sorted(requests, key=lambda r: -len(r.prompt))
    for batch in _generation_batches(longest_first):
        every = generate(model, batch, variants.edits, means=variants.means)
        for found, written in zip(answers, every, strict=True):
            found.update({r.doc_id: a for r, a in zip(batch, written, strict=True)})
            done(len(batch))
    for text, found in zip(variants.texts, answers, strict=True):
        for request in requests:
            answer, document = found[request.doc_id], documents[request.doc_id]
            yield Record(
                model=model_name(model),
                task=task.name,
                doc_id=request.doc_id,
                ablation=text,
                target=target_text(task, document),
                token_counts=(answer.n_tokens,),
                text=answer.text,
                finished=answer.finished,
                cut_tokens=request.cut,
                metrics=text_metrics(task, document, answer.text),
            )


def _generation_batches(requests: Sequence[GenerationRequest]) -> list[list[GenerationRequest]]:
    result: list[list[GenerationRequest]] = []
    for request in requests:
        size = len(requests[0].prompt) + request.max_gen_toks
        if result and (len(result[-1]) + 1) * size <= 2 * TOKEN_BUDGET:
            result[-1].append(request)
        else:
            result.append([request])
    return result

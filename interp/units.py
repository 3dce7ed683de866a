"""One work unit of a sweep: some examples of one task, the baseline and every ablation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.means import HeadMeans
from interp.ablations.values import Edits
from interp.metrics import option_metrics, target_text
from interp.models import decoder, model_name
from interp.records import Record
from interp.requests import OptionRequest, build_requests
from interp.scoring import score_requests
from interp.shortcuts import EVERY, Shortcuts
from interp.tasks import Task
from interp.texts import text_records


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
        ablations = tuple(zip(variants.texts, variants.edits, strict=True))
        return list(
            text_records(
                model,
                task,
                requests,  # type: ignore[arg-type]
                ablations,
                means=variants.means,
                done=done,
            )
        )
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

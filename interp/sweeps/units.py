"""One work unit of a sweep: some examples of one task, the baseline and every ablation."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, HeadMeans
from interp.engine import (
    EVERY,
    NOT_FINITE,
    Score,
    Shortcuts,
    resampled_scores,
    score_requests,
)
from interp.models import decoder, model_name
from interp.records import Record
from interp.sweeps.text_records import resampled_text_records, text_records
from interp.tasks import (
    CheckedRequests,
    GenerationRequest,
    OptionRequest,
    Task,
    checked_requests,
)

log = logging.getLogger("interp")

NO_OUTCOME: Score = (0.0, False)
"""In the place of a score that is not finite, where metrics are asked for their names."""


@dataclass(frozen=True)
class WorkUnit:
    """Some examples of one task; its name is the same wherever it is run.

    Attributes:
        task: position of the task in the sweep.
        name: of the shard.
        doc_ids: rows of the task.
        ablations: numbers of its ablations in the sweep; the baseline is 0.
    """

    task: int
    name: str
    doc_ids: tuple[int, ...]
    ablations: tuple[int, ...] = (0,)


@dataclass(frozen=True, eq=False)
class Variants:
    """The baseline and the ablations, each with its text and its edits; the baseline is first.

    Attributes:
        texts: text forms.
        edits: what each changes.
        means: mean z, where an edit asks for it.
        donors: example to the example whose z `@resample` takes, where an edit asks for it.
    """

    texts: tuple[str, ...]
    edits: tuple[Edits, ...]
    means: HeadMeans | None = None
    donors: Mapping[int, int] | None = None

    def split(self) -> "tuple[Variants, Variants]":
        """Those that many examples can share a batch under, and those with a donor an example."""
        kept: tuple[list[int], list[int]] = ([], [])
        for number, edits in enumerate(self.edits):
            kept[edits.is_resampled].append(number)
        plain, resampled = (
            replace(
                self,
                texts=tuple(self.texts[n] for n in numbers),
                edits=tuple(self.edits[n] for n in numbers),
            )
            for numbers in kept
        )
        return plain, resampled


def run_unit(
    model: TransformerBridge,
    task: Task,
    unit: WorkUnit,
    variants: Variants,
    *,
    requests: CheckedRequests | None = None,
    seed: int = 0,
    shortcuts: Shortcuts = EVERY,
    done: Callable[[int], Any] = lambda examples: None,
) -> list[Record]:
    """The records of one unit: every example under the baseline and every ablation.

    Args:
        model: the model.
        task: the unit's task.
        unit: which examples.
        variants: the baseline and the ablations.
        requests: of the task, where they were built before (`Plan.requests`).
        seed: of the draws, where the task samples.
        shortcuts: what the engine shares and leaves out; never changes a result.
        done: told how many (example, ablation) pairs have been computed, as they are.
    """
    if requests is None:
        requests = checked_requests(task, unit.doc_ids, decoder(model), seed=seed)
    asked = requests.of(unit.doc_ids)
    prompts = [r for r in asked if isinstance(r, OptionRequest) or r.draw == 0]
    cut = sum(prompt.truncated_tokens > 0 for prompt in prompts)
    if cut:
        tqdm.write(
            f"task {task.name}: {cut} of {len(prompts)} prompts are longer than the model's "
            "context and lost tokens on their left (column cut_tokens)"
        )
    if task.generates:
        found = list(_texts(model, task, asked, variants, done))  # type: ignore[arg-type]
    else:
        found = list(_options(model, task, asked, variants, shortcuts, done))  # type: ignore[arg-type]
    _warn_of_failures(found, len(unit.doc_ids))
    return found


def _warn_of_failures(found: Sequence[Record], examples: int) -> None:
    """One warning for each ablation under which examples have no outcome."""
    for (ablation, failure), count in Counter(
        (record.ablation, record.failure) for record in found if record.failure
    ).items():
        one = next(record for record in found if record.ablation == ablation)
        log.warning(
            "model %s, task %s, ablation %s: %s in %d of %d examples; they are recorded as "
            "failures, neither right nor wrong",
            one.model, one.task, ablation, failure, count, examples,
        )  # fmt: skip


def _options(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    variants: Variants,
    shortcuts: Shortcuts,
    done: Callable[[int], Any],
) -> Iterator[Record]:
    plain, resampled = variants.split()
    results = score_requests(
        model, requests, plain.edits, means=plain.means, shortcuts=shortcuts, done=done
    )
    results += _resampled_options(model, task, requests, resampled, done)
    documents = task.documents()
    by_document: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        by_document.setdefault(request.doc_id, []).append(number)
    for text, scored in zip((*plain.texts, *resampled.texts), results, strict=True):
        for doc_id, numbers in by_document.items():
            responses = [scored[n] for n in numbers]
            counts = tuple(len(requests[n].continuation) for n in numbers)
            failure = "" if all(isfinite(value) for value, _ in responses) else NOT_FINITE
            # of a failure only the names of the metrics count
            metrics = task.score_options(
                documents[doc_id],
                [NO_OUTCOME] * len(responses) if failure else responses,
                token_counts=counts,
            )
            yield Record(
                model=model_name(model),
                task=task.name,
                doc_id=doc_id,
                ablation=text,
                target=task.target_text(documents[doc_id]),
                loglikelihoods=tuple(value for value, _ in responses),
                token_counts=counts,
                greedy=tuple(greedy for _, greedy in responses),
                cut_tokens=max(requests[n].truncated_tokens for n in numbers),
                metrics=dict.fromkeys(metrics, nan) if failure else metrics,
                failure=failure,
            )


def _resampled_options(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    variants: Variants,
    done: Callable[[int], Any],
) -> list[list[Score]]:
    results: list[dict[int, Score]] = [{} for _ in variants.texts]
    if variants.texts:
        assert variants.donors is not None
        for number, _, scored in resampled_scores(
            model, task, requests, variants.edits, donors=variants.donors, means=variants.means
        ):
            results[number].update(scored)
            done(1)
    return [[scores[n] for n in range(len(requests))] for scores in results]


def _texts(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Variants,
    done: Callable[[int], Any],
) -> Iterator[Record]:
    plain, resampled = variants.split()
    ablations = tuple(zip(plain.texts, plain.edits, strict=True))
    yield from text_records(model, task, requests, ablations, means=plain.means, done=done)
    if resampled.texts:
        assert resampled.donors is not None
        ablations = tuple(zip(resampled.texts, resampled.edits, strict=True))
        yield from resampled_text_records(
            model,
            task,
            requests,
            ablations,
            donors=resampled.donors,
            means=resampled.means,
            done=done,
        )

"""One work unit of a sweep: some examples of one task, the baseline and every ablation."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Means, Variant
from interp.engine import (
    EVERY,
    NOT_FINITE,
    Compared,
    Score,
    Shortcuts,
    score_requests,
    scores_by_example,
)
from interp.models import decoder
from interp.records import Record
from interp.sweeps.outcomes import record_of, warn_of_failures
from interp.sweeps.telling import NOBODY, Told
from interp.sweeps.text_records import text_records, text_records_by_example
from interp.tasks import (
    CheckedRequests,
    GenerationRequest,
    OptionRequest,
    Task,
    checked_requests,
    divergence_metrics,
)

log = logging.getLogger("interp")

NO_OUTCOME: Score = (0.0, False)
"""In the place of a score that is not finite, where metrics are asked for their names."""


@dataclass(frozen=True)
class WorkUnit:
    """Some examples of one task; its name is the same wherever it is run.

    Attributes:
        task: position of the task in the sweep.
        name: the name of the shard.
        doc_ids: rows of the task.
        ablations: numbers of its ablations in the sweep; the baseline is 0.
    """

    task: int
    name: str
    doc_ids: tuple[int, ...]
    ablations: tuple[int, ...] = (0,)


@dataclass(frozen=True, eq=False)
class AblationBatch:
    """The ablations that one unit computes, and what some of them take from elsewhere.

    Attributes:
        variants: the baseline and the ablations.
        means: what `@mean` puts, where an edit asks for it.
        donors: example to the example whose z `@resample` takes, where an edit asks for it.
    """

    variants: tuple[Variant, ...]
    means: Means | None = None
    donors: Mapping[int, int] | None = None

    def split(self) -> "tuple[AblationBatch, AblationBatch]":
        """Those that many examples can share a batch under, and those that each is run alone in."""
        shared = tuple(variant for variant in self.variants if not variant.edits.is_by_example)
        alone = tuple(variant for variant in self.variants if variant.edits.is_by_example)
        return replace(self, variants=shared), replace(self, variants=alone)


def run_unit(
    model: TransformerBridge,
    task: Task,
    unit: WorkUnit,
    batch: AblationBatch,
    *,
    requests: CheckedRequests | None = None,
    seed: int = 0,
    shortcuts: Shortcuts = EVERY,
    told: Told = NOBODY,
    warns: bool = True,
) -> list[Record]:
    """The records of one unit: every example under the baseline and every ablation.

    Args:
        model: the model.
        task: the unit's task.
        unit: which examples.
        batch: the baseline and the ablations.
        requests: the requests of the task, where they were built before (`PlannedTask.requests`).
        seed: the seed of the draws, where the task samples.
        shortcuts: what the engine shares and leaves out; never changes a result.
        told: what is told of computed pairs and finished records, as they are.
        warns: say which prompts were cut, and what failed.

    Returns:
        One record per ablation and example, in no particular order.
    """
    if requests is None:
        requests = checked_requests(task, unit.doc_ids, decoder(model), seed=seed)
    requests_of_unit = requests.of(unit.doc_ids)
    prompts = [r for r in requests_of_unit if isinstance(r, OptionRequest) or r.draw == 0]
    cut = sum(prompt.truncated_tokens > 0 for prompt in prompts)
    if cut and warns:
        log.warning(
            "task %s: %d of %d prompts are longer than the model's context and lost tokens on "
            "their left (column cut_tokens)",
            task.name, cut, len(prompts),
        )  # fmt: skip
    if task.generates:
        records = list(_texts(model, task, requests_of_unit, batch, told))  # type: ignore[arg-type]
    else:
        records = list(_options(model, task, requests_of_unit, batch, shortcuts, told.pairs))  # type: ignore[arg-type]
    if warns:
        warn_of_failures(records, len(unit.doc_ids))
    return records


def _options(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    batch: AblationBatch,
    shortcuts: Shortcuts,
    done: Callable[[int], Any],
) -> Iterator[Record]:
    plain, alone = batch.split()
    edits = [variant.edits for variant in plain.variants]
    scores = score_requests(
        model,
        requests,
        edits,
        means=plain.means,
        shortcuts=shortcuts,
        divergence=bool(task.compared),
        done=done,
    )
    results = dict(zip(plain.variants, scores, strict=True))
    results |= _options_by_example(model, task, requests, alone, shortcuts, done)
    by_example: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        by_example.setdefault(request.doc_id, []).append(number)
    documents = task.documents()
    for variant, scored in results.items():
        for doc_id, numbers in by_example.items():
            responses = [scored[n] for n in numbers]
            counts = tuple(len(requests[n].continuation) for n in numbers)
            failure = "" if all(isfinite(value) for value, _ in responses) else NOT_FINITE
            metrics = task.score_options(
                documents[doc_id],
                [NO_OUTCOME] * len(responses) if failure else responses,
                token_counts=counts,
            )
            compared = [
                (response.kl, response.agreed)
                for response in responses
                if isinstance(response, Compared)
            ]
            if compared:
                metrics |= divergence_metrics(task, documents[doc_id], compared, counts)
            yield record_of(
                model,
                task,
                variant,
                doc_id,
                metrics=metrics,
                failure=failure,
                loglikelihoods=tuple(value for value, _ in responses),
                token_counts=counts,
                greedy=tuple(greedy for _, greedy in responses),
                cut_tokens=max(requests[n].truncated_tokens for n in numbers),
            )


def _options_by_example(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    batch: AblationBatch,
    shortcuts: Shortcuts,
    done: Callable[[int], Any],
) -> dict[Variant, list[Score]]:
    if not batch.variants:
        return {}
    edits = [variant.edits for variant in batch.variants]
    scores: dict[Any, dict[int, Score]] = {edit: {} for edit in edits}
    for edit, _, scored in scores_by_example(
        model,
        task,
        requests,
        edits,
        donors=batch.donors,
        means=batch.means,
        shortcuts=shortcuts,
        divergence=bool(task.compared),
    ):
        scores[edit].update(scored)
        done(1)
    numbers = range(len(requests))
    return {variant: [scores[variant.edits][n] for n in numbers] for variant in batch.variants}


def _texts(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    batch: AblationBatch,
    told: Told,
) -> Iterator[Record]:
    plain, alone = batch.split()
    yield from text_records(model, task, requests, plain.variants, means=plain.means, told=told)
    if alone.variants:
        yield from text_records_by_example(
            model, task, requests, alone.variants, donors=alone.donors, means=alone.means, told=told
        )

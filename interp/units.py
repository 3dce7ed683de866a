"""One work unit of a sweep: some examples of one task, the baseline and every ablation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.means import HeadMeans
from interp.ablations.values import Edits
from interp.decode import Answer, generate
from interp.metrics import option_metrics, target_text, text_metrics
from interp.models import decoder, model_name
from interp.records import Record
from interp.requests import GenerationRequest, OptionRequest, build_requests
from interp.resampled import is_resampled, resampled_answers, resampled_scores
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
            kept[is_resampled(edits)].append(number)
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


def _resampled_options(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[OptionRequest],
    variants: Variants,
    done: Callable[[int], Any],
) -> list[dict[int, tuple[float, bool]]]:
    results: list[dict[int, tuple[float, bool]]] = [{} for _ in variants.texts]
    if variants.texts:
        assert variants.donors is not None
        for number, _, scored in resampled_scores(
            model, task, requests, variants.edits, donors=variants.donors, means=variants.means
        ):
            results[number].update(scored)
            done(1)
    return results


def _texts(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Variants,
    done: Callable[[int], Any],
) -> Iterator[Record]:
    documents = task.documents()
    plain, resampled = variants.split()
    answers: list[dict[int, Answer]] = [{} for _ in plain.texts]
    longest_first = sorted(requests, key=lambda r: -len(r.prompt))
    for batch in _generation_batches(longest_first):
        every = generate(model, batch, plain.edits, means=plain.means)
        for found, written in zip(answers, every, strict=True):
            found.update({r.doc_id: a for r, a in zip(batch, written, strict=True)})
            done(len(batch))
    answers += _resampled_texts(model, task, requests, resampled, done)
    for text, found in zip((*plain.texts, *resampled.texts), answers, strict=True):
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


def _resampled_texts(
    model: TransformerBridge,
    task: Task,
    requests: Sequence[GenerationRequest],
    variants: Variants,
    done: Callable[[int], Any],
) -> list[dict[int, Answer]]:
    answers: list[dict[int, Answer]] = [{} for _ in variants.texts]
    if variants.texts:
        assert variants.donors is not None
        for number, doc_id, answer in resampled_answers(
            model, task, requests, variants.edits, donors=variants.donors, means=variants.means
        ):
            answers[number][doc_id] = answer
            done(1)
    return answers


def _generation_batches(requests: Sequence[GenerationRequest]) -> list[list[GenerationRequest]]:
    result: list[list[GenerationRequest]] = []
    for request in requests:
        size = len(requests[0].prompt) + request.max_gen_toks
        if result and (len(result[-1]) + 1) * size <= 2 * TOKEN_BUDGET:
            result[-1].append(request)
        else:
            result.append([request])
    return result

"""The plan of a sweep: which examples, which ablations, cut into work units.

A plan is a pure function of the request, so that every process that is given the same request
makes the same units under the same names, and any of them can run any unit.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import (
    BASELINE,
    Ablation,
    Edits,
    Variant,
    as_ablations,
    checked_edits_of,
    first_numbered,
)
from interp.engine import REFERENCE_EXAMPLES, example_of, refuse_impossible
from interp.errors import UserError, first_line
from interp.records import Manifest, SamplingEntry, TaskEntry
from interp.sweeps.cutting import PlannedTask, UnitSizes, cut_units, unit_entries
from interp.sweeps.identity import (
    describe_donors,
    describe_hooks,
    describe_model,
    describe_task,
    libraries,
)
from interp.sweeps.sources import DONOR_CYCLE, source_rows
from interp.sweeps.units import WorkUnit
from interp.tasks import (
    CheckedRequests,
    GenerationRequest,
    Task,
    checked_requests,
    load_task,
    prompt_text,
    select_examples,
)

Ablations = str | Ablation | Sequence[str | Ablation | Sequence[str | Ablation]]
"""A family, a text form, an ablation, or a list of these; a list in it is several at once."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a sweep will run.

    Attributes:
        tasks: the tasks with their examples; `WorkUnit.task` is a position in them.
        variants: the baseline, then every ablation; `WorkUnit.ablations` are positions in them.
        units: the work, in the order of the result.
        manifest: all of it in words, with hashes.
        sizes: the sizes of units that are cut for it.
        cluster: field of the rows that names what examples share; None for the task's own.
    """

    tasks: tuple[PlannedTask, ...]
    variants: tuple[Variant, ...]
    units: tuple[WorkUnit, ...]
    manifest: Manifest
    sizes: UnitSizes
    cluster: str | None = None


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Inside the context no cycles of objects are looked for.

    A plan of a hundred thousand ablations is a million objects without a cycle, all of which stay;
    looking through them and all of torch again and again took half of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_nothing_collected()
def make_plan(
    model: TransformerBridge,
    tasks: Sequence[str | Task] | str | Task,
    ablations: Ablations,
    *,
    limit: int | None = None,
    seed: int = 0,
    donor: TransformerBridge | None = None,
    sizes: UnitSizes | None = None,
    cluster: str | None = None,
) -> Plan:
    """Check a request and cut it into units; nothing is written.

    Args:
        model: the model.
        tasks: names, paths of task YAMLs, or tasks.
        ablations: ablations in any form that `interp.ablations.as_ablations` takes.
        limit: the most examples of each task; all by default.
        seed: the seed of the draw of examples.
        donor: the other model, for swaps that do not name one.
        sizes: the sizes of the units.
        cluster: field of the rows that names what examples share; the task's own by default.

    Returns:
        Tasks with their examples, ablations, units, and the manifest that `interp.sweep` would
        write.

    Raises:
        UserError: for any request that cannot be carried out.
    """
    sizes = sizes or UnitSizes()
    loaded = [_task(t) for t in ([tasks] if isinstance(tasks, str | Task) else tasks)]
    removed = as_ablations(model, ablations, donor=donor)
    # of two hooks with one name the first would be kept
    hooks = describe_hooks(_values(ablations))
    refuse_doubles(loaded, removed)
    variants = (
        Variant(BASELINE.text, Edits()),
        *map(Variant, (ablation.text for ablation in removed), checked_edits_of(removed, model)),
    )
    kinds = distinct(variants)
    hooked = any(variant.edits.is_hooked for variant in kinds)
    for variant in variants if hooked else ():
        if variant.edits.is_hooked and variant.edits.is_by_example:
            needed_by = "@resample" if variant.edits.is_resampled else "cuts, patches and windows"
            raise UserError(
                f"ablation {variant.text}: hooks of your own and {needed_by} cannot be combined; "
                "use @zero or @mean, or hooks alone"
            )
    refuse_impossible(model, [variant.edits for variant in variants])
    for task in loaded:
        _refuse_empty(task)
    planned = tuple(planned_task(model, task, kinds, limit, seed) for task in loaded)
    units = tuple(cut_units(planned, len(variants), sizes))
    entries = unit_entries(units, planned)
    manifest = Manifest(
        **describe_model(model),
        tasks=tuple(describe_planned(planned_task, cluster) for planned_task in planned),
        ablations=tuple(variant.text for variant in variants[1:]),
        hooks=hooks,
        donors=describe_donors(removed),
        mean_reference=f"the first {REFERENCE_EXAMPLES} prompts of each task's draw",
        resample_donors=f"one cycle through every {DONOR_CYCLE} examples of each task's draw",
        seed=seed,
        limit=limit,
        units=entries,
        libraries=libraries(),
    )
    return Plan(planned, variants, units, manifest, sizes, cluster)


def distinct(variants: Sequence[Variant]) -> list[Variant]:
    """Some of the ablations in which every edit of a layer is found that any of them has.

    What an ablation needs is what one of its edits needs; of all pairs of heads a few hundred
    ablations have every edit.

    Args:
        variants: ablations.

    Returns:
        Those with an edit that none before them has, in their order.
    """
    seen: set[int] = set()
    values = []
    for variant in variants:
        values_of_edits = set(map(id, variant.edits.values()))
        if not values_of_edits <= seen:
            values.append(variant)
            seen |= values_of_edits
    return values


def _values(given: Ablations) -> list[Ablation]:
    """The values among the ablations, whether they are alone, in a list or in a combination."""
    if isinstance(given, Ablation):
        return [given]
    return [] if isinstance(given, str) else [value for item in given for value in _values(item)]


def planned_task(
    model: TransformerBridge,
    task: Task,
    variants: Sequence[Variant],
    limit: int | None,
    seed: int,
) -> PlannedTask:
    """A task with its examples, every row of it built and tried before anything is computed.

    Args:
        model: a bridge.
        task: the task.
        variants: ablations (`distinct`).
        limit: as for `interp.sweep`.
        seed: as for `interp.sweep`.

    Returns:
        The task, its examples and their requests.

    Raises:
        UserError: a row cannot be run, alone or under one of the ablations.
    """
    doc_ids = tuple(select_examples(task, limit, seed=seed))
    requests = checked_requests(task, doc_ids, models.decoder(model), seed=seed)
    if task.is_text:
        _refuse_without_answers(task, variants)
    if any(scope == "answer" for variant in variants for scope in variant.edits.scopes):
        _refuse_no_answer(task, requests.of(doc_ids))
    source_ids = source_rows(task, doc_ids, variants, seed=seed)
    checked_requests(task, source_ids, models.decoder(model), seed=seed)
    named = {name for variant in variants for text in variant.edits.position_classes
             for name in text.split(",")}  # fmt: skip
    if "answer" in named:
        _refuse_no_answer(task, requests.of(doc_ids))
    for doc_id in doc_ids if named else ():
        _check_positions(model, task, doc_id, variants, requests)
    return PlannedTask(task, doc_ids, requests, source_ids)


def _refuse_without_answers(task: Task, variants: Sequence[Variant]) -> None:
    """Raise UserError where an ablation needs to know prompt and answer of a text."""
    for variant in variants:
        if variant.edits.needs_positions:
            raise UserError(
                f"ablation {variant.text}: its hooks ask for positions, and task {task.name} "
                "scores whole texts, which have neither prompt nor answer"
            )
        if variant.edits.is_windowed:
            raise UserError(
                f"ablation {variant.text}: task {task.name} scores whole texts, and windows are "
                "run on prompts with answers only"
            )
        if variant.edits.is_scoped or variant.edits.is_by_example:
            raise UserError(
                f"ablation {variant.text}: task {task.name} scores whole texts, which have neither "
                "prompt nor answer; scopes, @resample, cuts and patches need both"
            )


def _check_positions(
    model: TransformerBridge,
    task: Task,
    doc_id: int,
    variants: Sequence[Variant],
    requests: CheckedRequests,
) -> None:
    """Raise UserError where an example lacks a class of positions that an ablation names."""
    edits = [variant.edits for variant in variants]
    requests_of_first = requests.of([doc_id])
    contexts = {
        r.prompt if isinstance(r, GenerationRequest) else r.context for r in requests_of_first
    }
    for context in sorted(contexts):
        example_of(model, task, doc_id, edits, context)
    longest = max(
        r.max_gen_toks if isinstance(r, GenerationRequest) else len(r.continuation)
        for r in requests_of_first
    )
    prompt = min(map(len, contexts))
    for variant in variants:
        # an answer has no twin, and its last token is not run
        end = prompt if variant.edits.patched or variant.edits.put_back else prompt + longest - 1
        for names in variant.edits.position_classes:
            for name, first in first_numbered(names).items():
                if first >= end:
                    raise UserError(
                        f"ablation {variant.text}: task {task.name}, row {doc_id}: no position "
                        f"{name} is run there; its positions are 0-{end - 1}"
                    )


def _refuse_no_answer(task: Task, requests: Sequence[Any]) -> None:
    """Raise UserError where no token of an answer is ever read."""
    read = (r.max_gen_toks if task.generates else len(r.continuation) for r in requests)
    if max(read, default=0) < 2:
        raise UserError(
            f"task {task.name}: its answers have one token, from which nothing is predicted, so "
            "that @@answer has no position; allowed are @@prompt and @@last, and the class "
            "answering in a cut"
        )


def size(plan: Plan, unit: WorkUnit) -> float:
    """How much work a unit is, in characters read or written; only comparisons mean anything.

    Args:
        plan: the plan of the sweep.
        unit: one of its units.

    Returns:
        A number of no unit.
    """
    task = plan.tasks[unit.task].task
    documents = task.documents()
    first = unit.doc_ids[0]
    worked = len(prompt_text(task, documents[first])) - len(str(documents[first]))
    rows = sum(max(1, worked + len(str(documents[i]))) for i in unit.doc_ids)
    return float(rows * len(unit.ablations) * (2 if task.generates else 1))


def _task(task: str | Task) -> Task:
    return task if isinstance(task, Task) else load_task(task)


def _refuse_empty(task: Task) -> None:
    if not len(task.documents()):
        raise UserError(f"task {task.name}: it has no examples")


def describe_planned(planned: PlannedTask, cluster: str | None) -> TaskEntry:
    """A planned task as a manifest says it.

    Args:
        planned: the task with its examples and requests.
        cluster: field of the rows that names what examples share; None for the task's own.

    Returns:
        An entry with all hashes.

    Raises:
        UserError: a row has no such field, or the task's YAML holds what it cannot.
    """
    task, requests = planned.task, planned.requests
    try:
        entry = describe_task(task, planned.doc_ids, cluster=cluster, source_ids=planned.source_ids)
    except UserError:
        raise
    except Exception as error:  # a YAML can hold anything anywhere
        raise UserError(
            f"task {task.name}: its YAML cannot be used ({first_line(error)})"
        ) from error
    return entry.model_copy(
        update={"sampling": sampling_of(requests), "requests_sha256": requests.sha256}
    )


def sampling_of(requests: CheckedRequests) -> SamplingEntry | None:
    """How a task's answers are drawn, as a manifest says it; None where none is."""
    if requests.sampling is None:
        return None
    sampling = asdict(requests.sampling)
    # the seed is the run's, and stands there
    del sampling["seed"]
    return SamplingEntry(draws=requests.n_samples, **sampling)


def refuse_doubles(tasks: Sequence[Task], ablations: Sequence[Ablation]) -> None:
    """Refuse no tasks, a name that is there twice, and the baseline among the ablations."""
    if not tasks:
        raise UserError("tasks: none given")
    for what, names in (
        ("task", [t.name for t in tasks]),
        ("ablation", [a.text for a in ablations]),
    ):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise UserError(f"{what} {name}: given twice")
            seen.add(name)
    unwritable = next((t.name for t in tasks if not _is_text(t.name)), None)
    if unwritable is not None:
        raise UserError(f"task {unwritable!r}: its name is no valid Unicode text")
    if any(a == BASELINE for a in ablations):
        raise UserError("ablation baseline: every sweep runs it without being asked")


def _is_text(name: str) -> bool:
    return name.encode("utf-8", "replace").decode() == name

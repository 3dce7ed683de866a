"""A run that is asked for more: what is there is kept, the rest is planned.

Tasks, examples and ablations that the run has come first and keep their numbers, so that its units
stay as they are. A request for less is answered from what is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformer_lens.model_bridge import TransformerBridge

from interp import models, records
from interp.records import OF_ROWS, Difference, Manifest, TaskEntry, UnitEntry
from interp.sweeps.cutting import PlannedTask, cut_units, unit_entries
from interp.sweeps.plan import Plan, describe_planned, distinct
from interp.sweeps.sources import source_rows
from interp.tasks import checked_requests


@dataclass(frozen=True, eq=False)
class Extension:
    """A request beside the run that is in its folder.

    Attributes:
        plan: the request, in the order of the run, with the units that the run has; None where
            the run has more than is asked.
        manifest: what the folder will hold.
        fewer: what is there and not asked, in words.
        answer: where the run has more, the part of its manifest that was asked.
    """

    plan: Plan | None
    manifest: Manifest
    fewer: tuple[str, ...] = ()
    answer: Manifest | None = None


def extension(
    model: TransformerBridge,
    plan: Plan,
    kept: Manifest,
    folder: Path,
    *,
    allow: Sequence[str] = (),
) -> Extension:
    """How a request and the run in its folder go together.

    Args:
        model: the model.
        plan: the plan of the request alone.
        kept: the manifest in the folder.
        folder: the folder of the run, for messages.
        allow: names of differences that are accepted.

    Returns:
        What is to be run, if anything, and the manifest that says so.

    Raises:
        UserError: answers of two runs would be mixed, or the request has more of one thing than
            the run and less of another.
    """
    manifest = plan.manifest.model_copy(
        update={
            "tasks": tuple(
                _as_there(model, plan, kept, planned_task) for planned_task in plan.tasks
            )
        }
    )
    conflicts = records.conflicts(kept, manifest)
    extent = records.extent(kept, plan.manifest)
    if not conflicts and extent.more and extent.fewer:
        words = (
            f"it holds what is not asked, {', '.join(extent.fewer)}, and lacks "
            f"{', '.join(extent.more)}; a run is extended by asking for all of it and more"
        )
        conflicts = [Difference("request", extent.fewer, extent.more, words)]
    noted = records.with_accepted(folder, kept, conflicts, allow=allow)
    if extent.fewer:
        return Extension(None, noted, extent.fewer, _part(noted, plan.manifest))
    joined = in_order_of(plan, kept)
    entries = ("ablations", "hooks", "donors", "units", "limit")
    grown = {name: getattr(joined.manifest, name) for name in entries}
    grown["tasks"] = _as_kept(noted, joined.manifest.tasks)
    return Extension(joined, noted.model_copy(update=grown))


def _part(kept: Manifest, asked: Manifest) -> Manifest:
    """What a run's manifest says of a request for less, and the units that hold its records."""
    ids = {task.name: set(task.doc_ids) for task in asked.tasks}
    texts, every = set(asked.texts), kept.texts

    def holds(unit: UnitEntry) -> bool:
        task = kept.tasks[unit.task]
        rows = task.doc_ids[unit.first : unit.first + unit.examples]
        texts_of_unit = every[unit.ablations[0] : unit.ablations[1] + 1]
        return not (ids.get(task.name, set()).isdisjoint(rows) or texts.isdisjoint(texts_of_unit))

    entries = ("ablations", "hooks", "donors", "limit")
    part = {name: getattr(asked, name) for name in entries}
    units = tuple(unit for unit in kept.units if holds(unit))
    tasks = _as_kept(kept, asked.tasks)
    return kept.model_copy(update=part | {"tasks": tasks, "units": units})


def _as_kept(kept: Manifest, asked: Sequence[TaskEntry]) -> tuple[TaskEntry, ...]:
    """Tasks of a request with what the run says of them, but for their rows.

    A difference that was allowed (a version) does not change what decided the records.
    """
    kept_tasks = {task.name: task for task in kept.tasks}
    return tuple(
        kept_tasks[task.name].model_copy(update={name: getattr(task, name) for name in OF_ROWS})
        if task.name in kept_tasks
        else task
        for task in asked
    )


def in_order_of(plan: Plan, kept: Manifest) -> Plan:
    """A plan with the order and the units of a run that has nothing else.

    Args:
        plan: the plan of a request for all that the run has, and perhaps for more.
        kept: the manifest of the run.

    Returns:
        The same tasks, examples and ablations, those of the run first.
    """
    names = {planned.task.name: planned for planned in plan.tasks}
    kept_names = [task.name for task in kept.tasks]
    order = [*kept_names, *(name for name in names if name not in set(kept_names))]
    rows = {task.name: task.doc_ids for task in kept.tasks}
    seed = plan.manifest.seed
    tasks = tuple(_with_first(names[name], rows.get(name, ()), plan, seed) for name in order)
    texts = {variant.text: variant for variant in plan.variants}
    first = dict.fromkeys((plan.variants[0].text, *kept.ablations))
    variants = tuple(texts[text] for text in (*first, *(t for t in texts if t not in first)))
    units = tuple(cut_units(tasks, len(variants), plan.sizes, kept.units))
    entries = {entry.name: entry for entry in kept.units}
    fresh = [unit for unit in units if unit.name not in entries]
    entries |= {entry.name: entry for entry in unit_entries(fresh, tasks)}
    described = {entry.name: entry for entry in plan.manifest.tasks}
    for planned_task in tasks:
        if planned_task.doc_ids != described[planned_task.task.name].doc_ids:
            described[planned_task.task.name] = describe_planned(planned_task, plan.cluster)
    manifest = plan.manifest.model_copy(
        update={
            "tasks": tuple(described[planned_task.task.name] for planned_task in tasks),
            "ablations": tuple(variant.text for variant in variants[1:]),
            "units": tuple(entries[unit.name] for unit in units),
        }
    )
    return replace(plan, tasks=tasks, variants=variants, units=units, manifest=manifest)


def _with_first(planned: PlannedTask, first: Sequence[int], plan: Plan, seed: int) -> PlannedTask:
    """A task with some of its examples in front of the others."""
    first_ids = set(first)
    doc_ids = (*first, *(i for i in planned.doc_ids if i not in first_ids))
    return replace(
        planned,
        doc_ids=doc_ids,
        requests=planned.requests.only(doc_ids),
        source_ids=source_rows(planned.task, doc_ids, distinct(plan.variants), seed=seed),
    )


def _as_there(
    model: TransformerBridge, plan: Plan, kept: Manifest, planned: PlannedTask
) -> TaskEntry:
    """A task of the request with the examples that the run has of it, where it may have them."""
    number = next(i for i, planned_task in enumerate(plan.tasks) if planned_task is planned)
    entry = plan.manifest.tasks[number]
    kept_entry = next((task for task in kept.tasks if task.name == entry.name), None)
    rows = len(planned.task.documents())
    if kept_entry is not None and (kept_entry.doc_ids, kept_entry.source_ids) == (
        entry.doc_ids,
        entry.source_ids,
    ):
        return entry
    if (
        kept_entry is None
        or not records.nested(kept_entry, entry)
        or max(kept_entry.doc_ids) >= rows
    ):
        return entry
    requests, seed = planned.requests, plan.manifest.seed
    if set(kept_entry.doc_ids) <= set(entry.doc_ids):
        requests = requests.only(kept_entry.doc_ids)
    else:
        requests = checked_requests(
            planned.task, kept_entry.doc_ids, models.decoder(model), seed=seed
        )
    source_ids = planned.source_ids
    if kept_entry.source_ids and source_ids and max(kept_entry.source_ids) < rows:
        source_ids = kept_entry.source_ids
    same = replace(planned, doc_ids=kept_entry.doc_ids, requests=requests, source_ids=source_ids)
    return describe_planned(same, plan.cluster)

"""The work of a plan, cut into units: a block of a task's examples under a range of ablations."""

from collections.abc import Sequence
from dataclasses import dataclass

from interp.errors import UserError
from interp.records import UnitEntry
from interp.sweeps.identity import asked_hash
from interp.sweeps.units import WorkUnit
from interp.tasks import CheckedRequests, Task

# an 8B model on one large GPU needs minutes for so many answers, and seconds to load
UNIT_EXAMPLES = 128
"""The most examples of one work unit, unless another number is asked for."""
UNIT_ABLATIONS = 64
"""The most ablations of one work unit, unless another number is asked for."""


@dataclass(frozen=True, eq=False)
class PlannedTask:
    """One task of a sweep, and its examples.

    Attributes:
        task: the task.
        doc_ids: numbers of the examples that are run, among the task's rows.
        requests: what is asked about them, checked; no unit needs to build any again.
        source_ids: further rows that ablations take from.
    """

    task: Task
    doc_ids: tuple[int, ...]
    requests: CheckedRequests
    source_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class UnitSizes:
    """How large the work units are; a run keeps the units that it has.

    Attributes:
        examples: the most examples of one unit.
        ablations: the most ablations of one unit; each unit runs the baseline again.
    """

    examples: int = UNIT_EXAMPLES
    ablations: int = UNIT_ABLATIONS

    def __post_init__(self) -> None:
        for name in ("examples", "ablations"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UserError(f"unit_{name} {value!r}: allowed are 1 and more")


def cut_units(
    tasks: Sequence[PlannedTask],
    n_variants: int,
    sizes: UnitSizes,
    kept: Sequence[UnitEntry] = (),
) -> list[WorkUnit]:
    """Examples x ablations in units with names that depend on the request alone.

    Args:
        tasks: the tasks with their examples.
        n_variants: how many ablations, the baseline (number 0) counted.
        sizes: the sizes of the units.
        kept: units of a run that is extended, which stay as they are; what they lack is cut: first
            more ablations of their examples, then further examples.

    Returns:
        Units that cover each (example, ablation) pair once.
    """
    units = []
    kept_units: list[dict[tuple[int, int], list[UnitEntry]]] = [{} for _ in tasks]
    for entry in kept:
        kept_units[entry.task].setdefault((entry.first, entry.examples), []).append(entry)
    for number, planned in enumerate(tasks):
        letters = (
            c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in planned.task.name
        )
        stem, blocks = "".join(letters)[:80], sorted(kept_units[number])
        end = sum(count for _, count in blocks)
        more = range(end, len(planned.doc_ids), sizes.examples)
        blocks += [(start, min(sizes.examples, len(planned.doc_ids) - start)) for start in more]
        for part, (start, count) in enumerate(blocks):
            chosen = planned.doc_ids[start : start + count]
            texts_of_unit = kept_units[number].get((start, count), [])
            texts_of_unit.sort(key=lambda entry: entry.ablations)
            for entry in texts_of_unit:
                numbers = tuple(range(entry.ablations[0], entry.ablations[1] + 1))
                units.append(WorkUnit(number, entry.name, chosen, numbers))
            # the baseline's rows belong to the first unit of these examples
            done = texts_of_unit[-1].ablations[1] + 1 if texts_of_unit else 0
            for group, first in enumerate(
                range(done, n_variants, sizes.ablations), len(texts_of_unit)
            ):
                numbers = tuple(range(first, min(first + sizes.ablations, n_variants)))
                name = f"{number:02d}-{stem}-{part:04d}-{group:03d}"
                units.append(WorkUnit(number, name, chosen, numbers))
    return units


def unit_entries(units: Sequence[WorkUnit], tasks: Sequence[PlannedTask]) -> tuple[UnitEntry, ...]:
    """Units as a manifest says them.

    Args:
        units: the units of a plan.
        tasks: its tasks.

    Returns:
        One entry per unit, in their order.
    """
    places = [{doc_id: i for i, doc_id in enumerate(task.doc_ids)} for task in tasks]
    sha256_of: dict[tuple[int, tuple[int, ...]], str] = {}
    entries = []
    for unit in units:
        planned, block = tasks[unit.task], (unit.task, unit.doc_ids)
        # units of many ablations have the same examples
        if block not in sha256_of:
            hashed = planned.requests.only(unit.doc_ids).sha256
            sha256_of[block] = asked_hash(planned.task, unit.doc_ids, hashed)
        entries.append(
            UnitEntry(
                name=unit.name,
                task=unit.task,
                first=places[unit.task][unit.doc_ids[0]],
                examples=len(unit.doc_ids),
                ablations=(unit.ablations[0], unit.ablations[-1]),
                asked_sha256=sha256_of[block],
            )
        )
    return tuple(entries)

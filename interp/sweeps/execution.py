"""Run a plan's units on one model, in this process.

A unit that does not fit in memory is run in halves. One that does not fit even then, or whose
shard cannot be computed for another reason of the machine, is named at the end; the rest completes.
"""

from collections.abc import Callable
from dataclasses import replace

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Means
from interp.engine import (
    EVERY,
    Shortcuts,
    out_of_memory,
    reference_means,
    release_memory,
)
from interp.errors import first_line
from interp.records import Record
from interp.sweeps.plan import Plan
from interp.sweeps.sources import donors_of
from interp.sweeps.telling import Told
from interp.sweeps.units import AblationBatch, WorkUnit, run_unit

Runner = Callable[[WorkUnit, Told], list[Record]]


def runner(model: TransformerBridge, plan: Plan, *, shortcuts: Shortcuts = EVERY) -> Runner:
    """A function that computes a unit's records, ordered by ablation and then by example.

    Args:
        model: the model.
        plan: the plan of the sweep.
        shortcuts: what the engine shares and leaves out; never changes a result.

    Returns:
        A function of a unit. It keeps means and donors from unit to unit.
    """
    means: dict[int, Means] = {}
    donors: dict[int, dict[int, int]] = {}

    def run(unit: WorkUnit, told: Told) -> list[Record]:
        planned = plan.tasks[unit.task]
        variants = tuple(plan.variants[n] for n in with_baseline(unit))
        if unit.task not in means and any(variant.edits.uses_mean for variant in variants):
            linear = {n for variant in plan.variants for n in variant.edits.linear_layers}
            means[unit.task] = reference_means(
                model, planned.task, seed=plan.manifest.seed, linear=sorted(linear)
            )
        if unit.task not in donors and any(variant.edits.is_resampled for variant in variants):
            donors[unit.task] = donors_of(
                planned.task, len(planned.doc_ids), seed=plan.manifest.seed
            )
        records = run_unit(
            model,
            planned.task,
            unit,
            AblationBatch(variants, means.get(unit.task), donors.get(unit.task)),
            requests=planned.requests,
            seed=plan.manifest.seed,
            shortcuts=shortcuts,
            told=told,
        )
        return in_order(plan, unit, records)

    return run


def with_baseline(unit: WorkUnit) -> tuple[int, ...]:
    """Numbers of what a unit computes: its ablations, and the baseline in front."""
    return unit.ablations if unit.ablations[0] == 0 else (0, *unit.ablations)


def pairs(unit: WorkUnit) -> int:
    """How many (example, ablation) pairs a unit computes."""
    return len(unit.doc_ids) * len(with_baseline(unit))


def in_order(plan: Plan, unit: WorkUnit, found: list[Record]) -> list[Record]:
    """A unit's own records by ablation and example, however they were computed.

    Returns:
        The records, one per ablation and example of the unit.

    Raises:
        RuntimeError: a record is missing or there twice.
    """
    by_key = {(record.ablation, record.doc_id): record for record in found}
    wanted = [(plan.variants[n].text, doc_id) for n in unit.ablations for doc_id in unit.doc_ids]
    computed = len(with_baseline(unit)) * len(unit.doc_ids)
    surplus = len(found) not in (len(wanted), computed) or len(by_key) != len(found)
    if surplus or any(key not in by_key for key in wanted):
        raise RuntimeError(f"unit {unit.name}: {len(found)} records for {len(wanted)} places")
    return [by_key[key] for key in wanted]


def halves(unit: WorkUnit) -> list[WorkUnit]:
    """The same unit in two parts; one of a single example stays as it is."""
    middle = len(unit.doc_ids) // 2
    if not middle:
        return [unit]
    return [replace(unit, doc_ids=ids) for ids in (unit.doc_ids[:middle], unit.doc_ids[middle:])]


def run_fitting(run: Runner, unit: WorkUnit, told: Told) -> list[Record]:
    """A unit's records, in halves and halves of halves where memory runs out (see `in_order`).

    Returns:
        The records of the whole unit, those of its first half in front.

    Raises:
        MemoryError: a single example does not fit.
    """
    n_told = 0

    def counting(number: int) -> None:
        nonlocal n_told
        n_told += number
        told.pairs(number)

    try:
        return run(unit, replace(told, pairs=counting))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        reason = first_line(error)
    # outside the handler: its traceback holds the tensors that did not fit
    release_memory()
    told.pairs(-n_told)
    if len(unit.doc_ids) == 1:
        raise MemoryError(reason)
    return [record for half in halves(unit) for record in run_fitting(run, half, told)]

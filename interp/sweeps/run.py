"""One model x tasks x ablations, example by example: plan, store, units, result."""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.ablations import Ablation, as_ablation, refuse_hooks, with_donor
from interp.engine import Shortcuts
from interp.errors import UserError
from interp.models import decoder
from interp.results import Sweep, open_run
from interp.sweeps.execution import in_order, pairs, run_fitting, runner
from interp.sweeps.on_ray import Board, Crew, connected
from interp.sweeps.plan import UNIT_ABLATIONS, UNIT_EXAMPLES, Plan, UnitSizes, make_plan
from interp.sweeps.transport import pack_request
from interp.sweeps.units import WorkUnit
from interp.tasks import Task

__all__ = ["Execution", "Sweep", "open_run", "sweep"]


@dataclass(frozen=True)
class Execution:
    """How a sweep is carried out; none of it changes an answer.

    Attributes:
        shard: `"3/16"`: only every sixteenth unit, from the third on; other processes run the
            others into the same folder, or into folders that `interp merge` joins.
        allow: differences to the run in the folder that are accepted, by the names that the
            refusal gave them (`libraries.torch`).
        unit_examples: at most so many examples a work unit.
        unit_ablations: at most so many ablations a work unit.
        cluster: field of the rows that names what examples share (a passage, a subject), so that
            they are resampled together; by default what the task says.
        ray: `"auto"` or the address of a Ray cluster: the units run there, on one worker a device.
        workers: how many, with `ray`; by default as many as the cluster has GPUs, or cores.
        token_budget: most tokens of one batch of scored options, padding counted, in this process;
            by default from free memory.
    """

    shard: str | None = None
    allow: Sequence[str] = ()
    unit_examples: int = UNIT_EXAMPLES
    unit_ablations: int = UNIT_ABLATIONS
    cluster: str | None = None
    ray: str | None = None
    workers: int | None = None
    token_budget: int | None = None

    def __post_init__(self) -> None:
        if self.shard is not None:
            records.Shard.parse(self.shard)
        if self.workers is not None and self.workers < 1:
            raise UserError(f"workers {self.workers}: allowed are 1 and more")
        if self.token_budget is not None and self.token_budget < 1:
            raise UserError(
                f"token_budget {self.token_budget}: allowed are 1 and more (none: from free memory)"
            )


def sweep(
    model: TransformerBridge,
    tasks: Sequence[str | Task] | str | Task,
    ablations: Sequence[str | Ablation],
    *,
    out: str | Path,
    limit: int | None = None,
    seed: int = 0,
    donor: TransformerBridge | None = None,
    **execution: Any,
) -> Sweep:
    """Run the baseline and every ablation over the same examples; write one record each.

    The same call continues an interrupted run: finished units are verified and kept.

    Args:
        model: from `interp.load_model`, or a bridge booted by hand.
        tasks: names, paths of task YAMLs, or tasks from `interp.load_task`.
        ablations: texts or values; families such as `each_layer(model)`.
        out: folder of the run; new, empty, or holding this very run.
        limit: at most this many examples a task, drawn with the seed; all by default.
        seed: of the draw, and of the bootstrap.
        donor: the other model, for swaps that do not name one.
        **execution: how it is carried out, the fields of `interp.sweeps.Execution`.

    Returns:
        The run: finished, or with `shard` as far as this shard goes.

    Raises:
        UserError: before anything is written, for any request that cannot be carried out; at the
            end, where units failed.
    """
    how = _execution(execution)
    shard = records.Shard.parse(how.shard) if how.shard else None
    refuse_hooks(model, "a sweep")
    sizes = UnitSizes(how.unit_examples, how.unit_ablations, how.cluster)
    plan = make_plan(model, tasks, ablations, limit=limit, seed=seed, donor=donor, sizes=sizes)
    plan = replace(plan, manifest=plan.manifest.model_copy(update={"origin": _origin(model)}))
    with ExitStack() as stack:
        compute = partial(_run_here, model, Shortcuts(token_budget=how.token_budget))
        if how.ray:
            asked = [with_donor(as_ablation(a), donor) for a in ablations]
            request = pack_request(model, plan, asked, limit=limit, seed=seed, sizes=sizes)
            ray = stack.enter_context(connected(how.ray))
            compute = partial(_run_on_ray, Crew(ray, request, plan, how.workers))
        _carry_out(compute, plan, Path(out), shard, how.allow)
    return Sweep(out)


def _origin(model: TransformerBridge) -> records.OriginEntry:
    """Where and when a run is begun."""
    return records.OriginEntry(
        command=tuple(map(records.as_text, sys.argv)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        device=", ".join(map(str, decoder(model).devices)),
        platform=platform.platform(),
    )


def _carry_out(
    compute: Callable[[Plan, Sequence[WorkUnit], "_Store"], dict[str, str]],
    plan: Plan,
    folder: Path,
    shard: records.Shard | None,
    allow: Sequence[str],
) -> None:
    """Open the store and compute what waits; the first moment at which anything is written."""
    try:
        manifest = records.open_store(folder, plan.manifest, allow=allow)
        with records.locked(folder, shard):
            store = _Store(folder, manifest)
            units = [u for i, u in enumerate(plan.units) if shard is None or shard.holds(i)]
            failed = compute(plan, store.waiting(units), store)
    except OSError as error:
        raise UserError(
            f"out {folder}: {error.strerror or error}; what was finished is kept, and the same "
            "command continues"
        ) from error
    _refuse_failed(folder, failed, len(plan.units))


@dataclass(frozen=True)
class _Store:
    """The folder of the run, and the manifest that is in it."""

    folder: Path
    manifest: records.Manifest

    def waiting(self, units: Sequence[WorkUnit]) -> list[WorkUnit]:
        """Those that are not finished; a damaged shard is named and moved aside."""
        wrong = records.problems(self.folder, [unit.name for unit in units], self.manifest)
        for name, reason in wrong.items():
            if reason != "missing":
                aside = records.quarantine(self.folder, name)
                tqdm.write(f"unit {name}: {reason}; moved to {aside.name} and computed again")
        return [unit for unit in units if unit.name in wrong]

    def write(self, unit: WorkUnit, found: Sequence[records.Record]) -> None:
        """Write a finished unit."""
        records.write_unit(self.folder, unit.name, self.manifest, found)


def _execution(options: dict[str, Any]) -> Execution:
    allowed = [field.name for field in fields(Execution)]
    for name in options:
        if name not in allowed:
            raise UserError(f"sweep: no option {name}; allowed are {', '.join(allowed)}")
    return Execution(**options)


def _run_here(
    model: TransformerBridge,
    shortcuts: Shortcuts,
    plan: Plan,
    waiting: Sequence[WorkUnit],
    store: _Store,
) -> dict[str, str]:
    """Compute units one after the other; those that failed, with the reason."""
    run, failed = runner(model, plan, shortcuts=shortcuts), {}
    with _progress(plan, waiting) as bar:
        for unit in waiting:
            bar.set_postfix_str(plan.tasks[unit.task].name)
            try:
                found = run_fitting(run, unit, bar.update)
            except MemoryError as error:
                failed[unit.name] = f"out of memory: {error}"
                tqdm.write(f"unit {unit.name}: failed ({failed[unit.name]})")
                continue
            store.write(unit, in_order(plan, unit, found))
    return failed


def _run_on_ray(
    crew: Crew, plan: Plan, waiting: Sequence[WorkUnit], store: _Store
) -> dict[str, str]:
    """Hand units out to Ray workers; those that failed, with the reason."""
    with _progress(plan, waiting) as bar:

        def finish(unit: WorkUnit, found: list[records.Record]) -> None:
            store.write(unit, found)
            bar.update(pairs(unit))

        return crew.work(Board(plan, waiting, finish), tqdm.write)


def _progress(plan: Plan, waiting: Sequence[WorkUnit]) -> tqdm:
    total = sum(map(pairs, plan.units))
    return tqdm(
        total=total,
        initial=total - sum(map(pairs, waiting)),
        unit="example",
        desc=plan.manifest.model,
        smoothing=0.1,
    )


def _refuse_failed(folder: Path, failed: Mapping[str, str], count: int) -> None:
    if failed:
        names = ", ".join(list(failed)[:5]) + ("..." if len(failed) > 5 else "")
        raise UserError(
            f"out {folder}: {len(failed)} of {count} units failed ({names}: "
            f"{next(iter(failed.values()))}); the others are kept, and the same command tries "
            "these again"
        )

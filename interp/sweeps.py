"""One model x tasks x ablations, example by example: plan, store, units, result."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.ablations import Ablation
from interp.errors import UserError
from interp.execution import pairs, run_fitting, runner
from interp.models import model_name
from interp.plan import UNIT_ABLATIONS, UNIT_EXAMPLES, Cut, Plan, make_plan, refuse_hooks
from interp.results import Sweep, open_run
from interp.tasks import Task
from interp.units import WorkUnit

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
    """

    shard: str | None = None
    allow: Sequence[str] = ()
    unit_examples: int = UNIT_EXAMPLES
    unit_ablations: int = UNIT_ABLATIONS
    cluster: str | None = None


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
        The run: finished, or with `shard` as far as this share goes.

    Raises:
        UserError: before anything is written, for any request that cannot be carried out; at the
            end, where units failed.
    """
    how = _execution(execution)
    share = records.Share.parse(how.shard) if how.shard else None
    refuse_hooks(model)
    plan = make_plan(
        model, tasks, ablations, limit=limit, seed=seed, donor=donor,
        cut=Cut(how.unit_examples, how.unit_ablations, how.cluster),
    )  # fmt: skip
    folder = Path(out)
    try:
        manifest = records.open_store(folder, plan.manifest, allow=how.allow)
        with records.locked(folder, share):
            units = [u for i, u in enumerate(plan.units) if share is None or share.holds(i)]
            waiting = [u for u in units if not _kept(folder, u, manifest)]
            _run(model, plan, waiting, folder, manifest)
    except OSError as error:
        raise UserError(
            f"out {folder}: {error.strerror or error}; what was finished is kept, and the same "
            "command continues"
        ) from error
    return Sweep(folder)


def _execution(options: dict[str, Any]) -> Execution:
    allowed = [field.name for field in fields(Execution)]
    for name in options:
        if name not in allowed:
            raise UserError(f"sweep: no option {name}; allowed are {', '.join(allowed)}")
    return Execution(**options)


def _run(
    model: TransformerBridge,
    plan: Plan,
    waiting: Sequence[WorkUnit],
    folder: Path,
    manifest: dict[str, Any],
) -> None:
    """Compute the units that wait, one after the other; name those that failed, at the end."""
    run, failed = runner(model, plan), []
    kept = sum(map(pairs, plan.units)) - sum(map(pairs, waiting))
    with tqdm(
        total=sum(map(pairs, plan.units)),
        initial=kept,
        unit="example",
        desc=model_name(model),
        smoothing=0.1,
    ) as bar:
        for unit in waiting:
            bar.set_postfix_str(plan.tasks[unit.task].name)
            try:
                found = run_fitting(run, unit, bar.update)
            except MemoryError as error:
                failed.append((unit.name, f"out of memory: {error}"))
                tqdm.write(f"unit {unit.name}: failed ({failed[-1][1]})")
                continue
            records.write_unit(folder, unit.name, manifest, found)
    refuse_failed(folder, failed, len(plan.units))


def refuse_failed(folder: Path, failed: Sequence[tuple[str, str]], count: int) -> None:
    """Raise UserError that names the units that failed, if any did."""
    if failed:
        names = ", ".join(name for name, _ in failed[:5]) + ("..." if len(failed) > 5 else "")
        raise UserError(
            f"out {folder}: {len(failed)} of {count} units failed ({names}; {failed[0][1]}); the "
            "others are kept, and the same command tries these again"
        )


def _kept(folder: Path, unit: WorkUnit, manifest: dict[str, Any]) -> bool:
    reason = records.damage(folder, unit.name, manifest)
    if reason and reason != "missing":
        aside = records.set_aside(folder, unit.name)
        tqdm.write(f"unit {unit.name}: {reason}; moved to {aside.name} and computed again")
    return reason is None

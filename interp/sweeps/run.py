"""One model x tasks x ablations, example by example: plan, store, units, result."""

import logging
import platform
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from numbers import Integral
from pathlib import Path
from typing import Any, cast

import transformers
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.ablations import as_ablations, refuse_hooks
from interp.engine import Shortcuts
from interp.errors import UserError, check_seed
from interp.models import decoder, given_model
from interp.records import Shard
from interp.results import Sweep, open_run, rounding_lines
from interp.sweeps.cutting import UNIT_ABLATIONS, UNIT_EXAMPLES, UnitSizes
from interp.sweeps.execution import pairs, runner
from interp.sweeps.extending import Extension, extension
from interp.sweeps.on_ray import TaskQueue, WorkerPool
from interp.sweeps.pieces import Pace, run_in_pieces
from interp.sweeps.plan import Ablations, Plan, make_plan
from interp.sweeps.ray_cluster import connected, device_of, worker_count
from interp.sweeps.read_only import is_read_only, read_only, run_folder
from interp.sweeps.rounding import measure_rounding
from interp.sweeps.transport import gpus_left_free, pack_request
from interp.sweeps.units import WorkUnit
from interp.tasks import Task, load_task, with_divergence

log = logging.getLogger("interp")

__all__ = ["Sweep", "open_run", "refuse_options", "sweep"]


def sweep(
    model: TransformerBridge | transformers.PreTrainedModel | str | Path,
    tasks: Sequence[str | Path | Task] | str | Path | Task,
    ablations: Ablations,
    *,
    limit: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    donor: TransformerBridge | None = None,
    num_fewshot: int | None = None,
    fewshot_seed: int | None = None,
    data: str | Path | None = None,
    chat_template: bool = False,
    allow_code: bool = False,
    cluster: str | None = None,
    divergence: bool = False,
    shard: str | None = None,
    allow: Sequence[str] = (),
    unit_examples: int = UNIT_EXAMPLES,
    unit_ablations: int = UNIT_ABLATIONS,
    token_budget: int | None = None,
    ray: str | None = None,
    workers: int | None = None,
) -> Sweep:
    """Run the baseline and every ablation over the same examples; write one record each.

    The same call continues an interrupted run: finished units are verified and kept. A call that
    asks for more (tasks, ablations, a larger limit) extends the run: only what is missing is run.
    One that asks for less is answered from what is there, and has no more.

    Args:
        model: from `interp.load_model`, a bridge booted by hand, a name or folder that is loaded
            in float32, or a Hugging Face model in memory with the tokenizer of the name or folder
            that it came from (another tokenizer: `interp.load_model(hf_model, tokenizer=...)`).
        tasks: names, paths of task YAMLs, or tasks from `interp.load_task`.
        ablations: a family (`"layers"`, `"heads@mean"`), a text (`"layer:3"`), a value
            (`interp.SkipLayer(3)`), or several of these. A list within the list is one
            combination.
        limit: at most this many examples of each task, drawn with the seed; all by default.
        seed: the seed of the draw, and of the bootstrap.
        out: folder of the run; new, empty, or holding this run, or a smaller or larger one of the
            same kind. Without one, a temporary folder that is deleted when the result is no longer
            used.
        donor: the other model, for swaps that do not name one.
        num_fewshot: few-shot examples in each prompt; by default what each task says.
        fewshot_seed: the seed of the draw of few-shot examples; by default
            lm-evaluation-harness' own.
        data: folder with rows as JSONL, CSV or Parquet files, in place of the hub's.
        chat_template: generating tasks through the model's chat template.
        allow_code: let task YAMLs run the Python that they name.
        cluster: field of the rows that names what examples share (a passage, a subject), so that
            they are resampled together; by default what the task says.
        divergence: also record how far predictions at the scored positions are from those of the
            whole model: metrics `kl` (nats) and `top1_agreement`. Where answers are generated, the
            positions are those of the whole model's answer.
        shard: `"3/16"`: only every sixteenth unit, from the third on; other processes run the
            others into the same folder, or into folders that `interp merge` joins.
        allow: differences to the run in the folder that are accepted, by the names that the
            refusal gave them (`libraries.torch`).
        unit_examples: the most examples of one work unit.
        unit_ablations: the most ablations of one work unit.
        token_budget: most tokens of one batch of scored options, padding counted, in this process;
            by default from free memory.
        ray: `"auto"` or the address of a Ray cluster: the units run there, one worker per device,
            or per group of GPUs where no single one holds the model.
        workers: how many, with `ray`; by default as many as the cluster has GPUs, or cores.

    Returns:
        The run: finished, or with `shard` as far as this shard goes.

    Raises:
        UserError: before anything is written, for any request that cannot be carried out; at the
            end, where units failed.
    """
    refuse_options(limit=limit, seed=seed, shard=shard, ray=ray, workers=workers,
                   token_budget=token_budget)  # fmt: skip
    out = out if out is None else run_folder(out)
    model, sizes = given_model(model), UnitSizes(unit_examples, unit_ablations)
    refuse_hooks(model, "a sweep")
    checked = as_ablations(model, ablations, donor=donor)
    loaded = loaded_tasks(
        tasks, num_fewshot=num_fewshot, fewshot_seed=fewshot_seed, data=data,
        chat_template=model if chat_template else None, allow_code=allow_code or None,
    )  # fmt: skip
    loaded = [with_divergence(task) for task in loaded] if divergence else loaded
    plan = make_plan(
        model, loaded, ablations, limit=limit, seed=seed, donor=donor, sizes=sizes, cluster=cluster
    )
    plan = replace(plan, manifest=plan.manifest.model_copy(update={"origin": _origin(model)}))
    temporary = tempfile.TemporaryDirectory(prefix="interp-sweep-") if out is None else None
    folder = Path(temporary.name if temporary else cast(str | Path, out))
    own = workers_on = decoder(model).device.type
    compute = partial(_run_here, model, Shortcuts(token_budget=token_budget))
    with ExitStack() as stack:
        if ray:
            # what cannot be sent is refused before anything is written
            request = pack_request(model, plan, checked, limit=limit)
            connection = stack.enter_context(connected(ray))
            workers, workers_on = worker_count(connection, request, workers), device_of(connection)
            stack.enter_context(gpus_left_free(model, checked))
            compute = partial(_run_on_ray, partial(WorkerPool, connection, request, workers))
        part = Shard.parse(shard) if shard else None
        answer = _carry_out(model, compute, plan, folder, part, allow)
    if workers_on == own and not is_read_only(folder):  # other devices round otherwise
        measure_rounding(model, plan, folder)
    result = _with_warnings(Sweep(folder, answer))
    if temporary:
        weakref.finalize(result, temporary.cleanup)
    return result


def _with_warnings(run: Sweep) -> Sweep:
    """The same run; what rounding decides in it is logged."""
    for line in rounding_lines(run.rounding(), run.manifest.dtype).values():
        log.warning("%s", line)
    return run


def refuse_options(
    *,
    limit: Any = None,
    seed: Any = 0,
    shard: Any = None,
    ray: Any = None,
    workers: Any = None,
    token_budget: Any = None,
) -> None:
    """Refuse values that no sweep can have, of whatever type, before a model is loaded.

    Args:
        limit: as for `sweep`.
        seed: as for `sweep`.
        shard: as for `sweep`.
        ray: as for `sweep`.
        workers: as for `sweep`.
        token_budget: as for `sweep`.

    Raises:
        UserError: one of them is not allowed.
    """
    check_seed(seed)
    for name, value, least, none in (
        ("limit", limit, 1, "all examples"),
        ("workers", workers, 1, "as many as there are devices"),
        ("token_budget", token_budget, 1, "from free memory"),
    ):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise UserError(f"{name} {value!r}: allowed are {least} and more (none: {none})")
    if workers is not None and not ray:
        raise UserError(f"workers {workers}: they are those of Ray; give ray, too (`--ray auto`)")
    if shard is not None:
        Shard.parse(str(shard))


def loaded_tasks(tasks: Any, **options: Any) -> list[Task]:
    """The tasks of a sweep, those given by name with the options that were given.

    Args:
        tasks: as for `sweep`.
        **options: options of `interp.load_task`; None where they were not given.

    Returns:
        Tasks, in their order.

    Raises:
        UserError: no tasks, or an option for a task that is loaded already.
    """
    if not isinstance(tasks, str | Path | Task | Sequence):
        raise UserError(f"tasks {tasks!r}: allowed are names, paths and tasks")
    given_options = {name: value for name, value in options.items() if value is not None}
    loaded = []
    for task in [tasks] if isinstance(tasks, str | Path | Task) else tasks:
        if isinstance(task, Task) and given_options:
            raise UserError(
                f"{next(iter(given_options))}: task {task.name} is loaded already; give it to "
                "interp.load_task"
            )
        loaded.append(task if isinstance(task, Task) else load_task(task, **given_options))
    if not loaded:
        raise UserError("tasks: none given")
    return loaded


def _origin(model: TransformerBridge) -> records.OriginEntry:
    """Where and when a run is begun."""
    return records.OriginEntry(
        command=tuple(map(records.as_text, sys.argv)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        device=", ".join(map(str, decoder(model).devices)),
        platform=platform.platform(),
    )


def _carry_out(
    model: TransformerBridge,
    compute: Callable[[Plan, Sequence[WorkUnit], "_Store"], dict[str, str]],
    plan: Plan,
    folder: Path,
    shard: Shard | None,
    allow: Sequence[str],
) -> records.Manifest | None:
    """Open the store and compute what waits; the first moment at which anything is written.

    Returns:
        What was asked, where the folder holds more.
    """
    if is_read_only(folder):
        finished = read_only(model, plan, folder, allow=allow)
        if finished.plan is None:
            _refuse_unfinished(folder, finished)
        return finished.answer
    try:
        kept = records.open_or_make(folder, plan.manifest)
        extended = extension(model, plan, kept, folder, allow=allow)
        with records.locked(folder, shard):
            while not records.extend_store(folder, kept, extended.manifest):
                kept = records.read_manifest(folder)
                extended = extension(model, plan, kept, folder, allow=allow)
            if extended.plan is None:
                _refuse_unfinished(folder, extended)
                return extended.answer
            store = _Store(folder, extended.manifest)
            units = [u for i, u in enumerate(extended.plan.units) if not shard or shard.holds(i)]
            failed = compute(extended.plan, store.waiting(units), store)
    except OSError as error:
        raise UserError(
            f"out {folder}: {error.strerror or error}; what was finished is kept, and the same "
            "command continues"
        ) from error
    _refuse_failed(folder, failed, len(extended.plan.units))
    return None


def _refuse_unfinished(folder: Path, asked: Extension) -> None:
    """Refuse a request for less where what holds its answers is not finished."""
    assert asked.answer is not None
    names, words = asked.answer.unit_names, ", ".join(asked.fewer)
    wrong = records.problems(folder, names, asked.manifest)
    if wrong:
        raise UserError(
            f"out {folder}: it holds a larger run ({words}), and {len(wrong)} of the {len(names)} "
            "units with what is asked are missing or damaged; ask for all of it, or give another "
            "folder"
        )
    log.info("out %s: it holds more than was asked (%s)", folder, words)


@dataclass(frozen=True)
class _Store:
    """The folder of the run, and the manifest that is in it."""

    folder: Path
    manifest: records.Manifest

    @cached_property
    def _fingerprints(self) -> Mapping[str, str]:
        return self.manifest.unit_fingerprints()

    def fingerprint(self, unit: WorkUnit) -> str:
        """Hash of all that decides a unit's records."""
        return self._fingerprints[unit.name]

    def waiting(self, units: Sequence[WorkUnit]) -> list[WorkUnit]:
        """Those that are not finished; a damaged shard is named and moved aside."""
        wrong = records.problems(self.folder, [unit.name for unit in units], self.manifest)
        for name, reason in wrong.items():
            if reason != "missing":
                aside = records.quarantine(self.folder, name)
                log.warning("unit %s: %s; moved to %s and computed again", name, reason, aside.name)
        return [unit for unit in units if unit.name in wrong]

    def write(self, unit: WorkUnit, found: Sequence[records.Record]) -> None:
        """Write a finished unit."""
        run = self.fingerprint(unit)
        records.write_unit(self.folder, unit.name, self.manifest, found, run=run)
        records.remove_pieces(self.folder, unit.name)


def _run_here(
    model: TransformerBridge,
    shortcuts: Shortcuts,
    plan: Plan,
    waiting: Sequence[WorkUnit],
    store: _Store,
) -> dict[str, str]:
    """Compute units one after the other; those that failed, with the reason."""
    run, failed = runner(model, plan, shortcuts=shortcuts), {}
    pace = Pace(model, plan)
    with _progress(plan, waiting) as bar:
        for unit in waiting:
            bar.set_postfix_str(plan.tasks[unit.task].task.name)
            try:
                records_of_unit = run_in_pieces(
                    run, unit, pace, store.folder, store.fingerprint(unit), bar.update
                )
            except MemoryError as error:
                failed[unit.name] = f"out of memory: {error}"
                log.warning("unit %s: failed (%s)", unit.name, failed[unit.name])
                continue
            store.write(unit, records_of_unit)
    return failed


def _run_on_ray(
    hired: Callable[[Plan], WorkerPool], plan: Plan, waiting: Sequence[WorkUnit], store: _Store
) -> dict[str, str]:
    """Hand units out to Ray workers; those that failed, with the reason."""
    pool = hired(plan)
    with _progress(plan, waiting) as bar:

        def finish(unit: WorkUnit, found: list[records.Record]) -> None:
            store.write(unit, found)
            bar.update(pairs(unit))

        return pool.work(TaskQueue(plan, waiting, finish), log.warning)


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

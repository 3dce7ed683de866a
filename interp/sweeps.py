"""One model x tasks x ablations, example by example: the plan, the run, its result."""

import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import records, stats
from interp.ablations import BASELINE, Ablation, as_ablation
from interp.ablations.hooks import checked_edits
from interp.ablations.means import head_means
from interp.ablations.resampling import draw_donors
from interp.ablations.values import Edits, donors, with_donor
from interp.errors import UserError
from interp.models import decoder, model_name, weights_hash
from interp.requests import encode, prompt_text
from interp.resampled import is_resampled
from interp.tasks import Task, load_task
from interp.units import Variants, WorkUnit, run_unit

UNIT_EXAMPLES = 128
REFERENCE_EXAMPLES = 32
LIBRARIES = ("interp", "torch", "transformer-lens", "transformers", "lm-eval", "tokenizers")


class Sweep:
    """A finished run: its records as DataFrames. Needs no model.

    Attributes:
        folder: where the records are.
        manifest: what was run, on what, with which versions.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = records.read_manifest(self.folder)

    @cached_property
    def _responses(self) -> pd.DataFrame:
        units = [unit["name"] for unit in self.manifest["units"]]
        missing = [u for u in units if not records.verified(self.folder, u, self.manifest)]
        if missing:
            raise UserError(
                f"run {self.folder}: {len(missing)} of {len(units)} units are missing or damaged "
                f"(first: {missing[0]}); the same sweep again completes it"
            )
        return records.read_units(self.folder, units).to_pandas()

    def responses(self) -> pd.DataFrame:
        """One row an example and ablation: the raw responses, and a column a metric."""
        table = self._responses
        metrics = pd.DataFrame([dict(pairs) for pairs in table["metrics"]], index=table.index)
        return pd.concat([table.drop(columns="metrics"), metrics], axis=1)

    def values(self) -> pd.DataFrame:
        """One row an example, ablation and metric: model, task, metric, ablation, doc_id, value."""
        table = self._responses
        pairs = table["metrics"].explode()
        long = table.loc[pairs.index, ["model", "task", "ablation", "doc_id"]].copy()
        long["metric"] = [metric for metric, _ in pairs]
        long["value"] = [value for _, value in pairs]
        columns = ["model", "task", "metric", "ablation", "doc_id", "value"]
        return long[columns].reset_index(drop=True)

    def scores(self, *, confidence: float = 0.95) -> pd.DataFrame:
        """Each metric under each ablation, with its interval (`interp.stats.scores`)."""
        return stats.scores(self.values(), confidence=confidence)

    def importance(
        self, *, confidence: float = 0.95, resamples: int = 2000, correction: str = "holm"
    ) -> pd.DataFrame:
        """The paired drop against the baseline of each ablation, with its interval and test.

        Columns and statistics as in `interp.stats.importance`; the seed is the sweep's.
        """
        return stats.importance(
            self.values(),
            confidence=confidence,
            resamples=resamples,
            seed=self.manifest["seed"],
            correction=correction,
        )

    def __repr__(self) -> str:
        m = self.manifest
        examples = sum(len(task["doc_ids"]) for task in m["tasks"])
        return (
            f"Sweep({m['model']}: {len(m['tasks'])} tasks, {examples} examples, "
            f"{len(m['ablations'])} ablations; {self.folder})"
        )


def open_run(folder: str | Path) -> Sweep:
    """A finished run, without the model. Raises UserError where there is none."""
    return Sweep(folder)


def sweep(
    model: TransformerBridge,
    tasks: Sequence[str | Task] | str | Task,
    ablations: Sequence[str | Ablation],
    *,
    out: str | Path,
    limit: int | None = None,
    seed: int = 0,
    donor: TransformerBridge | None = None,
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

    Returns:
        The finished run.

    Raises:
        UserError: before anything is written, for any request that cannot be carried out.
    """
    _refuse_hooks(model)
    loaded = [_task(t) for t in ([tasks] if isinstance(tasks, str | Task) else tasks)]
    asked = [with_donor(as_ablation(a), donor) for a in ablations]
    _refuse_doubles(loaded, asked)
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}: allowed are 1 and more (no limit: all examples)")
    edits = [checked_edits(model, ablation) for ablation in asked]
    drawn = [_draw(task, limit, seed) for task in loaded]
    if any(map(is_resampled, edits)):
        for doc_ids in drawn:
            draw_donors(doc_ids, seed=seed)
    units = _units(loaded, drawn)
    folder = Path(out)
    manifest = _manifest(model, loaded, drawn, asked, units=units, seed=seed)
    manifest = records.open_store(folder, manifest)
    waiting = [u for u in units if not _kept(folder, u, manifest)]
    texts = (BASELINE.text, *(a.text for a in asked))
    with tqdm(
        total=sum(len(u.doc_ids) for u in units) * len(texts),
        initial=sum(len(u.doc_ids) for u in units if u not in waiting) * len(texts),
        unit="example",
        desc=model_name(model),
        smoothing=0.1,
    ) as bar:
        for unit in waiting:
            task = loaded[unit.task]
            bar.set_postfix_str(task.name)
            variants = _variants(model, task, drawn[unit.task], texts, ({}, *edits), seed)
            found = run_unit(model, task, unit, variants, done=bar.update)
            records.write_unit(folder, unit.name, manifest, found)
    return Sweep(folder)


def _task(task: str | Task) -> Task:
    return task if isinstance(task, Task) else load_task(task)


def _refuse_hooks(model: TransformerBridge) -> None:
    """A sweep runs the native blocks, which hooks on the bridge would not reach."""
    # permanent hooks are TransformerLens' own, part of how it runs an architecture (OPT)
    active = [
        name
        for name, point in model.hook_dict.items()
        if any(not hook.is_permanent for hook in point.fwd_hooks)
    ]
    if active:
        raise UserError(
            f"model {model_name(model)}: {len(active)} hooks are active ({active[0]}) and a sweep "
            "would not see them; leave the `with` block, or call model.reset_hooks()"
        )


def _refuse_doubles(tasks: Sequence[Task], ablations: Sequence[Ablation]) -> None:
    if not tasks:
        raise UserError("tasks: none given")
    for what, names in (
        ("task", [t.name for t in tasks]),
        ("ablation", [a.text for a in ablations]),
    ):
        double = next((n for n in names if names.count(n) > 1), None)
        if double:
            raise UserError(f"{what} {double}: given twice")
    if any(a == BASELINE for a in ablations):
        raise UserError("ablation baseline: every sweep runs it without being asked")


def _draw(task: Task, limit: int | None, seed: int) -> list[int]:
    """The examples of a task: all, or a seeded draw that does not depend on the model."""
    count = len(task.harness.eval_docs)
    if limit is None or limit >= count:
        return list(range(count))
    chosen = np.random.default_rng(seed).choice(count, size=limit, replace=False)
    return sorted(chosen.tolist())


def _units(tasks: Sequence[Task], drawn: Sequence[Sequence[int]]) -> list[WorkUnit]:
    units = []
    for number, (task, doc_ids) in enumerate(zip(tasks, drawn, strict=True)):
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in task.name)
        for part, start in enumerate(range(0, len(doc_ids), UNIT_EXAMPLES)):
            chosen = tuple(doc_ids[start : start + UNIT_EXAMPLES])
            units.append(WorkUnit(number, f"{number:02d}-{stem}-{part:04d}", chosen))
    return units


def _kept(folder: Path, unit: WorkUnit, manifest: dict[str, Any]) -> bool:
    there = (folder / records.UNITS / f"{unit.name}.parquet").is_file()
    good = records.verified(folder, unit.name, manifest)
    if there and not good:
        tqdm.write(f"unit {unit.name}: its shard is damaged; moved aside and computed again")
    return good


def _variants(
    model: TransformerBridge,
    task: Task,
    doc_ids: Sequence[int],
    texts: tuple[str, ...],
    edits: tuple[Edits, ...],
    seed: int,
) -> Variants:
    """The variants of one task, with mean z over its first examples where an edit asks for it."""
    donors = draw_donors(doc_ids, seed=seed) if any(map(is_resampled, edits)) else None
    if not any(edit.mean_heads for one in edits for edit in one.values()):
        return Variants(texts, edits, donors=donors)
    parts, documents = decoder(model), task.documents()
    prompts = [prompt_text(task, documents[i]) for i in doc_ids[:REFERENCE_EXAMPLES]]
    return Variants(texts, edits, head_means(model, [encode(p, parts) for p in prompts]), donors)


def _manifest(
    model: TransformerBridge,
    tasks: Sequence[Task],
    drawn: Sequence[Sequence[int]],
    ablations: Sequence[Ablation],
    *,
    units: Sequence[WorkUnit],
    seed: int,
) -> dict[str, Any]:
    given = {id(d): d for a in ablations for d in donors(a)}
    return {
        "schema": records.SCHEMA_VERSION,
        "model": model_name(model),
        "weights_sha256": weights_hash(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "tasks": [_described(task, ids) for task, ids in zip(tasks, drawn, strict=True)],
        "ablations": [a.text for a in ablations],
        "donors": {model_name(d): weights_hash(d) for d in given.values()},
        "mean_reference": f"the first {REFERENCE_EXAMPLES} prompts of each task",
        "resample_donors": "one cycle through each task's examples, drawn with the seed",
        "seed": seed,
        "units": [{"name": u.name, "examples": len(u.doc_ids)} for u in units],
        "libraries": {name: version(name) for name in LIBRARIES},
        "device": str(decoder(model).device),
        "platform": platform.platform(),
        "command": sys.argv,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _described(task: Task, doc_ids: Sequence[int]) -> dict[str, Any]:
    documents = task.documents()
    rows = json.dumps([documents[i] for i in doc_ids], sort_keys=True, default=str)
    return {
        "name": task.name,
        "version": task.version,
        "num_fewshot": task.num_fewshot,
        "doc_ids": list(doc_ids),
        "rows_sha256": hashlib.sha256(rows.encode()).hexdigest(),
    }

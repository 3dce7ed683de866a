"""How many answers of the whole model rounding decides: the baseline again, in other batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
from jaxtyping import Float
from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.ablations import BASELINE, Edits, Variant
from interp.errors import UserError
from interp.records import MetricRounding, Record, TaskRounding
from interp.sweeps.cutting import PlannedTask
from interp.sweeps.plan import Plan
from interp.sweeps.units import AblationBatch, WorkUnit, run_unit

HALF = ("bfloat16", "float16")
"""Types in which the order of a sum decides answers; in float32 it is one choice in thousands, and
`interp.stats.near_ties` counts those."""
MOST_COMPARED = 256
"""Examples of a task that are run again."""
TOGETHER = 7
"""Examples of one batch the second time: few, and another number than any batch has by itself."""


def measure_rounding(model: TransformerBridge, plan: Plan, folder: Path) -> bool:
    """Run baselines of a finished run again in other batches, and keep what changed.

    Args:
        model: the model.
        plan: the plan of the request, with the tasks and their requests.
        folder: the folder of the run.

    Returns:
        Whether the run now says how many answers rounding decides: not where its type is not half
        precision, nor before the baseline of every task is there.
    """
    manifest = records.read_manifest(folder)
    if manifest.dtype.partition(",")[0] not in HALF:
        return False
    units = [unit.name for unit in manifest.units if unit.ablations[0] == 0]
    if any(not records.shard_path(folder, unit).is_file() for unit in units):
        return False
    before = records.read_rounding(folder)
    measured_before = {entry.name: entry for entry in before.tasks} if before else {}
    measured = []
    for planned in plan.tasks:
        doc_ids = planned.doc_ids[:MOST_COMPARED]
        earlier = measured_before.get(planned.task.name)
        if earlier is None or earlier.asked < len(doc_ids):
            measured.append(_compared(model, planned, doc_ids, plan.manifest.seed, folder, units))
    fresh = [measurement for measurement in measured if measurement is not None]
    if fresh:
        kept = measured_before | {measurement.name: measurement for measurement in fresh}
        try:
            records.write_rounding(folder, manifest.dtype, list(kept.values()))
        except OSError as error:
            raise UserError(f"out {folder}: {error.strerror or error}") from error
    return bool(fresh or measured_before)


def _compared(
    model: TransformerBridge,
    planned: PlannedTask,
    doc_ids: Sequence[int],
    seed: int,
    folder: Path,
    units: Sequence[str],
) -> TaskRounding | None:
    """One task's baseline beside the stored one; None where no example has two outcomes."""
    field = pyarrow.dataset.field
    kept_and_again = (
        (field("task") == planned.task.name)
        & (field("ablation") == BASELINE.text)
        & field("doc_id").isin(list(doc_ids))
    )
    rows = records.dataset(folder, units).to_table(filter=kept_and_again).to_pylist()
    stored = {row["doc_id"]: row for row in rows if not row["failure"]}
    repeated = [record for record in _again(model, planned, doc_ids, seed) if not record.failure]
    pairs = [(record, stored[record.doc_id]) for record in repeated if record.doc_id in stored]
    if not pairs:
        return None
    values_by_metric: dict[str, list[tuple[float, float]]] = {}
    changed = 0
    for record, row in pairs:
        before = dict(row["metrics"])
        values = {name: (value, before[name]) for name, value in record.metrics.items()}
        changed += _answers_otherwise(record, row)
        for name, two in values.items():
            values_by_metric.setdefault(name, []).append(two)
    return TaskRounding(
        name=planned.task.name,
        asked=len(doc_ids),
        n=len(pairs),
        changed=changed,
        metrics={name: _of_metric(np.array(values)) for name, values in values_by_metric.items()},
    )


def _again(
    model: TransformerBridge, planned: PlannedTask, doc_ids: Sequence[int], seed: int
) -> list[Record]:
    """The baseline's records, a few examples at a time."""
    groups = [tuple(doc_ids[i : i + TOGETHER]) for i in range(0, len(doc_ids), TOGETHER)]
    batch = AblationBatch((Variant(BASELINE.text, Edits()),))
    return [
        record
        for group in groups
        for record in run_unit(
            model,
            planned.task,
            WorkUnit(0, "rounding", group),
            batch,
            requests=planned.requests,
            seed=seed,
            warns=False,
        )
    ]


def _answers_otherwise(one: Record, row: Mapping[str, Any]) -> bool:
    """Another text or another likeliest option; where there is neither, another metric."""
    if one.text is not None:
        return bool(one.text != row["text"])
    values = one.loglikelihoods or ()
    if len(values) > 1 and "loss" not in one.metrics:
        return int(np.argmax(values)) != int(np.argmax(np.asarray(row["loglikelihoods"])))
    return one.metrics != dict(row["metrics"])


def _of_metric(both: Float[np.ndarray, "examples 2"]) -> MetricRounding:
    """How a metric's values now differ from those before."""
    moved = both[:, 0] - both[:, 1]
    different = moved[moved != 0]
    return MetricRounding(
        changed=len(different),
        mean_square=float(np.mean(np.square(different))) if len(different) else 0.0,
        binary=bool(np.isin(both, (0.0, 1.0)).all()),
    )

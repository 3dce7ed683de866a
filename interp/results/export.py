"""A run's tables as files for other programs: CSV, Parquet, LaTeX, the harness' results JSON."""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from interp.errors import UserError, did_you_mean, folder_given
from interp.records import SCHEMA, whole_file, write_whole
from interp.results.cells import csv_text, plain_cell
from interp.results.latex import importance_latex, scores_latex
from interp.results.selection import choose_metric
from interp.results.sweep import Sweep
from interp.stats import FROM_RATIO
from interp.tasks import LOG, WEIGHT

TABLES = ("scores", "importance")
KINDS = ("csv", "parquet", "latex")
LONGEST = 100


def _check_sweep(run: Any) -> None:
    if not isinstance(run, Sweep):
        raise UserError(f"run {run!r:.80}: allowed is a finished run (interp.open_run)")


def export_tables(
    run: Sweep, folder: str | Path, *, kind: str = "csv", neutral: bool = True
) -> list[Path]:
    """Write `responses`, `scores` and `importance`; responses are never all in memory.

    Each file is written whole or not at all, and replaces a file of the same name.

    Args:
        run: a finished run.
        folder: the folder of the files; it is made if it does not exist.
        kind: `csv`, `parquet`, or `latex` (scores and importance of one metric per task, as
            tables for a paper).
        neutral: whether to put, in CSV, an apostrophe before texts that a spreadsheet would compute
            (that begin with `=`, `+`, `@` or `-`).

    Returns:
        The files.

    Raises:
        UserError: the run is unfinished, another kind is asked for, or the folder is a file.
    """
    _check_sweep(run)
    if kind not in KINDS:
        raise UserError(f"kind {kind!r}: allowed are {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    folder = folder_given("folder", folder)
    run.dataset()  # before any folder is made: it verifies the run
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "latex":
        tables = {
            "scores": scores_latex(choose_metric(run.scores())),
            "importance": importance_latex(choose_metric(run.importance())),
        }
        return [_written(folder / f"{name}.tex", text.encode()) for name, text in tables.items()]
    paths = [folder / f"responses.{kind}"]
    with whole_file(paths[0]) as file:
        _write_responses(run, file, kind, neutral)
    for name in TABLES:
        table: pd.DataFrame = getattr(run, name)()
        if kind == "parquet":
            buffer = io.BytesIO()
            table.to_parquet(buffer, index=False)
            content = buffer.getvalue()
        else:
            content = csv_text(table, neutral=neutral).encode()
        paths.append(_written(folder / f"{name}.{kind}", content))
    return paths


def _write_responses(run: Sweep, file: BinaryIO, kind: str, neutral: bool) -> None:
    batches = (
        batch for fragment in run.dataset().get_fragments() for batch in fragment.to_batches(SCHEMA)
    )
    if kind == "parquet":
        with pyarrow.parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
        return
    flat = pa.schema([(f.name, pa.string() if _nested(f) else f.type) for f in SCHEMA])
    with pyarrow.csv.CSVWriter(file, flat) as writer:
        for batch in batches:
            writer.write_batch(_flat(batch, flat, neutral))


def _written(path: Path, content: bytes) -> Path:
    write_whole(path, content)
    return path


def export_harness(run: Sweep, folder: str | Path) -> list[Path]:
    """Write lm-evaluation-harness' results JSON, one file per ablation and one for the baseline.

    Means and standard errors are over the examples of the run.

    Args:
        run: a finished run.
        folder: the folder of the files; it is made if it does not exist.

    Returns:
        The files, `results_ABLATION.json`, each name once.

    Raises:
        UserError: the run is unfinished, or the folder is a file.
    """
    _check_sweep(run)
    folder = folder_given("folder", folder)
    run.dataset()
    folder.mkdir(parents=True, exist_ok=True)
    names = file_names(run.manifest.texts)
    paths = []
    for ablation in run.manifest.texts:
        text = json.dumps(harness_results(run, ablation), indent=2, allow_nan=False) + "\n"
        paths.append(_written(folder / f"results_{names[ablation]}.json", text.encode()))
    return paths


def file_names(ablations: Sequence[str]) -> dict[str, str]:
    """For each ablation a file name; no two are equal, also where case makes no difference."""
    names: dict[str, str] = {}
    for ablation in ablations:
        plain = "".join(c if c.isalnum() or c in "-+.@" else "-" for c in ablation)
        taken = {name.lower() for name in names.values()}
        if len(plain) > LONGEST or plain.lower() in taken:
            digest = hashlib.sha256(ablation.encode()).hexdigest()[:12]
            plain = f"{plain[:LONGEST]}-{digest}"
        names[ablation] = plain
    return names


def harness_results(run: Sweep, ablation: str) -> dict[str, Any]:
    """One ablation's scores, as lm-evaluation-harness' `simple_evaluate` returns its own."""
    results: dict[str, Any] = {}
    values = run.values(ablations=ablation)
    declared = {task.name: task.metrics for task in run.manifest.tasks}
    for (task, metric), rows in values.groupby(["task", "metric"]):
        if str(metric).endswith(WEIGHT):
            continue
        entry = results.setdefault(str(task), {"alias": str(task)})
        if str(metric).endswith(LOG):
            name, _, named = str(metric).removesuffix(LOG).partition(",")
            aggregation = str(declared[str(task)].get(name, {}).get("aggregation"))
            if aggregation in FROM_RATIO:
                weight = values.query("task == @task and metric == @name + @WEIGHT")["value"]
                ratio = np.array(rows["value"].sum() / weight.sum())
                value = float(FROM_RATIO[aggregation](ratio))
            else:
                value = math.exp(-rows["value"].mean())
            entry[f"{name},{named or 'none'}"] = value
            entry[f"{name}_stderr,{named or 'none'}"] = "N/A"
            continue
        name, _, named = str(metric).partition(",")
        n, spread = len(rows), rows["value"].std()
        if rows["value"].isna().any():
            # failures have no number, and JSON has no NaN
            entry[f"{name},{named or 'none'}"] = entry[f"{name}_stderr,{named or 'none'}"] = None
            continue
        entry[f"{name},{named or 'none'}"] = rows["value"].mean()
        error = spread / math.sqrt(n) if n > 1 else "N/A"
        entry[f"{name}_stderr,{named or 'none'}"] = error
    manifest = run.manifest
    tasks = {task.name: task for task in manifest.tasks}
    return {
        "results": results,
        "group_subtasks": {name: [] for name in tasks},
        "versions": {name: task.version for name, task in tasks.items()},
        "n-shot": {name: task.num_fewshot for name, task in tasks.items()},
        "n-samples": {name: {"effective": len(t.doc_ids)} for name, t in tasks.items()},
        "config": {
            "model": "interp",
            "model_args": manifest.model,
            "ablation": ablation,
            "weights_sha256": manifest.weights_sha256,
            "model_dtype": manifest.dtype,
            "random_seed": manifest.seed,
        },
        "higher_is_better": {
            name: {metric: one["higher_is_better"] for metric, one in t.metrics.items()}
            for name, t in tasks.items()
        },
        "date": manifest.origin.created,
        "lm_eval_version": manifest.libraries.get("lm-eval", ""),
        "transformers_version": manifest.libraries.get("transformers", ""),
    }


def _nested(field: pa.Field) -> bool:
    return pa.types.is_nested(field.type)


def _flat(batch: pa.RecordBatch, schema: pa.Schema, neutral: bool) -> pa.RecordBatch:
    """A batch whose lists and metrics are JSON texts, which a cell of a CSV can hold."""
    columns = []
    for field in SCHEMA:
        column = batch.column(field.name)
        if _nested(field):
            column = pa.array(list(_json(column, field)), pa.string())
        elif neutral and pa.types.is_string(field.type):
            cells = [None if v is None else plain_cell(v) for v in column.to_pylist()]
            column = pa.array(cells, pa.string())
        columns.append(column)
    return pa.record_batch(columns, schema=schema)


def _json(column: pa.Array, field: pa.Field) -> Iterator[str | None]:
    for value in column.to_pylist():
        whole = dict(value) if value is not None and pa.types.is_map(field.type) else value
        yield None if whole is None else json.dumps(whole, allow_nan=False)

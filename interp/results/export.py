"""A run's tables as files that other programs read: CSV, Parquet, the harness' results JSON."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from interp.records import SCHEMA
from interp.results.sweep import Sweep
from interp.tasks import LOG

TABLES = ("scores", "importance")


def export_tables(run: Sweep, folder: Path, *, parquet: bool = False) -> list[Path]:
    """Write `responses`, `scores` and `importance`, the first without holding it in memory.

    Args:
        run: a finished run.
        folder: where; made if it is not there.
        parquet: Parquet files in place of CSV.

    Returns:
        The files.
    """
    responses = run.dataset()  # before any folder is made: it verifies the run
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "parquet" if parquet else "csv"
    paths = [folder / f"{name}.{suffix}" for name in ("responses", *TABLES)]
    batches = (b for fragment in responses.get_fragments() for b in fragment.to_batches(SCHEMA))
    if parquet:
        with pyarrow.parquet.ParquetWriter(paths[0], SCHEMA, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
    else:
        flat = pa.schema([(f.name, pa.string() if _nested(f) else f.type) for f in SCHEMA])
        with pyarrow.csv.CSVWriter(paths[0], flat) as writer:
            for batch in batches:
                writer.write_batch(_flat(batch, flat))
    for name, path in zip(TABLES, paths[1:], strict=True):
        table: pd.DataFrame = getattr(run, name)()
        if parquet:
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
    return paths


def export_harness(run: Sweep, folder: Path) -> list[Path]:
    """Write lm-evaluation-harness' results JSON, one file an ablation and one for the baseline.

    Means and standard errors are over the examples of the run; a perplexity is made of the mean
    log-likelihood, and has no standard error there.

    Returns:
        The files, `results_ABLATION.json`.
    """
    run.dataset()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ablation in run.manifest.texts:
        path = folder / f"results_{_file_name(ablation)}.json"
        path.write_text(
            json.dumps(harness_results(run, ablation), indent=2, allow_nan=False) + "\n"
        )
        paths.append(path)
    return paths


def harness_results(run: Sweep, ablation: str) -> dict[str, Any]:
    """One ablation's scores, as lm-evaluation-harness' `simple_evaluate` returns its own."""
    results: dict[str, Any] = {}
    values = run.values(ablations=ablation)
    for (task, metric), rows in values.groupby(["task", "metric"]):
        entry = results.setdefault(str(task), {"alias": str(task)})
        if str(metric).endswith(LOG):
            name, _, named = str(metric).removesuffix(LOG).partition(",")
            entry[f"{name},{named or 'none'}"] = math.exp(-rows["value"].mean())
            entry[f"{name}_stderr,{named or 'none'}"] = "N/A"
            continue
        name, _, named = str(metric).partition(",")
        n, spread = len(rows), rows["value"].std()
        if rows["value"].isna().any():
            # failures: no number stands for them, and JSON has no NaN
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


def _flat(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Lists and metrics as JSON, which a cell of a CSV can hold."""
    columns = []
    for field in SCHEMA:
        column = batch.column(field.name)
        if _nested(field):
            column = pa.array(list(_json(column, field)), pa.string())
        columns.append(column)
    return pa.record_batch(columns, schema=schema)


def _json(column: pa.Array, field: pa.Field) -> Iterator[str | None]:
    for value in column.to_pylist():
        whole = dict(value) if value is not None and pa.types.is_map(field.type) else value
        yield None if whole is None else json.dumps(whole, allow_nan=False)


def _file_name(ablation: str) -> str:
    """An ablation's text, with what file systems refuse in names replaced."""
    return "".join(c if c.isalnum() or c in "-+.@" else "-" for c in ablation)[:120]

"""The records of a run as tables: every example's answers and metrics."""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from interp import records
from interp.errors import UserError, names_given, path_given
from interp.results.rounding import measured_rounding

VALUES = ["model", "task", "metric", "ablation", "doc_id", "value"]
_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))


class StoredRecords:
    """The records of a finished run, read when they are asked for; each shard is verified first.

    Attributes:
        folder: where the records are.
        manifest: what was run, on what, with which versions.

    Args:
        folder: the folder of the run.
        asked: the manifest of a request for less than the run holds, if there was one; the rest is
            left out.
    """

    def __init__(self, folder: str | Path, asked: records.Manifest | None = None) -> None:
        self.folder = path_given("run", folder)
        self._held = records.read_manifest(self.folder)
        self._asked = asked
        self.manifest = asked or self._held
        self._verified = False

    def dataset(self) -> pyarrow.dataset.Dataset:
        """The records as an Arrow dataset, for queries over runs larger than memory.

        Columns as in `interp.records.schema`. For instance
        `run.dataset().scanner(filter=ds.field("ablation") == "layer:7").to_batches()`.

        Raises:
            UserError: a unit is missing or damaged.
        """
        units = self.manifest.unit_names
        if not self._verified:
            wrong = self.problems()
            if wrong:
                unit, reason = next(iter(wrong.items()))
                raise UserError(
                    f"run {self.folder}: {len(wrong)} of {len(units)} units are missing or damaged "
                    f"(first: {unit}, {reason}); the same sweep again completes it"
                )
            self._verified = True
        dataset = records.dataset(self.folder, units)
        return dataset.filter(_of_request(self._asked)) if self._asked else dataset

    def problems(self) -> dict[str, str]:
        """What is wrong with units of the run, by their names; empty where all are whole."""
        return records.problems(self.folder, self.manifest.unit_names, self._held)

    def rounding(self) -> pd.DataFrame:
        """The noise floor of half precision, by task and metric; empty where none was measured.

        A sweep in bfloat16 or float16 runs up to 256 examples of the baseline again in other
        batches: columns as in `interp.results.measured_rounding`.
        """
        return measured_rounding(self.folder, self.manifest)

    def responses(
        self,
        *,
        tasks: Sequence[str] | str | None = None,
        ablations: Sequence[str] | str | None = None,
    ) -> pd.DataFrame:
        """The raw responses and a column per metric, one row per example and ablation.

        Where examples share a passage or a wording, its name is in a further column `cluster`, as
        in `values`.

        Args:
            tasks: only these; the rest is not read into memory.
            ablations: only these (`"baseline"` is one).

        Raises:
            UserError: the run holds no such task or ablation.
        """
        table = self._read(tasks, ablations).to_pandas()
        metrics = pd.DataFrame([dict(pairs) for pairs in table["metrics"]], index=table.index)
        return self._with_clusters(pd.concat([table.drop(columns="metrics"), metrics], axis=1))

    def values(
        self,
        *,
        tasks: Sequence[str] | str | None = None,
        ablations: Sequence[str] | str | None = None,
    ) -> pd.DataFrame:
        """The values, one row per example, ablation and metric.

        Columns `model task metric ablation doc_id value`. Where examples share a passage or a
        subject (`cluster` of the sweep or of the task), its name is in a further column `cluster`.
        The arguments are those of `responses`.
        """
        columns = ["model", "task", "ablation", "doc_id", "metrics"]
        table = self._read(tasks, ablations, columns)
        lists = table["metrics"].combine_chunks()
        rows = pa.compute.list_parent_indices(lists.cast(_PAIRS))
        pairs = pa.compute.list_flatten(lists.cast(_PAIRS))
        long = table.drop_columns("metrics").take(rows)
        long = long.append_column("metric", pa.compute.struct_field(pairs, "key"))
        long = long.append_column("value", pa.compute.struct_field(pairs, "value"))
        frame: pd.DataFrame = long.select(VALUES).to_pandas()
        return self._with_clusters(frame)

    def _read(
        self,
        tasks: Sequence[str] | str | None,
        ablations: Sequence[str] | str | None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        wanted = None
        known = {
            "task": [task.name for task in self.manifest.tasks],
            "ablation": list(self.manifest.texts),
        }
        for column, asked in (("task", tasks), ("ablation", ablations)):
            if asked is None:
                continue
            chosen = names_given(column, asked)
            for name in chosen:
                if name not in known[column]:
                    names_held = ", ".join(known[column][:8]) + (
                        "..." if len(known[column]) > 8 else ""
                    )
                    raise UserError(f"run {self.folder}: no {column} {name}; it holds {names_held}")
            condition = pyarrow.dataset.field(column).isin(chosen)
            wanted = condition if wanted is None else wanted & condition
        return self.dataset().to_table(columns=columns, filter=wanted)

    def _with_clusters(self, values: pd.DataFrame) -> pd.DataFrame:
        if not any(task.clusters for task in self.manifest.tasks):
            return values
        names = np.full(len(values), None)
        for task in self.manifest.tasks:
            rows = (values["task"] == task.name).to_numpy()
            if task.clusters and rows.any():
                of_row = dict(zip(task.doc_ids, task.clusters, strict=False))
                names[rows] = [of_row.get(doc_id) for doc_id in values["doc_id"].to_numpy()[rows]]
        return values.assign(cluster=names.tolist())


def _of_request(asked: records.Manifest) -> Any:
    """The condition that a record is of the tasks, examples and ablations of a request."""
    field = pyarrow.dataset.field
    tasks = [
        (field("task") == task.name) & field("doc_id").isin(list(task.doc_ids))
        for task in asked.tasks
    ]
    return field("ablation").isin(list(asked.texts)) & reduce(or_, tasks)

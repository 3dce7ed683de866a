"""A finished run: its records as DataFrames, read when they are asked for. Needs no model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from interp import records, stats
from interp.errors import UserError
from interp.tasks import LOG

VALUES = ["model", "task", "metric", "ablation", "doc_id", "value"]


class Sweep:
    """A finished run.

    Opening it reads the manifest only. The first table verifies every shard (its hash, at the
    speed of the disk); then each table reads the columns that it needs.

    Attributes:
        folder: where the records are.
        manifest: what was run, on what, with which versions.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = records.read_manifest(self.folder)
        self._verified = False

    def dataset(self) -> pyarrow.dataset.Dataset:
        """The records as an Arrow dataset, for queries over a store larger than memory.

        Columns as in `interp.records.schema`. For instance
        `run.dataset().scanner(filter=ds.field("ablation") == "layer:7").to_batches()`.

        Raises:
            UserError: a unit is missing or damaged.
        """
        units = self.manifest.unit_names
        if not self._verified:
            wrong = records.problems(self.folder, units, self.manifest)
            if wrong:
                unit, reason = next(iter(wrong.items()))
                raise UserError(
                    f"run {self.folder}: {len(wrong)} of {len(units)} units are missing or damaged "
                    f"(first: {unit}, {reason}); the same sweep again completes it"
                )
            self._verified = True
        return records.dataset(self.folder, units)

    def responses(
        self,
        *,
        tasks: Sequence[str] | str | None = None,
        ablations: Sequence[str] | str | None = None,
    ) -> pd.DataFrame:
        """One row an example and ablation: the raw responses, and a column a metric.

        Args:
            tasks: only these; the rest is not read into memory.
            ablations: only these (`"baseline"` is one).

        Raises:
            UserError: the run holds no such task or ablation.
        """
        table = self._read(tasks, ablations).to_pandas()
        metrics = pd.DataFrame([dict(pairs) for pairs in table["metrics"]], index=table.index)
        return pd.concat([table.drop(columns="metrics"), metrics], axis=1)

    def values(
        self,
        *,
        tasks: Sequence[str] | str | None = None,
        ablations: Sequence[str] | str | None = None,
    ) -> pd.DataFrame:
        """One row an example, ablation and metric: model, task, metric, ablation, doc_id, value.

        Where examples share a passage or a subject (`cluster` of the sweep or of the task), its
        name is in a further column `cluster`. Arguments as for `responses`.
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

    def scores(self, *, confidence: float = 0.95, resamples: int = 2000) -> pd.DataFrame:
        """Each metric under each ablation, with its interval (`interp.stats.scores`)."""
        table = self._by_task(stats.scores, confidence=confidence, resamples=resamples)
        names = _perplexities(table)
        return _joined(table, stats.perplexity_scores(table, names)) if names else table

    def importance(
        self, *, confidence: float = 0.95, resamples: int = 2000, correction: str = "holm"
    ) -> pd.DataFrame:
        """The paired drop against the baseline of each ablation, with its interval and test.

        Columns and statistics as in `interp.stats.importance`; the seed is the sweep's. Positive
        drops are damage, also of metrics of which less is better.
        """
        options: dict[str, Any] = {"confidence": confidence, "resamples": resamples}
        table = self._by_task(stats.importance, correction=correction, **options)
        table = self._positive_is_damage(table)
        names = _perplexities(table)
        if not names:
            return table
        values = pd.concat([self.values(tasks=task) for task in table["task"].unique()])
        options["seed"] = self.manifest.seed
        return _joined(table, stats.perplexity_drops(table, values, names, **options))

    def equivalence(
        self, *, margin: float, confidence: float = 0.95, resamples: int = 2000
    ) -> pd.DataFrame:
        """Which ablations change a metric by less than `margin` (`interp.stats.equivalence`)."""
        return self._by_task(
            stats.equivalence, margin=margin, confidence=confidence, resamples=resamples
        )

    def ties(self, *, within: float = stats.WITHIN) -> pd.DataFrame:
        """How many choices rounding may decide (`interp.stats.near_ties`), one row an ablation."""
        columns = ["model", "task", "ablation", "loglikelihoods"]
        tables = [
            stats.near_ties(self._read(task.name, None, columns).to_pandas(), within=within)
            for task in self.manifest.tasks
        ]
        # one task at a time in memory; generated answers have no choices
        some = [table for table in tables if len(table)]
        return pd.concat(some, ignore_index=True) if some else tables[0]

    def _by_task(self, function: Callable[..., pd.DataFrame], **options: Any) -> pd.DataFrame:
        """A table of `interp.stats` with the sweep's seed, one task at a time in memory."""
        names, seed = sorted(task.name for task in self.manifest.tasks), self.manifest.seed
        return pd.concat(
            [function(self.values(tasks=name), seed=seed, **options) for name in names],
            ignore_index=True,
        )

    def _positive_is_damage(self, table: pd.DataFrame) -> pd.DataFrame:
        """Drops with the other sign where less of a metric is better."""
        falling = {
            (task.name, metric)
            for task in self.manifest.tasks
            for metric, declared in task.metrics.items()
            if not declared["higher_is_better"]
        }
        plain = table["metric"].str.partition(",")[0]
        perplexity = table["metric"].str.endswith(LOG)
        named = [pair in falling for pair in zip(table["task"], plain, strict=True)]
        turned = np.array(named, dtype=bool) & ~perplexity.to_numpy()
        columns = ["drop", "low", "high"]
        table.loc[turned, columns] = -table.loc[turned, ["drop", "high", "low"]].to_numpy()
        return table

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
            chosen = [asked] if isinstance(asked, str) else list(asked)
            for name in chosen:
                if name not in known[column]:
                    held = ", ".join(known[column][:8]) + ("..." if len(known[column]) > 8 else "")
                    raise UserError(f"run {self.folder}: no {column} {name}; it holds {held}")
            condition = pyarrow.dataset.field(column).isin(chosen)
            wanted = condition if wanted is None else wanted & condition
        return self.dataset().to_table(columns=columns, filter=wanted)

    def _with_clusters(self, values: pd.DataFrame) -> pd.DataFrame:
        clusters: dict[Any, Any] = {
            (task.name, doc_id): name
            for task in self.manifest.tasks
            for doc_id, name in zip(task.doc_ids, task.clusters, strict=False)
        }
        if not clusters:
            return values
        keys = zip(values["task"], values["doc_id"], strict=True)
        named: list[Any] = [clusters.get(key) for key in keys]
        return values.assign(cluster=named)

    def __repr__(self) -> str:
        m = self.manifest
        examples = sum(len(task.doc_ids) for task in m.tasks)
        return (
            f"Sweep({m.model}: {len(m.tasks)} tasks, {examples} examples, "
            f"{len(m.ablations)} ablations; {self.folder})"
        )


def open_run(folder: str | Path) -> Sweep:
    """A run, without the model; nothing but its manifest is read until a table is asked for.

    Raises:
        UserError: there is none, or another version of the package wrote it.
    """
    return Sweep(folder)


def _perplexities(table: pd.DataFrame) -> dict[str, str]:
    """The metrics of log-likelihoods that a perplexity comes from, and its name."""
    logs = [name for name in table["metric"].unique() if name.endswith(LOG)]
    return {name: name.removesuffix(LOG) for name in logs}


def _joined(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Both tables, each task's rows together."""
    both = pd.concat([table, more], ignore_index=True)
    return both.sort_values("task", kind="stable", ignore_index=True)


_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))

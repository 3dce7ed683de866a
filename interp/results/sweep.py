"""A finished run: its records as DataFrames, read when they are asked for. Needs no model."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from interp import records, stats
from interp.errors import UserError
from interp.results import columns, summary
from interp.results.by_field import importance_by
from interp.results.row_fields import row_field
from interp.results.selection import MetricChoice, choose_metric
from interp.tasks import LOG, Task

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
        """Each metric under each ablation, with its interval (`interp.stats.scores`).

        Where prompts or answers were cut, columns `cut_prompts` and `cut_answers` say of how many
        examples (`truncation`).
        """
        table = self._by_task(stats.scores, confidence=confidence, resamples=resamples)
        names = _perplexities(table)
        if names:
            table = _joined(table, stats.perplexity_scores(table, names))
        return self._with_truncation(table)

    def importance(
        self,
        *,
        metric: MetricChoice = None,
        by: str | None = None,
        short: bool = False,
        confidence: float = 0.95,
        resamples: int = 2000,
        correction: str = "holm",
        given: Sequence[str | Path | Task] = (),
        data: str | Path | None = None,
        allow_code: bool = False,
    ) -> pd.DataFrame:
        """The paired drop against the baseline of each ablation, with its interval and test.

        Statistics as in `interp.stats.importance`; the seed is the sweep's. Positive drops
        are damage, also of metrics of which less is better.

        Args:
            metric: only this one, of the tasks that have it, or one for each named task; all by
                default.
            by: a field of the rows (`"subject"`): one row for each of its values. The correction
                is then over all values and ablations of a task and metric.
            short: only the columns that are read first, of one metric per task (`metric`, or else
                accuracy, or an exact match), rounded to four digits.
            confidence: coverage of the intervals.
            resamples: of the bootstrap.
            correction: of p-values: `"holm"`, `"bh"` or `"none"`.
            given: for `by`: tasks that their name alone does not find, as paths or loaded tasks.
            data: for `by`: folder with the rows, as for the sweep.
            allow_code: for `by`: let the YAMLs in `given` run the Python that they name.

        Returns:
            Columns `task ablation kind layer head metric drop low high p_adjusted n` and, unless
            short, what `interp.stats.importance` adds: `baseline ablated low_all high_all p noise
            least_detectable_drop testable testability family n_family unit interval test
            correction`. The floor of a task with options is guessing among as many as each row
            has. `kind` is what the ablation is (`layer`, `head@mean`); `layer` and `head` are
            missing where it has none or several.

        Raises:
            UserError: the run is unfinished, or has no such metric or field.
        """
        if by is None:
            table = self._drops(confidence, resamples, correction)
        else:
            fields = {
                entry.name: row_field(entry, by, given=given, data=data, allow_code=allow_code)
                for entry in self.manifest.tasks
            }
            within = partial(importance_by, fields=fields, by=by, correction=correction)
            table = self._by_task(within, confidence=confidence, resamples=resamples)
            table = self._positive_is_damage(table)
        if isinstance(metric, str) and (table["metric"] == metric).any():
            # tasks without this metric are left out; one that none has is refused below
            table = table[table["metric"] == metric].reset_index(drop=True)
        elif metric is not None or short:
            table = choose_metric(table, metric).reset_index(drop=True)
        table = columns.with_places(table)
        if by is not None:
            table.insert(1, by, table.pop(by))
        if not short:
            return table
        narrow = columns.short(table)
        if by is not None:
            narrow.insert(1, by, table[by])
        return narrow

    def table(self, *, metric: MetricChoice = None, by: str | None = None) -> pd.DataFrame:
        """The short form of `importance`: one metric per task, the columns that are read first."""
        return self.importance(metric=metric, by=by, short=True)

    def summary(
        self,
        *,
        top: int = 5,
        metric: MetricChoice = None,
        correction: str = "holm",
        margin: float | None = None,
    ) -> str:
        """What `interp show` prints: the largest drops of each task, and how they were measured.

        Args:
            top: at most so many ablations per task.
            metric: one for all tasks, or one for each named task.
            correction: of p-values, as for `importance`.
            margin: also name the ablations that change the metric by less than this.

        Raises:
            UserError: an option out of range, an unknown metric, or an unfinished run.
        """
        return summary.summary(self, top=top, metric=metric, correction=correction, margin=margin)

    def _drops(self, confidence: float, resamples: int, correction: str) -> pd.DataFrame:
        """Drops of every metric, perplexities beside the log-likelihoods that they come from."""
        options: dict[str, Any] = {"confidence": confidence, "resamples": resamples}
        table = self._by_task(
            stats.importance, correction=correction, floors=self._floors(), **options
        )
        table = self._positive_is_damage(table)
        names = _perplexities(table)
        if names:
            values = pd.concat([self.values(tasks=task) for task in table["task"].unique()])
            options["seed"] = self.manifest.seed
            table = _joined(table, stats.perplexity_drops(table, values, names, **options))
        return self._with_truncation(table)

    def truncation(self) -> pd.DataFrame:
        """How many examples of each task the whole model did not read or answer in full.

        Returns:
            Columns `task`, `n`, `cut_prompts` (examples whose prompt lost tokens on its left to fit
            the context) and `cut_answers` (those whose generated answer, or one of several, met
            the token limit).
        """
        table = self._read(None, stats.BASELINE, ["task", "cut_tokens", "finished"]).to_pandas()
        cut = table.assign(
            cut_prompts=table["cut_tokens"] > 0,
            cut_answers=[finished is False or finished == 0 for finished in table["finished"]],
        )
        by_task = cut.groupby("task", sort=False)
        found = by_task[["cut_prompts", "cut_answers"]].sum().astype(int)
        return found.assign(n=by_task.size()).reset_index()

    def _with_truncation(self, table: pd.DataFrame) -> pd.DataFrame:
        found = self.truncation().set_index("task")
        for name in ("cut_prompts", "cut_answers"):
            if found[name].any():
                table = table.assign(**{name: table["task"].map(found[name])})
        return table

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
        signed = ["drop", "low", "high", "low_all", "high_all"]
        other_way = ["drop", "high", "low", "high_all", "low_all"]
        table.loc[turned, signed] = -table.loc[turned, other_way].to_numpy()
        return table

    def _floors(self) -> dict[tuple[str, str], float]:
        """(task, metric) to the share that guessing among a row's options gets right."""
        found: dict[tuple[str, str], float] = {}
        for task in self.manifest.tasks:
            wanted = ["ablation", "loglikelihoods", "metrics"]
            rows = self._read(task.name, "baseline", wanted).to_pylist()
            options = [len(row["loglikelihoods"] or ()) for row in rows]
            if not options or min(options) < 2:
                continue
            guessed = sum(1 / number for number in options) / len(options)
            names = {str(name) for name, _ in rows[0]["metrics"]}
            found |= {(task.name, name): guessed for name in names if name.startswith("acc")}
        return found

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

    def _repr_html_(self) -> str:
        return summary.summary_html(self)

    def __repr__(self) -> str:
        m = self.manifest
        examples = sum(len(task.doc_ids) for task in m.tasks)
        return (
            f"Sweep({m.model}: {_count(len(m.tasks), 'task')}, "
            f"{_count(examples, 'example')}, {_count(len(m.ablations), 'ablation')}; "
            f"{self.folder})"
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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))

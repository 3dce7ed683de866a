"""A finished run: its records as DataFrames, read when they are needed, without the model."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from interp import stats
from interp.errors import UserError
from interp.results import columns, summary
from interp.results.by_field import importance_by
from interp.results.design_effects import design_effects
from interp.results.direction import more_is_better, positive_is_damage
from interp.results.floors import floors_of
from interp.results.listing import counted
from interp.results.lost import lost_together
from interp.results.patch_recovery import patched_tasks, recovery
from interp.results.perplexities import from_log_likelihoods
from interp.results.row_fields import row_field
from interp.results.selection import MetricChoice, choose_metric, only_chosen
from interp.results.stored import StoredRecords
from interp.results.truncation import truncated, with_truncation
from interp.results.wrong_answers import kinds_of_error
from interp.tasks import WEIGHT, Task

BASELINE_ANSWERS = ["doc_id", "target", "text", "loglikelihoods", "metrics"]
ANSWERS = ["model", "task", "ablation", "doc_id", "text", "finished", "target", "failure"]
Chosen = Callable[[pd.DataFrame, str], pd.DataFrame] | None
"""A function of a task's values and its name that returns the wanted values; None keeps all."""


class Sweep(StoredRecords):
    """A finished run.

    Opening it reads only the manifest. The first table verifies the hash of every shard. Then each
    table reads the columns that it needs.

    Attributes:
        folder: where the records are.
        manifest: what was run, on what, with which versions.
    """

    def gains(self) -> pd.DataFrame:
        """The values, `1 - value` where smaller is better, so that a drop is always damage."""
        return more_is_better(self.manifest.tasks, self.values())

    def scores(self, *, confidence: float = 0.95, resamples: int = 2000) -> pd.DataFrame:
        """Each metric under each ablation, with its interval (`interp.stats.scores`).

        Where prompts or answers were truncated, the columns `cut_prompts` and `cut_answers` say for
        how many examples (`truncation`).
        """
        scores = partial(stats.scores, confidence=confidence, resamples=resamples)
        (table,) = self._by_task(scores)
        return self._with_other_scores(table, confidence=confidence)

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

        The statistics are those of `interp.stats.importance`, with the seed of the sweep. Positive
        drops are damage, also for metrics in which smaller is better.

        Args:
            metric: one for all tasks that have it, or one per named task; all by default.
            by: a field of the rows (`"subject"`): one row for each of its values. The correction
                is then over all values and ablations of a task and metric.
            short: whether to give only the main columns, rounded to four digits, for one metric per
                task (`metric`, or otherwise accuracy, or an exact match).
            confidence: coverage of the intervals.
            resamples: bootstrap resamples.
            correction: correction of p-values: `"holm"`, `"bh"` or `"none"`.
            given: for `by`: tasks that their name alone does not find: paths, or loaded tasks.
            data: for `by`: the folder with the rows, as for the sweep.
            allow_code: for `by`: whether the YAMLs in `given` may run the Python that they name.

        Returns:
            Columns `task ablation kind layer head metric drop low high p_adjusted n` and, unless
            short, what `interp.stats.importance` adds: `baseline ablated low_all high_all p noise
            least_detectable_drop testable testability family n_family unit interval test correction
            expected_excess floor floor_aware floor_aware_low floor_aware_high relative relative_low
            relative_high`. For `testable`, the floor of a task with options is the score of
            guessing among each row's options. `floor` is measured where the records hold the chosen
            letter or the written answer (`interp.stats.measured_floor`); otherwise it is the score
            of guessing, or 0. In half precision, `rounding` is the drop that rounding alone can
            cause (`rounding()`). `kind` is what the ablation is (`layer`, `head@mean`). `layer` and
            `head` are missing where it has none or several.

        Raises:
            UserError: the run is unfinished, or has no such metric or field.
        """
        if by is None:
            options: dict[str, Any] = {"confidence": confidence, "resamples": resamples}
            drops = partial(stats.importance, **options, **self._of_drops(correction))
            (table,) = self._by_task(drops)
            table = self._with_other_drops(table, correction, **options)
        else:
            fields = {
                entry.name: row_field(entry, by, given=given, data=data, allow_code=allow_code)
                for entry in self.manifest.tasks
            }
            within = partial(importance_by, fields=fields, by=by, correction=correction)
            (table,) = self._by_task(partial(within, confidence=confidence, resamples=resamples))
            table = positive_is_damage(self.manifest.tasks, table)
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
        """The short form of `importance`: the main columns, for one metric per task."""
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
            top: the most ablations that are named per task.
            metric: one for all tasks, or one for each named task.
            correction: correction of p-values, as for `importance`.
            margin: if given, the ablations that change the metric by less than this are named, too.

        Raises:
            UserError: an option is out of range, a metric is unknown, or the run is unfinished.
        """
        return summary.summary(self, top=top, metric=metric, correction=correction, margin=margin)

    def of_chosen_metric(
        self, metric: MetricChoice = None, *, correction: str = "holm"
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Drops and the baseline's scores for one metric per task, as a summary prints them.

        These are rows of `importance` and `scores`, without the time that all the others take.

        Args:
            metric: one for all tasks, or one for each named task.
            correction: correction of p-values, as for `importance`.
        """
        options: dict[str, Any] = {"confidence": 0.95, "resamples": 2000}
        drops, scores = self._by_task(
            partial(stats.importance, **options, **self._of_drops(correction)),
            partial(stats.scores, **options, ablations=[stats.BASELINE]),
            chosen=partial(only_chosen, metric=metric),
        )
        drops = self._with_other_drops(drops, correction, **options)
        scores = self._with_other_scores(scores, confidence=0.95)
        return choose_metric(drops, metric), choose_metric(scores, metric)

    def _with_other_scores(self, table: pd.DataFrame, *, confidence: float) -> pd.DataFrame:
        """Scores, and perplexities beside the log-likelihoods that they are made of."""
        names, weighted = from_log_likelihoods(self.manifest.tasks, table)
        if names:
            table = _joined(table, stats.perplexity_scores(table, names))
        if weighted:
            table = _joined(table, self._weighted(table, weighted, confidence=confidence))
        return with_truncation(table, self._truncation)

    def _of_drops(self, correction: str) -> dict[str, Any]:
        """The arguments of `interp.stats.importance` that follow from this run."""
        floors, shown = floors_of(self.manifest.tasks, self._baseline_answers)
        return {"correction": correction, "floors": floors, "measured": shown}

    def _with_other_drops(
        self, table: pd.DataFrame, correction: str, **options: Any
    ) -> pd.DataFrame:
        """Drops, and those of perplexities beside the log-likelihoods that they are made of."""
        table = positive_is_damage(self.manifest.tasks, table)
        names, weighted = from_log_likelihoods(self.manifest.tasks, table)
        if names:
            values = pd.concat([self.values(tasks=task) for task in table["task"].unique()])
            seed = self.manifest.seed
            more = stats.perplexity_drops(table, values, names, seed=seed, **options)
            table = _joined(table, more)
        if weighted:
            weighted_options = {"confidence": options["confidence"], "correction": correction}
            table = _joined(table, self._weighted(table, weighted, **weighted_options))
        return stats.with_rounding(with_truncation(table, self._truncation), self.rounding())

    def truncation(self) -> pd.DataFrame:
        """How many prompts and answers of the unablated model were truncated, by task.

        Returns:
            Columns `task`, `n`, `cut_prompts` (examples whose prompt lost tokens on its left to fit
            the context) and `cut_answers` (those whose generated answer, or one of several, met
            the token limit).
        """
        return self._truncation.copy()

    @cached_property
    def _truncation(self) -> pd.DataFrame:
        wanted = ["task", "cut_tokens", "finished", "failure"]
        return truncated(self._read(None, stats.BASELINE, wanted).to_pandas())

    def equivalence(
        self, *, margin: float, confidence: float = 0.95, resamples: int = 2000
    ) -> pd.DataFrame:
        """Which ablations change a metric by less than `margin` (`interp.stats.equivalence`)."""
        within = partial(stats.equivalence, margin=margin)
        (table,) = self._by_task(partial(within, confidence=confidence, resamples=resamples))
        return table

    def kinds_of_error(
        self,
        *,
        metric: MetricChoice = None,
        ablations: Sequence[str] | None = None,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """What the model writes in place of the right answer, by ablation.

        See `interp.results.kinds_of_error`. Tasks with several sampled answers per example have
        none.

        Args:
            metric: the metric by which an answer is right; by default an exact match.
            ablations: only these and the baseline have rows; all by default.
            confidence: coverage of the intervals.

        Raises:
            UserError: no task of the run generates one answer per example.
        """
        tables = []
        for task in sorted(task.name for task in self.manifest.tasks if not task.sampling):
            answers = self._read(task, None, ANSWERS).to_pandas()
            if answers["text"].notna().any():
                right = choose_metric(self.values(tasks=task), metric)
                right = right.assign(right=right["value"] == 1).drop(columns=["metric", "value"])
                joined = answers.merge(right, on=["model", "task", "ablation", "doc_id"])
                tables.append(kinds_of_error(joined, ablations, confidence=confidence))
        if not tables:
            raise UserError(f"run {self.folder}: no task generates one answer per example")
        return pd.concat(tables, ignore_index=True)

    @property
    def patched_tasks(self) -> list[str]:
        """Tasks of pairs of prompts (`interp.twins`) in which activations are patched."""
        names = [task.name for task in self.manifest.tasks]
        return patched_tasks(names, self.manifest.texts)

    def recovery(self, *, confidence: float = 0.95) -> pd.DataFrame:
        """How far each ablation moves the answer to the twin's (`interp.results.recovery`).

        Args:
            confidence: coverage of the intervals.

        Raises:
            UserError: the run holds no patches, or no pairs of prompts.
        """
        tasks = self.patched_tasks
        if not tasks:
            raise UserError(
                f"run {self.folder}: no patches over pairs of prompts; recovery is of "
                "interp.twins(model, task) and patch:..."
            )
        return recovery(self.responses(tasks=tasks), confidence=confidence)

    def lost_together(self, *, metric: MetricChoice = None) -> pd.DataFrame:
        """Do two ablations lose the same examples? See `interp.results.lost_together`.

        `interp.results.lost_examples` names the examples.

        Args:
            metric: a metric of 0/1 outcomes, one for all tasks, or one for each named task.

        Raises:
            UserError: an outcome is neither 0 nor 1.
        """
        return lost_together(choose_metric(self.gains(), metric))

    def design_effects(
        self,
        fields: Sequence[str] | None = None,
        *,
        metric: MetricChoice = None,
        given: Sequence[str | Path | Task] = (),
        data: str | Path | None = None,
        allow_code: bool = False,
    ) -> pd.DataFrame:
        """Are outcomes of one wording, relation or passage correlated? By task, field and ablation.

        A design effect of 4 says that the examples are worth a quarter of their number. A sweep
        with `cluster=FIELD` then resamples them together. See `interp.stats.design_effects`.

        Args:
            fields: fields of the rows; by default those whose values two or more rows share.
            metric: one for all tasks, or one for each named task.
            given: as for `importance`.
            data: as for `importance`.
            allow_code: as for `importance`.
        """
        tables = []
        for entry in self.manifest.tasks:
            values = choose_metric(self.values(tasks=entry.name), metric)
            table = design_effects(
                values, entry, fields=fields, seed=self.manifest.seed,
                given=given, data=data, allow_code=allow_code,
            )  # fmt: skip
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def ties(self, *, within: float = stats.WITHIN) -> pd.DataFrame:
        """How many choices rounding may decide (`interp.stats.near_ties`), one row per ablation."""
        columns = ["model", "task", "ablation", "loglikelihoods"]
        tables = [
            stats.near_ties(self._read(task.name, None, columns).to_pandas(), within=within)
            for task in self.manifest.tasks
        ]
        # one task at a time in memory; generated answers have no options
        # the windows of a text are not options
        choices = ["loss" not in task.metrics for task in self.manifest.tasks]
        pairs = zip(tables, choices, strict=True)
        tables_with_rows = [table for table, has in pairs if has and len(table)]
        return pd.concat(tables_with_rows, ignore_index=True) if tables_with_rows else tables[0][:0]

    def _by_task(
        self, *functions: Callable[..., pd.DataFrame], chosen: Chosen = None
    ) -> list[pd.DataFrame]:
        """Tables of `interp.stats` with the sweep's seed, one task at a time in memory."""
        tables: list[list[pd.DataFrame]] = [[] for _ in functions]
        for task in sorted(task.name for task in self.manifest.tasks):
            values = self.values(tasks=task)
            values = values[~values["metric"].str.endswith(WEIGHT)]  # weights are not outcomes
            wanted = values if chosen is None else chosen(values, task)
            for function, of_function in zip(functions, tables, strict=True):
                of_function.append(function(wanted, seed=self.manifest.seed))
        return [pd.concat(one, ignore_index=True) for one in tables]

    def _baseline_answers(self, task: str) -> list[dict[str, Any]]:
        return self._read(task, stats.BASELINE, BASELINE_ANSWERS).to_pylist()

    def _weighted(
        self, table: pd.DataFrame, weighted: dict[Any, str], **options: Any
    ) -> pd.DataFrame:
        tasks = sorted({task for task, _ in weighted})
        values = pd.concat([self.values(tasks=task) for task in tasks], ignore_index=True)
        return stats.weighted_losses(table, values, weighted, **options)

    def _repr_html_(self) -> str:
        return summary.summary_html(self)

    def __repr__(self) -> str:
        m = self.manifest
        examples = sum(len(task.doc_ids) for task in m.tasks)
        return (
            f"Sweep({m.model}: {counted(len(m.tasks), 'task')}, "
            f"{counted(examples, 'example')}, {counted(len(m.ablations), 'ablation')}; "
            f"{self.folder})"
        )


def open_run(folder: str | Path) -> Sweep:
    """Open a run without the model; only its manifest is read until a table is needed.

    Args:
        folder: the folder of the run.

    Returns:
        The run. If it is unfinished, its tables are refused.

    Raises:
        UserError: there is no run, or another version of the package wrote it.
    """
    return Sweep(folder)


def _joined(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Both tables in one, with each task's rows together."""
    combined = pd.concat([table, more], ignore_index=True)
    return combined.sort_values("task", kind="stable", ignore_index=True)

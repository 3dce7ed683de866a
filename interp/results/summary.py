"""A run summarised in words: the lines of `interp show`, and the same as HTML."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from interp import records
from interp.errors import UserError, check_whole
from interp.results.listing import run_line
from interp.results.rounding import rounding_lines
from interp.results.selection import MetricChoice, choose_metric
from interp.results.wrong_answers import what_instead
from interp.stats import design_effect, drops_by_document, findable, sample_of
from interp.tasks import how_drawn

RECOVERED = ["ablation", "recovery", "low", "high", "low_all", "high_all", "answer"]
SHOWN = ["ablation", "drop", "low", "high", "p", "p_adjusted", "n"]


@runtime_checkable
class Run(Protocol):
    """What a summary needs from a run; `interp.results.Sweep` has all of it."""

    folder: Path
    manifest: records.Manifest

    @property
    def patched_tasks(self) -> list[str]:
        """Tasks of pairs of prompts in which activations are patched."""

    def of_chosen_metric(
        self, metric: MetricChoice = None, *, correction: str = "holm"
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Paired drops and the baseline's scores, by one metric per task."""

    def equivalence(self, *, margin: float) -> pd.DataFrame:
        """Which drops are smaller than the margin."""

    def truncation(self) -> pd.DataFrame:
        """How many prompts and answers were truncated."""

    def ties(self) -> pd.DataFrame:
        """How many choices rounding may decide."""

    def rounding(self) -> pd.DataFrame:
        """What rounding changes in the baseline."""

    def kinds_of_error(self, *, ablations: Sequence[str] | None = None) -> pd.DataFrame:
        """What the wrong answers are."""

    def recovery(self) -> pd.DataFrame:
        """How far patches move the answer to the twin's."""

    def values(
        self, *, tasks: Sequence[str] | str | None, ablations: Sequence[str] | str | None
    ) -> pd.DataFrame:
        """One row per example, ablation and metric."""


def summary(
    run: Run,
    *,
    top: int = 5,
    metric: MetricChoice = None,
    correction: str = "holm",
    margin: float | None = None,
) -> str:
    """The largest drops of each task, with what they were measured on, and how.

    Args:
        run: a finished run.
        top: the most ablations that are named per task.
        metric: one for all tasks, or one per task; by default accuracy, else an exact match.
        correction: correction of p-values, as for `Sweep.importance`.
        margin: if given, the ablations that change the metric by less than this are named, too.

    Returns:
        Several lines of plain text.

    Raises:
        UserError: an option is out of range, a metric is unknown, or the run is unfinished.
    """
    check_whole("top", top, 1)
    lines = [run_line(run.folder, run.manifest), *_conditions(run.manifest)]
    lines += _truncation_lines(run.truncation())
    importance, scores = run.of_chosen_metric(metric, correction=correction)
    ties, errors = run.ties(), _kinds_of_error(run, _largest(importance, top))
    rounding = rounding_lines(run.rounding(), run.manifest.dtype)
    alike = None
    if margin is not None:
        alike = choose_metric(run.equivalence(margin=margin), metric)
    for task, rows in importance.groupby("task", sort=False):
        base = scores[scores["task"] == task].iloc[0]
        lines += ["", f"{task}, {_baseline_line(base)}"]
        whole = rows[rows["drop"].notna()]
        largest = whole.sort_values("drop", ascending=False, kind="stable").head(top)
        if len(whole):
            lines.append(_printed(largest[SHOWN]))
            kinds = ", ".join(dict.fromkeys(largest["interval"]))
            lines.append(f"intervals: {kinds}; p: {whole['test'].iloc[0]}, {_families(whole)}")
            lines += _cluster_lines(run, str(task), largest["ablation"].iloc[0], whole)
        lines += _failure_lines(rows)
        lines += findable(rows)
        lines += _error_lines(errors, str(task), largest)
        lines += _tie_lines(ties[ties["task"] == task])
        lines += _rounding_lines(rounding.get(str(task)), whole)
        if alike is not None and margin is not None:
            lines.append(_equivalent_line(alike[alike["task"] == task], margin))
    for title, largest in _recovered(run, top):
        lines += ["", title, _printed(largest)]
    return "\n".join(lines)


def _recovered(run: Run, top: int) -> list[tuple[str, pd.DataFrame]]:
    """The patches with the highest recovery, for each task of pairs and each direction."""
    if not run.patched_tasks:
        return []
    tables = []
    for (task, direction), rows in run.recovery().groupby(["task", "direction"], sort=False):
        largest = rows.sort_values("recovery", ascending=False, kind="stable").head(top)
        title = (
            f"{task}, {direction}: normalised recovery of the log-probability difference "
            f"(0: own prompt, 1: twin's), n = {rows['n'].iloc[0]} pairs; 95% Fieller, low_all and "
            f"high_all Bonferroni over {len(rows)}; answer: share that became the twin's"
        )
        tables.append((title, largest[RECOVERED]))
    return tables


def _truncation_lines(truncation: pd.DataFrame) -> list[str]:
    """How many prompts and answers of the unablated model were truncated."""
    columns = (
        ("cut_prompts", "prompts lost tokens on their left to fit the model's context"),
        ("cut_answers", "answers of the whole model were cut by the token limit"),
    )
    return [
        f"{row['task']}: {row[name]} of {row['n']} {words}"
        for row in truncation.to_dict("records")
        for name, words in columns
        if row[name]
    ]


def _largest(importance: pd.DataFrame, top: int) -> list[str]:
    """The ablations that are listed for any task."""
    known = importance[importance["drop"].notna()]
    ordered = known.sort_values("drop", ascending=False, kind="stable")
    return sorted(set(ordered.groupby("task").head(top)["ablation"]))


def _kinds_of_error(run: Run, ablations: Sequence[str]) -> pd.DataFrame | None:
    """The kinds of the answers generated under some ablations; None where none was generated."""
    try:
        return run.kinds_of_error(ablations=ablations)
    except UserError:
        return None


def _error_lines(errors: pd.DataFrame | None, task: str, largest: pd.DataFrame) -> list[str]:
    """What the model answers instead, under the ablations that are listed."""
    if errors is None:
        return []
    harmful = largest[largest["drop"] > 0]["ablation"]
    rows = errors[(errors["task"] == task) & errors["ablation"].isin(harmful)]
    words = what_instead(rows)
    return [f"wrong answers, n = {rows['n'].iloc[0]}: {words}"] if words else []


def _cluster_lines(run: Run, task: str, ablation: str, rows: pd.DataFrame) -> list[str]:
    """What the clusters of examples are, and the design effect of the largest drop."""
    field = next(entry.cluster for entry in run.manifest.tasks if entry.name == task)
    if not field:
        return []
    values = run.values(tasks=task, ablations=["baseline", ablation])
    values = values[values["metric"] == rows["metric"].iloc[0]]
    clusters = values.drop_duplicates("doc_id").set_index("doc_id")["cluster"]
    (damage,) = drops_by_document(values).values()
    effect = design_effect(sample_of(damage.droplevel("cluster"), clusters))[0]
    known = "" if effect != effect else f"; design effect of {ablation} {effect:.1f}"
    return [f"{clusters.nunique()} clusters of examples ({field}), resampled together{known}"]


def result_line(run: Run, *, top: int = 3) -> str:
    """The result of a finished run in one line: the largest drops of each task.

    Their intervals hold for all ablations of a family together. Perplexities and losses per token
    have no such intervals; theirs hold one by one.

    Args:
        run: a finished run.
        top: how many ablations of each task are named.

    Returns:
        The line, without an end.

    Raises:
        UserError: `top` is no whole number from 1 on, the run is none, or a file of it is damaged.
    """
    check_whole("top", top, 1)
    if not hasattr(run, "of_chosen_metric"):
        raise UserError(f"run {run!r:.80}: allowed is a run, such as from interp.open_run")
    importance = run.of_chosen_metric()[0]
    sentences = []
    for task, rows in importance.groupby("task", sort=False):
        whole = rows[rows["drop"].notna()]
        if whole.empty:
            sentences.append(f"{task}: examples failed everywhere")
            continue
        largest = whole.sort_values("drop", ascending=False, kind="stable").head(top)
        # chosen for their size, so the bounds for all ablations together are shown, where there are
        # any
        low, high = (largest[f"{end}_all"].fillna(largest[end]) for end in ("low", "high"))
        drops = ", ".join(
            f"{name} {drop:.3g} [{a:.3g}, {b:.3g}]"
            for name, drop, a, b in zip(
                largest["ablation"], largest["drop"], low, high, strict=True
            )
        )
        sentences.append(f"{task} (baseline {whole['baseline'].iloc[0]:.3g}): {drops}")
    return "largest drops: " + "; ".join(sentences)


def summary_html(run: Run, *, top: int = 5) -> str:
    """The summary as HTML, for notebooks; for a run without tables yet, its one line."""
    try:
        importance, scores = run.of_chosen_metric()
    except UserError as error:
        return f"<p>{escape(repr(run))}</p><p>{escape(str(error))}</p>"
    parts = [f"<p><b>{escape(run_line(run.folder, run.manifest))}</b></p>"]
    for task, rows in importance.groupby("task", sort=False):
        base = scores[scores["task"] == task].iloc[0]
        whole = rows[rows["drop"].notna()]
        largest = whole.sort_values("drop", ascending=False, kind="stable").head(top)
        parts.append(f"<p>{escape(f'{task}, {_baseline_line(base)}')}</p>")
        parts.append(largest[SHOWN].to_html(index=False, float_format=_number))
        parts += [f"<p>{escape(line)}</p>" for line in _failure_lines(rows)]
    for title, largest in _recovered(run, top):
        table = largest.to_html(index=False, float_format=_number)
        parts.append(f"<p>{escape(title)}</p>{table}")
    return "\n".join(parts)


def _conditions(manifest: records.Manifest) -> list[str]:
    """What a reader of the tables must know about how the run was made."""
    lines = [
        f"weights {manifest.weights_sha256[:12]}, {manifest.dtype}, seed "
        f"{manifest.seed}, torch {manifest.libraries.get('torch', 'unknown')}"
    ]
    for entry in manifest.tasks:
        if entry.sampling:
            draws_text = how_drawn(entry.sampling.as_dict())
            lines.append(f"{entry.name}: {draws_text}; an example counts once")
    for note in manifest.allowed:
        lines.append(f"allowed: {note.name} {note.there} and {note.asked}")
    return lines


def _families(rows: pd.DataFrame) -> str:
    """The correction, and how many ablations of each kind share it."""
    if rows["correction"].iloc[0] == "none":
        return "not corrected"
    correction = rows["correction"].iloc[0]
    counts = rows.groupby("family", sort=False)["n_family"].first()
    if len(counts) == 1:
        return f"{correction} over {counts.iloc[0]} ablations"
    return f"{correction} over " + ", ".join(
        f"{number} of {kind}" for kind, number in counts.items()
    )


def _failure_lines(rows: pd.DataFrame) -> list[str]:
    """The ablations that have no drop because examples failed under them."""
    failed = rows[rows["drop"].isna()]
    if failed.empty or "failures" not in failed:
        return []
    shown = ", ".join(f"{r.ablation} {r.failures} of {r.n}" for r in failed.head(5).itertuples())
    return [
        f"failed, without a drop: {len(failed)} ablations ({shown}"
        f"{' ...' if len(failed) > 5 else ''} examples)"
    ]


def _baseline_line(base: Any) -> str:
    unit = "points" if base["unit"] == "points" else "its own unit"
    failures = int(base.get("failures", 0))
    if failures:
        base = base.to_dict() | {"interval": f"{base['interval']}; {failures} examples failed"}
    return (
        f"{base['metric']} in {unit}: baseline {base['value']:.4g} "
        f"[{base['low']:.4g}, {base['high']:.4g}], n = {base['n']}, {base['interval']}"
    )


def _tie_lines(rows: pd.DataFrame) -> list[str]:
    """The choices that rounding may decide, and under which ablations."""
    tied = rows[rows["ties"] > 0].sort_values("ties", ascending=False, kind="stable")
    if tied.empty:
        return []
    shown = ", ".join(f"{r.ablation} {r.ties}" for r in tied.head(5).itertuples())
    return [
        f"ties: {tied['ties'].sum()} of {rows['n'].sum()} choices, two options within "
        f"{rows['within'].iloc[0]:g} nats: rounding decides ({shown}"
        f"{' ...' if len(tied) > 5 else ''})"
    ]


def _rounding_lines(said: str | None, rows: pd.DataFrame) -> list[str]:
    """What rounding changes in half precision, and how many drops are no larger."""
    if said is None or "rounding" not in rows:
        return []
    within = int((rows["drop"].abs() <= rows["rounding"]).sum())
    return [f"{said} ({within} of {len(rows)} drops are no larger)"]


def _equivalent_line(rows: pd.DataFrame, margin: float) -> str:
    """The ablations whose drop lies within the margin, and how that was shown."""
    names = rows[rows["equivalent"]]["ablation"].tolist()
    return (
        f"within {margin:g} either way: {', '.join(names) or 'none'} ({rows['test'].iloc[0]}, one "
        f"ablation at a time, n = {rows['n'].iloc[0]})"
    )


def _printed(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format=_number)


def _number(value: float) -> str:
    return f"{value:.4g}"

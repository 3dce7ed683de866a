"""Which metric of a table is used where none was named."""

from collections.abc import Mapping, Sequence

import pandas as pd

from interp.errors import UserError, did_you_mean
from interp.stats import check_columns
from interp.tasks import LOG, MEAN, WEIGHT

MetricChoice = str | Mapping[str, str] | None
"""The metric of every task, or one for each task; None is the main one."""


def choose_metric(table: pd.DataFrame, metric: MetricChoice = None) -> pd.DataFrame:
    """Keep one metric per task.

    Args:
        table: scores or importance.
        metric: a metric for all tasks, or one for each named task. By default `acc` where there is
            one, otherwise an exact match (preferably with flexible extraction, and over all draws
            of an example), otherwise the first by name.

    Returns:
        The rows of the kept metrics, task by task.

    Raises:
        UserError: a task has no such metric, or the table is empty.
    """
    check_columns("table", table, ["task", "metric"])
    if metric is not None and not isinstance(metric, str | Mapping):
        raise UserError(f"metric {metric!r:.80}: allowed are a name, or one for each named task")
    kept = []
    for task, rows in table.groupby("task", sort=False):
        names = sorted(map(str, rows["metric"].unique()), key=_rank)
        wanted = _asked(metric, str(task))
        if wanted is not None and wanted not in names:
            raise unknown_metric(task, wanted, names)
        kept.append(rows[rows["metric"] == (wanted or names[0])])
    if not kept:
        raise UserError("the table to draw is empty")
    return pd.concat(kept)


def only_chosen(values: pd.DataFrame, task: str, metric: MetricChoice) -> pd.DataFrame:
    """The values of the metric that `choose_metric` would keep; the others need no summary.

    Some metrics are computed from others (a perplexity from log-likelihoods). Where a task has such
    metrics, or does not have the one that is asked for, all values are kept.

    Args:
        values: the values of one task, one row per example, ablation and metric.
        task: its name.
        metric: as for `choose_metric`.

    Returns:
        The kept rows.
    """
    names = sorted(values["metric"].unique(), key=_rank)
    if not names or any(name.endswith((LOG, WEIGHT)) for name in names):
        return values
    wanted = _asked(metric, task) or names[0]
    return values[values["metric"] == wanted] if wanted in names else values


def _asked(metric: MetricChoice, task: str) -> str | None:
    return metric.get(task) if isinstance(metric, Mapping) else metric


def unknown_metric(task: object, wanted: object, known: Sequence[str]) -> UserError:
    """The error where a task has no metric of the given name.

    Args:
        task: its name.
        wanted: the metric that was asked for.
        known: the metrics that it has.

    Returns:
        The error, to be raised.
    """
    return UserError(
        f"task {task}: no metric {wanted!s:.80}; it has {', '.join(known)}"
        f"{did_you_mean(wanted, known)}"
    )


def _rank(metric: str) -> tuple[bool, bool, bool, bool, str]:
    inexact, extracted = "exact_match" not in metric, "flexible" in metric
    return (metric != "acc", inexact, not extracted, not metric.endswith(MEAN), metric)

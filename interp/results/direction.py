"""Metrics of which a smaller value is better, and their values with the direction reversed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from interp.records import TaskEntry
from interp.tasks import LOG


def falling(tasks: Sequence[TaskEntry], table: pd.DataFrame) -> Bool[np.ndarray, " rows"]:
    """The rows of a table (`task`, `metric`) for which a smaller value is better.

    The tasks declare it. A perplexity is such a metric; the log-likelihoods that it is computed
    from are not.

    Returns:
        True where less is better, one entry per row.
    """
    known = {
        (task.name, metric)
        for task in tasks
        for metric, declared in task.metrics.items()
        if not declared["higher_is_better"]
    }
    plain = table["metric"].str.split(",").str[0]
    named = [pair in known for pair in zip(table["task"], plain, strict=True)]
    return np.array(named, dtype=bool) & ~table["metric"].str.endswith(LOG).to_numpy(bool)


def more_is_better(tasks: Sequence[TaskEntry], values: pd.DataFrame) -> pd.DataFrame:
    """Values for which larger is always better: `1 - value` where smaller is better.

    A drop of these is damage, whatever the metric. Outcomes of 0 and 1 stay such outcomes.

    Args:
        tasks: the tasks of the run's manifest.
        values: the long table of the run.

    Returns:
        The same rows; a copy.
    """
    turned = falling(tasks, values)
    return values.assign(value=values["value"].where(~turned, 1 - values["value"]))


def positive_is_damage(tasks: Sequence[TaskEntry], table: pd.DataFrame) -> pd.DataFrame:
    """Drops with the opposite sign where a smaller value of the metric is better.

    Args:
        tasks: the tasks of the run's manifest.
        table: the table of drops; it is changed.

    Returns:
        The same table.
    """
    turned = falling(tasks, table)
    signed = ["drop", "low", "high", "low_all", "high_all"]
    other_way = ["drop", "high", "low", "high_all", "low_all"]
    table.loc[turned, signed] = -table.loc[turned, other_way].to_numpy()
    # a share that falls as the model gets better has no floor that a drop could be measured from
    shares = [name for name in table if str(name).startswith(("floor", "relative"))]
    table.loc[turned, shares] = np.nan
    return table

"""Metrics of which less is better: which they are, and their values turned the other way."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from interp.records import TaskEntry
from interp.tasks import LOG


def falling(tasks: Sequence[TaskEntry], table: pd.DataFrame) -> Bool[np.ndarray, " rows"]:
    """Of which rows of a table (`task`, `metric`) less is better, as the tasks declare it.

    The log-likelihoods behind a perplexity are no such metric, though the perplexity is.

    Returns:
        True where less is better, one entry a row.
    """
    known = {
        (task.name, metric)
        for task in tasks
        for metric, declared in task.metrics.items()
        if not declared["higher_is_better"]
    }
    plain = table["metric"].str.partition(",")[0]
    named = [pair in known for pair in zip(table["task"], plain, strict=True)]
    return np.array(named, dtype=bool) & ~table["metric"].str.endswith(LOG).to_numpy(bool)


def more_is_better(tasks: Sequence[TaskEntry], values: pd.DataFrame) -> pd.DataFrame:
    """Values of which more is always better: `1 - value` where less is.

    A drop of them is damage, whatever the metric; 0 and 1 stay 0 and 1.

    Args:
        tasks: of the run's manifest.
        values: the long table of the run.

    Returns:
        The same rows; a copy.
    """
    turned = falling(tasks, values)
    return values.assign(value=values["value"].where(~turned, 1 - values["value"]))

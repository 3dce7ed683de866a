"""The metrics of a table that are not summarised by a mean."""

from collections.abc import Sequence

import pandas as pd

from interp import records
from interp.tasks import LOG, WEIGHTED


def from_log_likelihoods(
    tasks: Sequence[records.TaskEntry], table: pd.DataFrame
) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """The perplexities and weighted losses of a table.

    Args:
        tasks: the tasks of the run's manifest.
        table: scores or drops; their `metric` is read.

    Returns:
        For each metric of log-likelihoods the name of its perplexity; and for each weighted loss,
        by task and metric, how it is aggregated.
    """
    logs = [name for name in table["metric"].unique() if name.endswith(LOG)]
    weighted = {
        (task.name, name): declared["aggregation"]
        for task in tasks
        for name, declared in task.metrics.items()
        if declared["aggregation"] in WEIGHTED
    }
    by_weight = {name for _, name in weighted}
    named = {name: name.removesuffix(LOG) for name in logs}
    return {log: name for log, name in named.items() if name not in by_weight}, weighted

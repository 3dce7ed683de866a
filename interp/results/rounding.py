"""What rounding changed in the baseline of a run: as a table, and in words."""

from pathlib import Path

import pandas as pd

from interp import records
from interp.results.selection import choose_metric
from interp.stats import rounding_floor

COLUMNS = ["task", "metric", "compared", "changed_answers", "changed", "mean_square", "floor"]


def measured_rounding(folder: Path, manifest: records.Manifest) -> pd.DataFrame:
    """What changed when the baseline was run again in other batches, and the noise floor of a drop.

    Args:
        folder: the folder of the run.
        manifest: the manifest of the run, or of a request for less than it holds.

    Returns:
        Columns `task metric compared` (examples that were run twice) `changed_answers` (how many of
        these have another likeliest option or another text) `changed` (how many have another value
        of the metric) `mean_square` (the mean squared difference) and `floor` (the drop that
        rounding alone stays below in 95% of sweeps of this size, in points where the metric is 0 or
        1). There is no row where nothing was measured.
    """
    rounding = records.read_rounding(folder)
    examples = {task.name: len(task.doc_ids) for task in manifest.tasks}
    rows = [
        {
            "task": task.name,
            "metric": name,
            "compared": task.n,
            "changed_answers": task.changed,
            "changed": metric.changed,
            "mean_square": metric.mean_square,
            "floor": (100.0 if metric.binary else 1.0)
            * rounding_floor(task.n, metric.changed, metric.mean_square, examples[task.name]),
        }
        for task in (rounding.tasks if rounding else ())
        if task.name in examples
        for name, metric in task.metrics.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def rounding_lines(measured: pd.DataFrame, dtype: str) -> dict[str, str]:
    """What rounding changed, in words.

    Args:
        measured: the table of `measured_rounding`.
        dtype: type of the weights.

    Returns:
        For each task, by its name, one line.
    """
    if not len(measured):
        return {}
    return {
        row["task"]: (
            f"{row['task']}: {row['changed_answers']} of {row['compared']} answers change when the "
            f"whole model is run again in other batches ({dtype}); a drop of {row['metric']} of up "
            f"to {row['floor']:.2g} can be rounding alone"
        )
        for row in choose_metric(measured).to_dict("records")
    }

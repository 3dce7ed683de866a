"""The noise floor of a drop: how large a drop can be through rounding alone."""

import numpy as np
import pandas as pd

from interp.stats.intervals import normal_reach

FURTHER = 2
"""Changed examples that are counted in addition to those that were seen."""

HIDDEN = "not testable: rounding alone moves a drop by as much as there is to lose"
"""In the column `testability`."""


def rounding_floor(compared: int, changed: int, mean_square: float, n: int) -> float:
    """The drop that rounding alone stays below in 95% of sweeps.

    Two runs of one model in different batches differ in `changed` of `compared` examples. Each such
    change is as likely to be upward as downward, so the mean difference of n examples has the
    standard deviation `sqrt(share * mean_square / n)`. The share counts two changed examples more
    than were seen, so that "none of 50" is not taken as "never". In simulations 95% of drops by
    rounding are within the floor, and more where few examples change (20 to 256 compared, 20 to
    4,000 in the drop, 0.02% to 25% that change).

    Args:
        compared: examples that were run twice.
        changed: how many of these differ between the two runs.
        mean_square: mean of the squared differences of those that differ (1 for 0/1 values).
        n: examples of the drop.

    Returns:
        A drop in the metric's own unit; half the width of an interval around 0.
    """
    share = min((changed + FURTHER) / (compared + FURTHER), 1.0)
    return normal_reach(0.95) * float(np.sqrt(share * (mean_square if changed else 1.0) / n))


def with_rounding(table: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Add to a table of drops what rounding alone can do.

    Args:
        table: the table that `interp.stats.importance` returns.
        measured: `task metric compared changed mean_square`, one row per task and metric whose
            baseline was run twice.

    Returns:
        The table as it is where nothing was measured. Otherwise it has a column `rounding`: the
        drop that rounding alone stays below in 95% of sweeps, in the unit of the drop.
        `least_detectable_drop` is then raised to it where it was smaller. A family is not
        `testable` where rounding alone can move a drop by as much as there is to lose.
    """
    if not len(measured) or not len(table):
        return table
    measurements = {
        (one["task"], one["metric"]): (
            int(one["compared"]),
            int(one["changed"]),
            float(one["mean_square"]),
        )
        for one in measured.to_dict("records")
    }
    keys = zip(table["task"], table["metric"], table["n"], strict=True)
    floors = np.array(
        [
            rounding_floor(*measurements[task, metric], int(n))
            if (task, metric) in measurements
            else np.nan
            for task, metric, n in keys
        ]
    )
    points = table["unit"] == "points"
    table = table.assign(rounding=floors * np.where(points, 100.0, 1.0))
    least = table["least_detectable_drop"]
    table["least_detectable_drop"] = least.where(~(least < table["rounding"]), table["rounding"])
    lost = table["baseline"] - table["floor"].fillna(0.0)
    hidden = points & table["testable"].astype(bool) & (table["rounding"] >= lost)
    table["testable"] = table["testable"].astype(bool) & ~hidden
    table["testability"] = table["testability"].where(~hidden, HIDDEN)
    return table

"""In words: which drops a table could have shown, where it shows none."""

import numpy as np
import pandas as pd

from interp.stats.sample_size import least_detectable

YES = "testable"
"""The entry of the column `testability` where a drop can be found."""

FAILED = "not testable: examples failed"
"""The entry of the column `testability` of an ablation under which examples failed."""


NOTICEABLE = 0.05
"""The least expected excess that is mentioned, in points."""


def nothing_found(rows: pd.DataFrame) -> str:
    """What "none" means for one task and family: the drop that would have been found, or why none.

    Args:
        rows: the rows of `interp.stats.importance`, one model, task, metric and family.

    Returns:
        Such as `none (12 points would have been found)` or `not testable: ...`.
    """
    first = _whole(rows).iloc[0]
    if not first["testable"]:
        return f"not testable: {_why(first)}"
    if np.isnan(first["least_detectable_drop"]):
        return "none"
    return f"none ({first['least_detectable_drop']:g} points would have been found)"


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of ablations that have numbers; all rows if none has."""
    whole = rows[rows["testability"] != FAILED]
    return whole if len(whole) else rows


def _why(row: "pd.Series") -> str:
    return str(row["testability"]).removeprefix("not testable: ")


def findable(rows: pd.DataFrame) -> list[str]:
    """For each task and family, the smallest drop that would have been found, or why none could be.

    Also how much the largest drop is overestimated on average because it was chosen.

    Args:
        rows: the rows of `interp.stats.importance`; those in the metric's own unit have no line.

    Returns:
        One line per task and family, in percentage points.
    """
    lines = []
    keys = ["model", "task", "metric", "family"]
    for (_, task, _, family), group in rows.groupby(keys, sort=False):
        first = _whole(group).iloc[0]
        tests = f"{first['n_family']} {family} ablations, n = {first['n']}"
        if not first["testable"]:
            lines.append(f"{task}: not testable ({tests}): {_why(first)}")
        elif not np.isnan(first["least_detectable_drop"]):
            lines.append(
                f"{task}: a drop of {first['least_detectable_drop']:g} points would be found in "
                f"80% of such sweeps ({tests}; chance helps {first['noise']:.1f} points)"
            )
        if first.get("expected_excess", 0.0) >= NOTICEABLE and first["unit"] == "points":
            lines.append(
                f"{task}: chosen because it is the largest, a drop is "
                f"{first['expected_excess']:.1f} points too large on average ({tests})"
            )
    return lines


def before_running(n: int, families: dict[str, int], *, noise: float = 5.0) -> list[str]:
    """What a sweep will be able to show, before it is run.

    Args:
        n: examples of a task.
        families: for each form of ablation, how many there are.
        noise: the share of examples that an ablation helps by chance, in points.

    Returns:
        One line per family.
    """
    lines = []
    for family, count in families.items():
        least = least_detectable(n, noise=noise, family=count)
        what = "no drop would be found" if np.isnan(least) else f"a drop of {least:g} points would"
        ending = "" if np.isnan(least) else " be found in 80% of such sweeps"
        lines.append(
            f"{what}{ending} with {n} examples and {count} {family} ablations, if chance helps "
            f"{noise:g} points (0/1 metrics)"
        )
    return lines

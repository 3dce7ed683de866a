"""Examples without an outcome: their values are NaN; they are left out and counted.

An example that fails without any ablation cannot be compared with anything: it is left out for
every ablation. An ablation that fails on one of the other examples gets no number at all, because
the examples on which it fails are not a random choice. The rest of a table is what it would be
without the two.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

BASELINE = "baseline"
"""The name of the unablated model in the column `ablation`."""

SERIES = ["model", "task", "metric"]
"""The columns that tables of values are divided by."""

NO_INTERVAL = "none (examples failed)"
"""The entry of the column `interval` where examples failed."""

log = logging.getLogger("interp")


def without_failures(rows: pd.DataFrame, wide: pd.DataFrame) -> pd.DataFrame:
    """A table of documents x ablations, without those that have no outcome.

    Args:
        rows: the rows of the long table, one model, task and metric.
        wide: the same as documents x ablations.

    Returns:
        The table without examples that failed without any ablation, and without ablations that
        failed on another example. It is `wide` itself where nothing failed.
    """
    failed = rows[rows["value"].isna()]
    if failed.empty:
        return wide
    failed_without_ablation = failed.loc[failed["ablation"] == BASELINE, "doc_id"]
    failed_ablations = failed.loc[
        ~failed["doc_id"].isin(failed_without_ablation), "ablation"
    ].unique()
    return wide.drop(index=failed_without_ablation.tolist()).drop(columns=failed_ablations.tolist())


def say_left_out(values: pd.DataFrame) -> None:
    """Log one warning for each ablation of a long table under which examples failed.

    Args:
        values: the long table, with `model`, `task`, `ablation`, `doc_id`, and a `value` that is
            NaN where an example failed.
    """
    failed = values[values["value"].isna()]
    keys = [*SERIES[:2], "ablation"]
    for (model, task, ablation), rows in failed.groupby(keys, observed=True):
        what = "these are left out" if ablation == BASELINE else "it is left out"
        log.warning(
            "model %s, task %s, ablation %s: %d examples failed; %s",
            model, task, ablation, rows["doc_id"].nunique(), what,
        )  # fmt: skip


def with_failures(
    table: pd.DataFrame,
    values: pd.DataFrame,
    *,
    baseline: bool,
    numbers: Sequence[str],
    **words: str | int,
) -> pd.DataFrame:
    """Add to a table how many examples failed, and a row without numbers for what has none.

    Args:
        table: one row per model, task, metric and ablation.
        values: the long table that it was made from.
        baseline: whether the baseline has a row.
        numbers: the columns that are NaN in such a row.
        **words: the values of its other columns.

    Returns:
        The table as it is where nothing failed; otherwise it has a column `failures`, and the new
        rows come last.
    """
    if not values["value"].isna().any():
        return table
    keys = [*SERIES, "ablation"]
    counted = values.assign(failures=values["value"].isna()).groupby(keys, observed=True)
    counts = counted["failures"].agg(["sum", "size"]).reset_index()
    counts = counts.rename(columns={"sum": "failures", "size": "n"}).astype({"failures": int})
    if not baseline:
        counts = counts[counts["ablation"] != BASELINE]
    failures = counts.set_index(keys)["failures"]
    empty = {**words, **dict.fromkeys(numbers, np.nan)}
    if table.empty:
        return counts.assign(**empty).reset_index(drop=True)
    known = pd.MultiIndex.from_frame(table[keys])
    missing = counts[~pd.MultiIndex.from_frame(counts[keys]).isin(known)].assign(**empty)
    table = table.assign(failures=failures.reindex(known).to_numpy(int))
    return pd.concat([table, missing], ignore_index=True) if len(missing) else table

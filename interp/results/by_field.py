"""Drops within each value of a field of the rows."""

from typing import Any

import numpy as np
import pandas as pd

from interp import stats


def importance_by(
    values: pd.DataFrame,
    *,
    fields: dict[str, dict[int, str]],
    by: str,
    correction: str,
    **options: Any,
) -> pd.DataFrame:
    """`interp.stats.importance` within each value of a field, with a correction over all values.

    Args:
        values: the long table of one task.
        fields: for each task, the field's value of each example.
        by: the field's name, a column of the result.
        correction: the correction of p-values, over all values and ablations of a metric.
        **options: as for `interp.stats.importance`.

    Returns:
        One row per value of the field, ablation and metric, with the columns of
        `interp.stats.importance` and one for the field.
    """
    (task,) = values["task"].unique()
    names = values["doc_id"].map(fields[task])
    tables = [
        stats.importance(rows, correction="none", **options).assign(**{by: str(name)})
        for name, rows in values.groupby(names, sort=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    adjusted = [
        pd.Series(stats.adjust(rows["p"].to_numpy(float), correction=correction), rows.index)
        for _, rows in table.groupby("metric")
    ]
    # the least detectable drop is computed for the examples of one value, tested among all values
    shared = table.groupby("metric")["p"].transform("size")
    return table.assign(
        p_adjusted=pd.concat(adjusted),
        correction=correction,
        family=f"all, by {by}",
        n_family=shared,
        least_detectable_drop=np.nan,
    )

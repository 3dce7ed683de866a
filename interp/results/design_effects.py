"""Design effects of the fields of a run's rows: are the outcomes of one wording correlated?"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interp.records import TaskEntry
from interp.results.row_fields import row_field, row_fields
from interp.stats import BASELINE, design_effects as of_field
from interp.tasks import Task


def design_effects(
    values: pd.DataFrame,
    entry: TaskEntry,
    *,
    fields: Sequence[str] | None,
    seed: int,
    given: Sequence[str | Path | Task] = (),
    data: str | Path | None = None,
    allow_code: bool = False,
) -> pd.DataFrame:
    """`interp.stats.design_effects` of fields of the rows of one task.

    Args:
        values: the values of the task, one metric.
        entry: the entry of the task, in the run's manifest.
        fields: names of fields; by default those whose values are texts or whole numbers and are
            shared by two or more rows on average.
        seed: seed of the permutations.
        given: as for `row_field`.
        data: as for `row_field`.
        allow_code: as for `row_field`.

    Returns:
        One row per field and ablation; empty where no field is shared by several rows.
    """
    wide = values.pivot(index="doc_id", columns="ablation", values="value")  # noqa: PD010
    damage = wide.drop(columns=BASELINE).rsub(wide[BASELINE], axis=0).dropna()
    if fields is None:
        known = row_fields(entry, given=given, data=data, allow_code=allow_code)
        columns = {name: column for name, column in known.items() if _groups(column)}
    else:
        columns = {
            name: row_field(entry, name, given=given, data=data, allow_code=allow_code)
            for name in fields
        }
    tables = []
    for name, column in columns.items():
        table = of_field(damage, pd.Series(column, name=name), seed=seed)
        tables.append(table.assign(task=entry.name, metric=values["metric"].iloc[0], field=name))
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(tables, ignore_index=True)[COLUMNS]


COLUMNS = ["task", "metric", "field", "ablation", "design_effect", "p", "least_p", "n_values", "n"]


def _groups(column: dict[int, str]) -> bool:
    """Whether each value of a field is shared by two or more rows on average."""
    return 1 < len(set(column.values())) <= len(column) / 2

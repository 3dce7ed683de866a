"""The long table of values: checked, and divided into paired samples."""

import re
from collections.abc import Hashable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.errors import UserError, check_seed, check_share, check_whole
from interp.stats.failures import BASELINE, SERIES, without_failures

MOST_RESAMPLES = 1_000_000
"""The largest number of resamples or permutations."""

BLOCK = 4_000_000
"""The most random numbers in memory at a time (32 MB), whatever the number of resamples."""


class Sample(NamedTuple):
    """Paired outcomes of one model, task and metric."""

    table: Float[np.ndarray, "docs ablations"]
    """Values, or differences of values; one column per ablation."""
    units: Int[np.ndarray, " docs"]
    """The unit that is resampled, 0 to `n_units - 1`: the example itself or its cluster."""
    clustered: bool

    @property
    def n_units(self) -> int:
        """Number of independent units."""
        return int(self.units.max()) + 1

    def sums(self) -> Float[np.ndarray, "units ablations"]:
        """Sum of each column over each unit."""
        totals = np.zeros((self.n_units, self.table.shape[1]))
        np.add.at(totals, self.units, self.table)
        return totals

    def rare_units(self) -> Int[np.ndarray, " ablations"]:
        """Per column, the units with at least one outcome other than the commonest one."""
        outcomes = np.unique(self.table)
        counts = np.stack([(self.table == outcome).sum(axis=0) for outcome in outcomes])
        unusual = self.table != outcomes[counts.argmax(axis=0)]
        return (Sample(unusual.astype(float), self.units, self.clustered).sums() > 0).sum(axis=0)


def sample_by(
    values: Float[np.ndarray, "docs columns"], units: Sequence[Hashable] | None = None
) -> Sample:
    """A sample of numbers, with the independent unit of every document.

    Args:
        values: one row per document.
        units: the unit of each document, equal numbers for one unit; None where documents are
            independent.

    Returns:
        The sample; clustered where a unit has several documents.
    """
    if units is None or len(set(units)) == len(values):
        return Sample(values, np.arange(len(values)), clustered=False)
    return Sample(values, np.unique(np.asarray(units), return_inverse=True)[1], clustered=True)


def sample_of(table: pd.DataFrame, clusters: pd.Series | None) -> Sample:
    """The sample in a table of documents x ablations, with the unit of every document.

    Args:
        table: documents x ablations.
        clusters: the cluster of every document; None, or NaN throughout, where documents are
            independent. (A table of several tasks has NaN where only some declare clusters.)

    Returns:
        Numbers `[documents, ablations]` and the number of each document's unit.

    Raises:
        UserError: only some of the documents have a cluster.
    """
    cluster_of = None if clusters is None else clusters.loc[table.index]
    if cluster_of is None or cluster_of.isna().all():
        return Sample(table.to_numpy(float), np.arange(len(table)), clustered=False)
    if cluster_of.isna().any():
        raise UserError(
            f"{int(cluster_of.isna().sum())} of {len(cluster_of)} documents have no cluster; every "
            "one needs one"
        )
    units = pd.factorize(cluster_of, sort=True)[0]
    return Sample(table.to_numpy(float), units, clustered=True)


def series(
    values: pd.DataFrame,
) -> Iterator[tuple[dict[str, object], bool, pd.DataFrame, pd.Series | None]]:
    """Divide a long table by model, task and metric.

    Values that are NaN are failures and are left out (`interp.stats.failures`). A model, task and
    metric of which every example failed without any ablation is left out.

    Args:
        values: one row per model, task, metric, ablation and document.

    Yields:
        The key (`model`, `task`, `metric`), whether values are 0 or 1 and are shown in points, the
        values as documents x ablations, and the cluster of each document or None.
    """
    check_values(values)
    values = values.reset_index(drop=True)
    # Per task and metric, not per model: two models' rows must share their unit.
    zero_or_one = values["value"].isin([0, 1]) | values["value"].isna()
    binary = zero_or_one.groupby([values["task"], values["metric"]])
    points = binary.transform("all")
    for (model, task, metric), rows in values.groupby(SERIES, observed=True):
        key: dict[str, object] = {"model": model, "task": task, "metric": metric}
        # pivot_table would average what pivot refuses: two rows of one document.
        wide = rows.pivot(index="doc_id", columns="ablation", values="value")  # noqa: PD010
        wide = wide.sort_index()[sorted(wide.columns, key=_natural)]
        wide = without_failures(rows, wide)
        if wide.empty:
            continue
        yield key, bool(points[rows.index[0]]), wide.astype(float), _clusters(rows, key)


def _clusters(rows: pd.DataFrame, key: dict[str, object]) -> pd.Series | None:
    """The cluster of every document, or None where the task has no clusters."""
    if "cluster" not in rows or rows["cluster"].isna().all():
        return None
    pairs = rows[["doc_id", "cluster"]].drop_duplicates()
    if pairs["cluster"].isna().any() or pairs["doc_id"].duplicated().any():
        raise UserError(f"{_named(key)}: a document needs one cluster, the same everywhere")
    return pairs.set_index("doc_id")["cluster"]


def check_options(confidence: float, resamples: int, seed: int = 0) -> None:
    """Refuse a coverage, a number of resamples or a seed that is out of range.

    Args:
        confidence: coverage of intervals.
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        UserError: one of them is out of range.
    """
    check_share("confidence", confidence)
    check_seed(seed)
    if isinstance(resamples, Integral) and resamples < 100:
        raise UserError(f"resamples {resamples}: at least 100 are needed for an interval")
    check_whole("resamples", resamples, 100, MOST_RESAMPLES)


def check_paired(wide: pd.DataFrame, key: dict[str, object]) -> None:
    """Refuse ablations that were not run on exactly the baseline's documents.

    Args:
        wide: documents x ablations, NaN where an ablation was not run on a document.
        key: model, task and metric, for the message.

    Raises:
        UserError: the baseline is missing, or the documents differ.
    """
    if BASELINE not in wide:
        raise UserError(f"{_named(key)}: no baseline to compare with")
    differ = wide.isna().ne(wide[BASELINE].isna(), axis=0).sum()
    for ablation in differ.index[differ > 0]:
        raise UserError(
            f"{_named(key)}, ablation {ablation}: "
            f"{differ[ablation]} documents differ from the baseline's"
        )


def check_columns(
    what: str, table: Any, columns: Sequence[Hashable], numbers: Sequence[Hashable] = ()
) -> None:
    """Refuse what is not a table, lacks a column, or holds other than numbers in a numeric column.

    Args:
        what: what the table is, for the message.
        table: what is checked.
        columns: the columns that it needs.
        numbers: further columns that it needs, which hold numbers (or NaN).

    Raises:
        UserError: `table` is not such a table.
    """
    if not isinstance(table, pd.DataFrame):
        raise UserError(f"{what}: allowed is a DataFrame, given was {table!r:.80}")
    missing = [name for name in (*columns, *numbers) if name not in table]
    if missing:
        raise UserError(f"{what}: it lacks the columns {', '.join(map(str, missing))}")
    for name in numbers:
        if pd.api.types.is_numeric_dtype(table[name]):
            continue
        odd = next((v for v in table[name] if v is not None and not isinstance(v, Real)), None)
        if odd is not None:
            raise UserError(f"{what}, column {name}: {odd!r:.80} is no number")


def check_loglikelihoods(column: pd.Series) -> None:
    """Refuse a column of responses that holds anything but lists of numbers and None.

    Args:
        column: log-likelihoods of options, in nats.

    Raises:
        UserError: an entry is neither a list of numbers nor None.
    """
    for place, one in column.items():
        if one is None or (isinstance(one, np.ndarray) and one.dtype.kind in "fiu"):
            continue
        listed = isinstance(one, list | tuple | np.ndarray)
        if not listed or not all(isinstance(value, Real) for value in one):
            raise UserError(
                f"loglikelihoods of row {place}: {one!r:.80}; allowed is a list of numbers"
            )


def check_values(values: pd.DataFrame) -> None:
    """Refuse what is not a table of values, and tables that would silently give wrong answers.

    Args:
        values: one row per model, task, metric, ablation and document.

    Raises:
        UserError: it is not a table, it lacks a column, it is empty, a value is infinite, or a
            document occurs twice.
    """
    if not isinstance(values, pd.DataFrame):
        raise UserError(f"table of values {values!r:.80}: allowed is a DataFrame")
    keys = [*SERIES, "ablation"]
    needed = [*keys, "doc_id", "value"]
    missing = [name for name in needed if name not in values]
    if missing:
        raise UserError(f"the table of values lacks {', '.join(missing)}; needed: {needed}")
    check_columns("the table of values", values, (), ["value"])
    if values.empty:
        raise UserError("the table of values is empty")
    unnamed = int(values[[*keys, "doc_id"]].isna().any(axis=1).sum())
    if unnamed:
        raise UserError(f"{unnamed} rows lack one of {', '.join([*keys, 'doc_id'])}")
    problems = {
        "values are infinite": np.isinf(values["value"].to_numpy(float)),
        "documents are doubled": values.duplicated([*keys, "doc_id"]).to_numpy(),
    }
    for problem, bad in problems.items():
        if not bad.any():
            continue
        for name, count in values.loc[bad].groupby(keys, observed=True).size().items():
            raise UserError(f"{_named(dict(zip(keys, name, strict=True)))}: {count} {problem}")


def _natural(ablation: Hashable) -> tuple[bool, list[tuple[str, int]]]:
    """Sort key: the baseline first, then by text with numbers by size."""
    parts = re.findall(r"(\D*)(\d*)", str(ablation))
    return ablation != BASELINE, [(text, int(digits or -1)) for text, digits in parts]


def _named(key: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in key.items())


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Cut `rows` into slices of at most `BLOCK` numbers, where a row holds `width` numbers."""
    step = max(1, BLOCK // width)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

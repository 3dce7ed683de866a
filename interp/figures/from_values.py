"""Tables that figures compute from the values of sweeps, example by example."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import pandas as pd

from interp.errors import UserError
from interp.results import MetricChoice, choose_metric


@runtime_checkable
class Gains(Protocol):
    """Anything with values by example in which larger is better, such as a sweep."""

    def gains(self) -> pd.DataFrame:
        """The long table that `interp.stats` describes."""
        ...


GainsSource = Gains | pd.DataFrame | Sequence[Gains | pd.DataFrame]


def of_gains(
    source: GainsSource,
    make: Callable[[pd.DataFrame], pd.DataFrame],
    column: str,
    metric: MetricChoice,
) -> pd.DataFrame:
    """A table computed from the values of sweeps, or given already.

    Args:
        source: sweeps, tables that were made before, or several of either.
        make: computes the table from values of one metric per task.
        column: a column by which such a table is recognised.
        metric: as for `choose_metric`.

    Returns:
        The rows of all sources, one metric per task.

    Raises:
        UserError: a source is neither a sweep nor such a table.
    """
    several = source if isinstance(source, list | tuple) else [source]
    parts = []
    for one in several:
        if isinstance(one, pd.DataFrame) and column in one:
            parts.append(choose_metric(one, metric))
        elif isinstance(one, Gains):
            parts.append(make(choose_metric(one.gains(), metric)))
        else:
            raise UserError(
                f"{type(one).__name__}: allowed are a sweep and the table of "
                f"interp.results.{make.__name__}, or a list of them"
            )
    if not parts:
        raise UserError("no sweep to draw")
    return pd.concat(parts, ignore_index=True)

"""One sweep asked in several ways, read without the model: do drops depend on the prompt?"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

from interp.errors import check_whole
from interp.labels import three_digits
from interp.results import MetricChoice, Sweep, choose_metric
from interp.stats import variance_components
from interp.tasks import PUBLISHED, WAYS

SHOWN = ["varied", "task", "ablation", "quantity", "value", "low", "high", "low_examples",
         "high_examples", "sd_examples", "sd_variants", "p_adjusted", "n",
         "n_variants"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Variation:
    """The runs of a sweep that was asked in several ways, from `interp.vary`.

    Attributes:
        sweeps: the run of each way of asking (`published`, `fewshot-seed-1`, ...).
    """

    sweeps: Mapping[str, Sweep]

    def values(self) -> pd.DataFrame:
        """One row per way of asking, example, ablation and metric; `variant` names the way.

        The tasks have their published names.
        """
        return self._joined("values")

    def gains(self) -> pd.DataFrame:
        """The values, turned where less is better (`Sweep.gains`): what drops are taken of."""
        return self._joined("gains")

    def importance(
        self,
        *,
        metric: MetricChoice = None,
        confidence: float = 0.95,
        resamples: int = 2000,
        correction: str = "holm",
    ) -> pd.DataFrame:
        """The paired drops under each way of asking (`Sweep.importance`), named in `variant`."""
        tables = []
        for way, sweep in self.sweeps.items():
            table = sweep.importance(
                metric=metric, confidence=confidence, resamples=resamples, correction=correction
            )
            tables.append(_named(table, way))
        return pd.concat(tables, ignore_index=True)

    def components(
        self,
        *,
        metric: MetricChoice = None,
        confidence: float = 0.95,
        correction: str = "holm",
    ) -> pd.DataFrame:
        """How much scores and drops vary with the examples, and with the way of asking.

        For each kind of way (few-shot draws, orders, wordings, orders of options) its runs and the
        published one are taken as draws from all such ways (`interp.stats.variance_components`).

        Args:
            metric: one for all tasks, or one for each named task; all by default.
            confidence: coverage of the intervals.
            correction: correction of the p-values across ablations.

        Returns:
            The table of `interp.stats.variance_components`, after a column `varied` with the kind.
        """
        gains, tables = self.gains(), []
        if metric is not None:
            gains = choose_metric(gains, metric)
        for kind in self.kinds:
            ways = [way for way in self.sweeps if way == PUBLISHED or way.startswith(f"{kind}-")]
            selected = gains[gains["variant"].isin(ways)]
            table = variance_components(selected, confidence=confidence, correction=correction)
            table.insert(0, "varied", kind)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    @property
    def kinds(self) -> list[str]:
        """What was varied, as in `interp.tasks.WAYS`."""
        return [kind for kind in WAYS if any(way.startswith(f"{kind}-") for way in self.sweeps)]

    def table(self, *, metric: MetricChoice = None) -> pd.DataFrame:
        """The components for one metric per task, in the main columns."""
        return choose_metric(self.components(), metric)[SHOWN].reset_index(drop=True)

    def summary(self, *, top: int = 5, metric: MetricChoice = None) -> str:
        """In words and numbers: the drops that depend most on the way of asking.

        Args:
            top: the most ablations that are named.
            metric: one for all tasks, or one for each named task.
        """
        check_whole("top", top, 1)
        shown = self._largest(top, metric).to_string(index=False, float_format=three_digits)
        return f"{self!r}\nwhat varies most from one way of asking to another:\n{shown}"

    def _largest(self, top: int, metric: MetricChoice = None) -> pd.DataFrame:
        table = self.table(metric=metric)
        return table.sort_values("sd_variants", ascending=False, kind="stable").head(top)

    def _joined(self, name: str) -> pd.DataFrame:
        tables = [_named(getattr(sweep, name)(), way) for way, sweep in self.sweeps.items()]
        return pd.concat(tables, ignore_index=True)

    def _repr_html_(self) -> str:
        table = self._largest(5).to_html(index=False, float_format=three_digits)
        return f"<p><b>{escape(repr(self))}</b></p>{table}"

    def __repr__(self) -> str:
        first = next(iter(self.sweeps.values()))
        tasks = ", ".join(task.name for task in first.manifest.tasks)
        ways = ", ".join(self.sweeps)
        return f"Variation({first.manifest.model}; {tasks}; asked as {ways})"


def _named(table: pd.DataFrame, way: str) -> pd.DataFrame:
    """A table of one run, with the published names of tasks, after a column with the way."""
    table = table.assign(task=[published_name(way, str(name)) for name in table["task"]])
    table.insert(0, "variant", way)
    return table


def published_name(way: str, name: str) -> str:
    """The published name of a task that is asked in some way.

    Args:
        way: the way of asking.
        name: the name of the task in the run of that way.

    Returns:
        The name without the way in front.
    """
    return name if way == PUBLISHED else name.removeprefix(f"{way}-")

"""A comparison: one finished run per model, on the same examples, read without the models."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from interp.comparison.depth import centres, shifts
from interp.comparison.model_differences import differences
from interp.comparison.profile_correlations import correlations
from interp.comparison.removal_robustness import orders_of, robustness
from interp.errors import UserError, check_whole
from interp.labels import three_digits
from interp.results import MetricChoice, Sweep, choose_metric, open_run
from interp.stats import variance_components

log = logging.getLogger(__name__)
SHOWN = ["a", "b", "ablation", "task", "drop_a", "drop_b", "difference", "low", "high",
         "p_adjusted", "n"]  # fmt: skip
# the entries of a task in a manifest that determine its examples and prompts
SAME = ("doc_ids", "rows_sha256", "num_fewshot", "fewshot_sha256", "config_sha256")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The runs of several models side by side; in every table `model` is the name given here.

    Attributes:
        sweeps: the run of each model, by name.
        n_layers: the number of layers of each model, by name.
    """

    sweeps: Mapping[str, Sweep]
    n_layers: Mapping[str, int]

    @property
    def seed(self) -> int:
        """The seed of the draw of examples, and of every bootstrap."""
        return int(next(iter(self.sweeps.values())).manifest.seed)

    def values(self) -> pd.DataFrame:
        """One row per model, example, ablation and metric (`Sweep.values`)."""
        return self._joined("values")

    def gains(self) -> pd.DataFrame:
        """The values that drops are computed from: larger is always better (`Sweep.gains`)."""
        return self._joined("gains")

    def scores(self, *, confidence: float = 0.95, resamples: int = 2000) -> pd.DataFrame:
        """Each metric of each model under each ablation (`interp.stats.scores`)."""
        return self._joined("scores", confidence=confidence, resamples=resamples)

    def importance(
        self,
        *,
        metric: MetricChoice = None,
        short: bool = False,
        confidence: float = 0.95,
        resamples: int = 2000,
        correction: str = "holm",
    ) -> pd.DataFrame:
        """The paired drops of each model against its own baseline (`Sweep.importance`)."""
        return self._joined(
            "importance",
            metric=metric,
            short=short,
            confidence=confidence,
            resamples=resamples,
            correction=correction,
        )

    def differences(
        self, *, confidence: float = 0.95, resamples: int = 2000, correction: str = "holm"
    ) -> pd.DataFrame:
        """The drop of one model minus that of the other (`interp.comparison.differences`)."""
        return differences(
            self.gains(),
            confidence=confidence,
            resamples=resamples,
            seed=self.seed,
            correction=correction,
        )

    def correlations(self, *, confidence: float = 0.95, resamples: int = 1000) -> pd.DataFrame:
        """Rank correlation of the profiles (`interp.comparison.correlations`)."""
        return correlations(
            self.gains(), seed=self.seed, confidence=confidence, resamples=resamples
        )

    def centres(self, *, confidence: float = 0.95) -> pd.DataFrame:
        """Centre and spread of importance over depth (`interp.comparison.centres`)."""
        return centres(self.gains(), self.n_layers, confidence=confidence)

    def shifts(self, *, confidence: float = 0.95) -> pd.DataFrame:
        """Differences in centre and spread between two models (`interp.comparison.shifts`)."""
        return shifts(self.gains(), self.n_layers, confidence=confidence)

    def robustness(self, *, confidence: float = 0.95, resamples: int = 2000) -> pd.DataFrame:
        """The share of the score left as layers are removed (`interp.comparison.robustness`).

        For a metric in which smaller is better the score is `1 - value`.
        """
        return robustness(
            self.gains(),
            self.n_layers,
            confidence=confidence,
            resamples=resamples,
            seed=self.seed,
        )

    def components(
        self,
        *,
        metric: MetricChoice = None,
        confidence: float = 0.95,
        correction: str = "holm",
    ) -> pd.DataFrame:
        """How much scores and drops vary with the examples, and with the model.

        Models of several training seeds are taken as draws from all such models; for other models
        the numbers only describe these. See `interp.stats.variance_components`.

        Args:
            metric: one for all tasks, or one for each named task; all by default.
            confidence: coverage of the intervals; those over models need three models or more.
            correction: correction of the p-values across ablations.
        """
        gains = self.gains()
        if metric is not None:
            gains = choose_metric(gains, metric)
        return variance_components(gains, "model", confidence=confidence, correction=correction)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table that the ablations allow, by the name of its method.

        Correlations, centres and shifts need a family of single layers or heads; robustness needs a
        cumulative family. Tables that cannot be made are left out, and the log says why.
        """
        tables = {name: getattr(self, name)() for name in ("scores", "importance", "differences")}
        for name in ("correlations", "centres", "shifts"):
            try:
                tables[name] = getattr(self, name)()
            except UserError as error:
                log.info("no table of %s: %s", name, error)
        try:
            orders_of(list(tables["importance"]["ablation"].unique()))
        except UserError:
            return tables
        return tables | {"robustness": self.robustness()}

    def table(self, *, metric: MetricChoice = None) -> pd.DataFrame:
        """Differences of drops for one metric per task, in the main columns.

        Columns `a b ablation task drop_a drop_b difference low high p_adjusted n`.
        """
        return choose_metric(self.differences(), metric)[SHOWN].reset_index(drop=True)

    def summary(self, *, top: int = 5, metric: MetricChoice = None) -> str:
        """In words and numbers: the ablations on which the models differ most.

        Args:
            top: the most ablations that are named.
            metric: one for all tasks, or one for each named task.
        """
        check_whole("top", top, 1)
        shown = self._largest(top, metric).to_string(index=False, float_format=three_digits)
        return f"{self!r}\nlargest differences of drops:\n{shown}"

    def _largest(self, top: int, metric: MetricChoice = None) -> pd.DataFrame:
        table = self.table(metric=metric)
        order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
        return table.reindex(order).head(top)

    def _repr_html_(self) -> str:
        heading = f"<p><b>{escape(repr(self))}</b></p>"
        try:
            table = self._largest(5)
        except UserError as error:
            return f"{heading}<p>{escape(str(error))}</p>"
        return f"{heading}{table.to_html(index=False, float_format=three_digits)}"

    def _joined(self, table: str, **options: Any) -> pd.DataFrame:
        tables = []
        for name, sweep in self.sweeps.items():
            rows = getattr(sweep, table)(**options)
            if "model" in rows:
                tables.append(rows.assign(model=name))
            else:
                rows.insert(0, "model", name)
                tables.append(rows)
        return pd.concat(tables, ignore_index=True)

    def __repr__(self) -> str:
        tasks = [task.name for task in next(iter(self.sweeps.values())).manifest.tasks]
        models = ", ".join(
            f"{name} ({count} layers, {self.sweeps[name].manifest.dtype})"
            for name, count in self.n_layers.items()
        )
        return f"Comparison({models}; {', '.join(tasks)})"


def comparison_of(
    sweeps: Mapping[str, Sweep | str | Path], n_layers: Mapping[str, int]
) -> Comparison:
    """Finished runs of several models, side by side.

    Args:
        sweeps: for each name, a run or its folder.
        n_layers: the number of layers of each model, by name.

    Returns:
        The comparison. Its tables are computed when they are needed.

    Raises:
        UserError: there are fewer than two runs, or their tasks or examples differ.
    """
    if not isinstance(sweeps, Mapping):
        raise UserError(f"sweeps {sweeps!r:.80}: allowed are names, each with a run or its folder")
    opened = {
        name: run if isinstance(run, Sweep) else open_run(run) for name, run in sweeps.items()
    }
    if len(opened) < 2:
        raise UserError(f"models {', '.join(opened) or 'none'}: at least two are compared")
    if not isinstance(n_layers, Mapping) or not n_layers.keys() >= opened.keys():
        raise UserError(f"n_layers {n_layers!r:.80}: allowed is the number of layers of each model")
    (first, reference), *others = opened.items()
    reference_tasks = {task.name: task for task in reference.manifest.tasks}
    for name, run in others:
        run_tasks = {task.name: task for task in run.manifest.tasks}
        for task in dict.fromkeys([*reference_tasks, *run_tasks]):
            if task not in reference_tasks or task not in run_tasks:
                lacks = first if task not in reference_tasks else name
                raise UserError(f"task {task}: the run of {lacks} does not have it")
            for part in SAME:
                if getattr(reference_tasks[task], part) != getattr(run_tasks[task], part):
                    raise UserError(
                        f"task {task}: {first} and {name} were asked different examples "
                        f"({part}); compare runs with the same rows, limit and seed"
                    )
    return Comparison(opened, {name: int(n_layers[name]) for name in opened})

"""A comparison: one finished run a model, on the same examples. Needs no model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp import stats
from interp.comparison import depth, robustness
from interp.comparison.differences import differences
from interp.comparison.profiles import kinds, pairs_of
from interp.errors import UserError
from interp.results import Sweep, open_run
from interp.stats.samples import BASELINE

# of a task in a manifest: what its examples and prompts are made of
SAME = ("doc_ids", "rows_sha256", "num_fewshot", "fewshot_sha256", "config_sha256")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models' runs side by side; in every table `model` is the name given here.

    Attributes:
        sweeps: name to run.
        n_layers: name to number of layers.
    """

    sweeps: Mapping[str, Sweep]
    n_layers: Mapping[str, int]

    @property
    def seed(self) -> int:
        """Of the draw of examples, and of every bootstrap."""
        return int(next(iter(self.sweeps.values())).manifest["seed"])

    def values(self) -> pd.DataFrame:
        """One row a model, example, ablation and metric (`Sweep.values`)."""
        return self._joined("values")

    def scores(self, **options: Any) -> pd.DataFrame:
        """Each metric of each model under each ablation (`interp.stats.scores`)."""
        return self._joined("scores", **options)

    def importance(self, **options: Any) -> pd.DataFrame:
        """The paired drops of each model against its own baseline (`interp.stats.importance`)."""
        return self._joined("importance", **options)

    def differences(self, **options: Any) -> pd.DataFrame:
        """Drop of one model minus drop of the other (`interp.comparison.differences`)."""
        return differences(self.values(), seed=self.seed, **options)

    def correlations(self, **options: Any) -> pd.DataFrame:
        """Spearman's correlation of two models' profiles, task by task and kind by kind.

        Columns `a b task metric kind spearman low high n_ablations n interval correction`; the
        interval is `interp.stats.compare_profiles`'s, whose options these are. A profile needs
        three ablations of one layer or head of a kind (`layer`, `head`, ...).

        Raises:
            UserError: no kind of which both models have three.
        """
        values, tables = self.values(), []
        for kind, texts in kinds(dict.fromkeys(values["ablation"])).items():
            chosen = values[values["ablation"].isin([BASELINE, *texts])]
            for key in chosen[["task", "metric"]].drop_duplicates().to_dict("records"):
                for a, b in pairs_of(values):
                    tables.append(self._correlation(chosen, a, b, key, kind, options))
        found = [table for table in tables if table is not None]
        if not found:
            raise UserError("correlations: no three ablations of one layer each in common")
        return pd.concat(found, ignore_index=True)

    def centres(self, **options: Any) -> pd.DataFrame:
        """Centre of mass and spread of importance over relative depth (`depth.centres`)."""
        return depth.centres(self.values(), self.n_layers, seed=self.seed, **options)

    def shifts(self, **options: Any) -> pd.DataFrame:
        """How far one model's centre and spread lie from the other's (`depth.shifts`)."""
        return depth.shifts(self.values(), self.n_layers, seed=self.seed, **options)

    def robustness(self, **options: Any) -> pd.DataFrame:
        """Score left as layers go, over the whole model's (`robustness.robustness`)."""
        return robustness.robustness(self.values(), self.n_layers, seed=self.seed, **options)

    def _joined(self, table: str, **options: Any) -> pd.DataFrame:
        found = [
            getattr(sweep, table)(**options).assign(model=name)
            for name, sweep in self.sweeps.items()
        ]
        return pd.concat(found, ignore_index=True)

    def _correlation(
        self,
        values: pd.DataFrame,
        a: str,
        b: str,
        key: dict[Any, Any],
        kind: str,
        options: dict[str, Any],
    ) -> pd.DataFrame | None:
        rows = values[(values["task"] == key["task"]) & (values["metric"] == key["metric"])]
        sides = [set(rows.loc[rows["model"] == name, "ablation"]) for name in (a, b)]
        if len(sides[0] & sides[1] - {BASELINE}) < 3:
            return None
        pair = ({"model": a, **key}, {"model": b, **key})
        found = stats.compare_profiles(rows, [pair], seed=self.seed, **options)
        found = found.rename(columns={"n_a": "n"}).drop(columns=["a", "b", "n_b"])
        names = {"a": a, "b": b, **key, "kind": kind}
        return found.assign(**names)[[*names, *found.columns]]

    def __repr__(self) -> str:
        tasks = [task["name"] for task in next(iter(self.sweeps.values())).manifest["tasks"]]
        models = ", ".join(f"{name} ({count} layers)" for name, count in self.n_layers.items())
        return f"Comparison({models}; {', '.join(tasks)})"


def comparison_of(
    sweeps: Mapping[str, Sweep | str | Path], n_layers: Mapping[str, int]
) -> Comparison:
    """Finished runs of several models, side by side.

    Args:
        sweeps: name to run or its folder.
        n_layers: name to number of layers.

    Raises:
        UserError: fewer than two, or the runs are not of the same examples of the same tasks.
    """
    opened = {
        name: run if isinstance(run, Sweep) else open_run(run) for name, run in sweeps.items()
    }
    if len(opened) < 2:
        raise UserError(f"models {', '.join(opened) or 'none'}: at least two are compared")
    (first, reference), *others = opened.items()
    mine = {task["name"]: task for task in reference.manifest["tasks"]}
    for name, run in others:
        its = {task["name"]: task for task in run.manifest["tasks"]}
        for task in dict.fromkeys([*mine, *its]):
            if task not in mine or task not in its:
                lacks = first if task not in mine else name
                raise UserError(f"task {task}: the run of {lacks} does not have it")
            for part in SAME:
                if mine[task].get(part) != its[task].get(part):
                    raise UserError(
                        f"task {task}: {first} and {name} were asked different examples "
                        f"({part}); compare runs with the same rows, limit and seed"
                    )
    return Comparison(opened, {name: int(n_layers[name]) for name in opened})

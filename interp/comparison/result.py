"""A comparison: one finished run a model, on the same examples. Needs no model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp.comparison.depth import centres, shifts
from interp.comparison.model_differences import differences
from interp.comparison.profile_correlations import correlations
from interp.comparison.removal_robustness import robustness
from interp.errors import UserError
from interp.results import Sweep, open_run

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
        return int(next(iter(self.sweeps.values())).manifest.seed)

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
        """Rank correlation of the profiles (`interp.comparison.correlations`)."""
        return correlations(self.values(), seed=self.seed, **options)

    def centres(self, **options: Any) -> pd.DataFrame:
        """Where what matters lies, and how spread out (`interp.comparison.centres`)."""
        return centres(self.values(), self.n_layers, **options)

    def shifts(self, **options: Any) -> pd.DataFrame:
        """How far the centres of two models lie apart (`interp.comparison.shifts`)."""
        return shifts(self.values(), self.n_layers, **options)

    def robustness(self, **options: Any) -> pd.DataFrame:
        """Score left as layers go, over the whole model's (`interp.comparison.robustness`)."""
        return robustness(self.values(), self.n_layers, seed=self.seed, **options)

    def _joined(self, table: str, **options: Any) -> pd.DataFrame:
        found = [
            getattr(sweep, table)(**options).assign(model=name)
            for name, sweep in self.sweeps.items()
        ]
        return pd.concat(found, ignore_index=True)

    def __repr__(self) -> str:
        tasks = [task.name for task in next(iter(self.sweeps.values())).manifest.tasks]
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
    mine = {task.name: task for task in reference.manifest.tasks}
    for name, run in others:
        its = {task.name: task for task in run.manifest.tasks}
        for task in dict.fromkeys([*mine, *its]):
            if task not in mine or task not in its:
                lacks = first if task not in mine else name
                raise UserError(f"task {task}: the run of {lacks} does not have it")
            for part in SAME:
                if getattr(mine[task], part) != getattr(its[task], part):
                    raise UserError(
                        f"task {task}: {first} and {name} were asked different examples "
                        f"({part}); compare runs with the same rows, limit and seed"
                    )
    return Comparison(opened, {name: int(n_layers[name]) for name in opened})

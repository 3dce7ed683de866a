"""Profiles of drops by kind of ablation, and their bootstrap over examples."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.ablations import parsed_or_none
from interp.errors import UserError, check_whole
from interp.stats import (
    BASELINE,
    bootstrap_means,
    check_paired,
    check_values,
    percentiles,
    sample_of,
    say_left_out,
    series,
)

INTERVAL = "bootstrap over examples"
SAME = 1e-12
"""Resamples that differ by less differ by rounding only: the sample shows no spread."""


class Outcomes(NamedTuple):
    """The values of one model, task and metric, as documents x ablations, the baseline first."""

    model: str
    task: str
    metric: str
    table: pd.DataFrame
    clusters: pd.Series | None
    points: bool

    def means(self, columns: list[str], *, resamples: int, seed: int) -> np.ndarray:
        """Column means `[1 + resamples, columns]` of the sample, then of each resample.

        Models with the same examples get the same resamples.
        """
        sample = sample_of(self.table[columns], self.clusters)
        drawn = bootstrap_means(sample, resamples=resamples, seed=[seed, 2])
        return np.concatenate([sample.table.mean(axis=0)[None], drawn])


def outcomes(values: pd.DataFrame) -> Iterator[Outcomes]:
    """Divide a table of values by model, task and metric, and check each against its baseline.

    Yields:
        The outcomes of one model, task and metric.

    Raises:
        UserError: as `interp.stats.importance`.
    """
    say_left_out(values)
    for key, points, wide, clusters in series(values):
        check_paired(wide, key)
        yield Outcomes(
            str(key["model"]), str(key["task"]), str(key["metric"]), wide, clusters, points
        )


def kind_and_layer(text: str) -> tuple[str, int] | None:
    """`layer:7` gives `("layer", 7)`, `head:7.3@mean` `("head@mean", 7)`; None for several."""
    parsed = parsed_or_none(text)
    layer = getattr(parsed, "layer", None)
    if parsed is None or layer is None:
        return None
    form, replaced = parsed.text.partition(":")[0], parsed.text.partition("@")[2]
    return (f"{form}@{replaced}" if replaced else form), int(layer)


def kinds(columns: Iterable[str]) -> dict[str, dict[str, int]]:
    """For each kind of ablation that acts on one layer, its ablations and their layers."""
    layers_of: dict[str, dict[str, int]] = {}
    for text in columns:
        placed = kind_and_layer(str(text))
        if placed is not None:
            layers_of.setdefault(placed[0], {})[str(text)] = placed[1]
    return layers_of


def pairs_of(values: pd.DataFrame) -> list[tuple[str, str]]:
    """Every pair of models, in the order in which the table names them.

    Returns:
        The pairs, each as (first, second).

    Raises:
        UserError: fewer than two models.
    """
    check_values(values)
    models = list(dict.fromkeys(values["model"]))
    if len(models) < 2:
        raise UserError(f"models {', '.join(map(str, models))}: at least two are compared")
    return list(combinations(models, 2))


def by_model(values: pd.DataFrame) -> dict[tuple[str, str], dict[str, Outcomes]]:
    """The outcomes of each model, by (task, metric); all models have the same examples.

    An example that fails in one model without any ablation is left out for all models.

    Returns:
        For each (task, metric) of the table, the outcomes by model.

    Raises:
        UserError: two models have different examples of a task.
    """
    of_series: dict[tuple[str, str], dict[str, Outcomes]] = {}
    for outcome in outcomes(_read_by_all(values)):
        others = of_series.setdefault((outcome.task, outcome.metric), {})
        for name, other in others.items():
            if not outcome.table.index.equals(other.table.index):
                raise UserError(
                    f"task {outcome.task}: {name} and {outcome.model} saw different examples; "
                    "compare runs with the same limit and seed"
                )
        others[outcome.model] = outcome
    return of_series


def check_layers(values: pd.DataFrame, n_layers: Mapping[str, int]) -> None:
    """Refuse numbers of layers that do not cover the models of a table of values.

    Args:
        values: the long table of `interp.stats`.
        n_layers: layers of each model.

    Raises:
        UserError: a model is missing, or its number is not a whole number.
    """
    check_values(values)
    for model in values["model"].unique():
        if not isinstance(n_layers, Mapping) or model not in n_layers:
            raise UserError(f"n_layers {n_layers!r:.80}: the number of layers of {model} is needed")
        check_whole(f"n_layers of {model}", n_layers[model], 1)


def _read_by_all(values: pd.DataFrame) -> pd.DataFrame:
    """The values without examples on which another model fails without any ablation.

    A model that fails on all examples of a task has no outcomes, and removes none from the others.
    """
    check_values(values)
    bare = values[values["ablation"] == BASELINE]
    if not bare["value"].isna().any():
        return values
    failed = bare["value"].isna().groupby([bare["model"], bare["task"], bare["metric"]])
    partly = bare[bare["value"].isna() & ~failed.transform("all")]
    keys = ["task", "metric", "doc_id"]
    unread = pd.MultiIndex.from_frame(partly[keys])
    # the rows of the failing model stay: they are counted and named later
    keys_of_model = pd.MultiIndex.from_frame(partly[["model", *keys]])
    elsewhere = pd.MultiIndex.from_frame(values[keys]).isin(unread)
    return values[
        ~elsewhere | pd.MultiIndex.from_frame(values[["model", *keys]]).isin(keys_of_model)
    ]


def bounds(drawn: Float[np.ndarray, " resamples"], confidence: float) -> tuple[float, float]:
    """Percentile interval of the resamples that have a value; NaN where all of them are equal."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) and np.ptp(defined) < SAME:
        return float("nan"), float("nan")
    low, high = percentiles(drawn, confidence)
    return float(low), float(high)

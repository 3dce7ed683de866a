"""Which later layers build on a layer, and which do not change when it is skipped?

    python -m experiments.downstream --preset organisms

It measures the relative change of every later layer's contribution when a layer is skipped, at all
positions and at later positions only (Csordas et al., arXiv 2505.13898), as means over texts with
intervals.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import runs, summary
from experiments.calibration import texts_of
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Which later layers build on a layer?"
TEXTS = 20
TITLES = {"all": "At all positions", "later": "At later positions only"}
NOT_TO_CONCLUDE = (
    "A large change says that what a later layer adds depends on the skipped one, not that the "
    "dependence matters for any answer: a layer may add much that nothing reads. A small change "
    "says little where the skipped layer itself adds little.",
    "Changes are relative to what a layer adds: one that adds little can change by more than it "
    "adds, and one that adds much looks robust. At later positions an effect went through "
    "attention, but also through every layer in "
    "between: the matrix holds total effects, and no cell of it is a direct path.",
)


def jobs(preset: Preset) -> list[Job]:
    """No sweeps, only passes over texts."""
    task = preset.task_names("skills")[0]
    return [Job("base", task, "downstream", ablations=0)]


def run(preset: Preset, out: Path) -> Section:
    """The two matrices of effects, and their means by distance between layers."""
    from interp import figures

    model = preset.models["base"]
    asked = {"model": model, "texts": TEXTS, "by distance": True}
    tables = runs.reading(preset, out, f"downstream-{model}", asked, lambda: _read(preset))
    return Section(
        name="downstream",
        question=QUESTION,
        findings=[_sentence(model, name, tables[name], tables["distances"]) for name in TITLES],
        figures={
            "effects": (
                figures.downstream({title: tables[name] for name, title in TITLES.items()}),
                "Relative change of each later layer's contribution, by skipped layer.",
            )
        },
        tables=dict(tables),
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _read(preset: Preset) -> dict[str, pd.DataFrame]:
    from interp.similarity import downstream_effects

    texts, _ = texts_of(preset, TEXTS)
    model, found = preset.load("base"), dict[str, pd.DataFrame]()
    distances = []
    for name in TITLES:
        later = name == "later"
        found[name] = downstream_effects(model, texts, later_positions=later)
        # the table has means over texts: how much these vary at a distance takes single texts
        single = [downstream_effects(model, [text], later_positions=later) for text in texts]
        distances.append(by_distance(single).assign(positions=name))
    return found | {"distances": pd.concat(distances, ignore_index=True)}


def by_distance(single: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean change of the next layer and of those after it, over skipped layers and texts.

    Args:
        single: the effects in each text, from `interp.similarity.downstream_effects`.

    Returns:
        Columns `distance value low high n interval`; `distance` is `next` or `further`.
    """
    from interp.stats import student_interval

    n = len(single)
    each = np.array(
        [
            [
                table.loc[(table["layer"] == table["skipped"] + 1) == nearest, "value"].mean()
                for nearest in (True, False)
            ]
            for table in single
        ]
    )
    means = each.mean(axis=0)
    error = each.std(axis=0, ddof=1) / n**0.5 if n > 1 else np.full(2, np.nan)
    low, high = student_interval(means, error, n)
    columns = {"distance": ["next", "further"], "value": means, "low": low, "high": high}
    return pd.DataFrame(columns).assign(n=n, interval="95% Student")


def _sentence(model: str, name: str, table: pd.DataFrame, distances: pd.DataFrame) -> str:
    from interp.labels import model_label

    largest: dict[Any, Any] = table.iloc[int(table["value"].argmax())].to_dict()
    own = distances[distances["positions"] == name]
    # the next layer first, as `by_distance` gives them
    near, far = (
        summary.interval(row["value"], row["low"], row["high"], 2) for row in own.to_dict("records")
    )
    return (
        f"{model_label(model)}, {TITLES[name].lower()}: the next layer changes by {near} of what "
        f"it adds on average over skipped layers, those after it by {far} (95% Student over "
        f"texts); most changes layer {largest['layer']} without layer {largest['skipped']}, "
        f"{summary.interval(largest['value'], largest['low_all'], largest['high_all'], 2)} "
        f"(95% interval of all pairs of layers together; n = {largest['n']} texts)."
    )


if __name__ == "__main__":
    command("downstream", run, jobs, about=QUESTION)

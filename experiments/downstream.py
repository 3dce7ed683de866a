"""Which later layers build on a layer, and which do not change when it is skipped?

    python -m experiments.downstream --preset organisms

It measures the relative change of every later layer's contribution when a layer is skipped, at all
positions and at later positions only (Csordas et al., arXiv 2505.13898), as means over texts with
intervals.
"""

from pathlib import Path
from typing import Any

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
    "Changes are relative to what a layer adds, so that late layers, which often add most, look "
    "robust. At later positions an effect went through attention, but also through every layer in "
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
    asked = {"model": model, "texts": TEXTS}
    tables = runs.reading(preset, out, f"downstream-{model}", asked, lambda: _read(preset))
    return Section(
        name="downstream",
        question=QUESTION,
        findings=[_sentence(model, name, table) for name, table in tables.items()],
        figures={
            "effects": (
                figures.downstream({TITLES[name]: table for name, table in tables.items()}),
                "Relative change of each later layer's contribution, by skipped layer.",
            )
        },
        tables=dict(tables),
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _read(preset: Preset) -> dict[str, pd.DataFrame]:
    from interp.similarity import downstream_effects

    texts, _ = texts_of(preset, TEXTS)
    model = preset.load("base")
    return {
        name: downstream_effects(model, texts, later_positions=name == "later") for name in TITLES
    }


def _sentence(model: str, name: str, table: pd.DataFrame) -> str:
    from interp.labels import model_label

    largest: dict[Any, Any] = table.iloc[int(table["value"].argmax())].to_dict()
    next_to = table[table["layer"] == table["skipped"] + 1]["value"]
    far = table[table["layer"] > table["skipped"] + 1]["value"]
    return (
        f"{model_label(model)}, {TITLES[name].lower()}: the next layer changes by "
        f"{next_to.mean():.2f} of what it adds on average over skipped layers, those after it by "
        f"{far.mean():.2f}; most changes layer {largest['layer']} without layer "
        f"{largest['skipped']}, "
        f"{summary.interval(largest['value'], largest['low_all'], largest['high_all'], 2)} "
        f"(n = {largest['n']} texts; 95% interval of all pairs of layers together)."
    )


if __name__ == "__main__":
    command("downstream", run, jobs, about=QUESTION)

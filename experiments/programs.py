"""Does a layer's work depend on its place? Layers in another order, twice, or side by side.

    python -m experiments.programs --preset organisms

Every pair of neighbours is exchanged, every block of layers runs twice, and every window runs side
by side ("Transformer Layers as Painters", arXiv 2407.09298; "Remarkable Robustness", arXiv
2406.19384), on scored option texts.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Does a layer's work depend on its place in the model?"
KINDS = {
    "exchange": "exchanging a layer with the next",
    "repeat": "running a block of layers twice",
    "parallel": "running a window of layers side by side",
}
NOT_TO_CONCLUDE = (
    "A drop under a program says that the function of the layers depends on the streams that they "
    "are given, not that the order itself carries information. An exchange that costs nothing may "
    "exchange two layers that do nothing here; read it beside the drop of skipping each. One that "
    "is not shown to harm may harm by less than the sweep could show.",
    "That some repeat scores above the whole model is expected by chance among so many: each was "
    "chosen because it is the largest. Only an adjusted p-value, or the same repeat on examples "
    "that did not choose it, says that a second run helps.",
)


def jobs(preset: Preset) -> list[Job]:
    """Every program of the studied model, on scored option texts."""
    return [Job("base", task, "programs") for task in preset.task_names("options")]


def run(preset: Preset, out: Path) -> Section:
    """The drop of every exchange, repeat and parallel window."""
    from interp import figures
    from interp.results import choose_metric

    drops = choose_metric(runs.importance(preset, out, jobs(preset)))
    return Section(
        name="programs",
        question=QUESTION,
        findings=[
            _sentence(str(task), rows, kind)
            for task, rows in drops.groupby("task", sort=False)
            for kind in KINDS
        ],
        figures={
            "exchanges": (
                figures.drops(drops, kind="exchange"),
                "Drop with each layer exchanged with the next.",
            ),
            "repeats": (
                figures.importance_map(drops, kind="repeat"),
                "Drop with layers i to j run twice.",
            ),
            "parallel": (
                figures.importance_map(drops, kind="parallel"),
                "Drop with layers i to j run side by side on one input.",
            ),
        },
        tables={"drops": drops},
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _sentence(task: str, rows: pd.DataFrame, kind: str) -> str:
    """How many programs of one kind are shown to harm or help, and what would have been missed."""
    own = rows[rows["family"] == kind]
    sure = own[own["p_adjusted"] < 0.05]
    baseline = f"{own['baseline'].iloc[0]:.0f}%"
    help_words = f"{(sure['drop'] < 0).sum()} to help"
    if own["baseline"].iloc[0] == 100:
        help_words = "none can help"
    return (
        f"{summary.series_words(str(own['model'].iloc[0]), task)} (whole model {baseline}, "
        f"n = {own['n'].iloc[0]}), {KINDS[kind]}: {(sure['drop'] > 0).sum()} of {len(own)} shown "
        f"to harm, {help_words} (adjusted p < 0.05, Holm"
        f"{summary.missed(own)}); "
        f"smallest drop {_named(own, int(own['drop'].argmin()))}, largest "
        f"{_named(own, int(own['drop'].argmax()))} (points; the intervals hold for all at once)."
    )


def _named(own: pd.DataFrame, at: int) -> str:
    """The drop in a row with its interval, and by which programs it is the same."""
    row = own.iloc[at]
    others = int(np.isclose(own["drop"], row["drop"]).sum()) - 1
    name = f"{row['ablation']} and {others} more" if others else row["ablation"]
    return f"{summary.interval(row['drop'], row['low_all'], row['high_all'])} ({name})"


if __name__ == "__main__":
    command("programs", run, jobs, about=QUESTION)

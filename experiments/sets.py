"""Which layers can go together, and what do two cost beyond one and one?

    python -m experiments.sets --preset organisms

Greedy removal, in which half of the examples choose and others score (SLEB, arXiv 2402.09025; TALE,
arXiv 2510.22767), and every pair of layers with its interaction.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Which layers can go together, and what do two cost beyond one and one?"
MOST = 4
NOT_TO_CONCLUDE = (
    "The scores on the examples that chose a set flatter it; only the held-out band is its score. "
    "That removal improves is said by a held-out interval below zero over all steps, and by "
    "nothing else. Greedy sets are one path: another set of the same size may cost less.",
    "Near a floor every interaction is negative, because a score cannot fall below it: blue cells "
    "beside two large drops say nothing about the layers. Positive ones say that one of the two "
    "makes up for the other while it is there, not how.",
)


def jobs(preset: Preset) -> list[Job]:
    """Greedy removal and all pairs, on scored option texts."""
    (task, *_) = preset.task_names("options")
    return [Job("base", task, "sets", ablations=MOST * 32), Job("base", task, "pairs")]


def run(preset: Preset, out: Path) -> Section:
    """The greedy curve and the interactions of all pairs."""
    from interp import figures
    from interp.results import choose_metric, interactions
    from interp.similarity import greedy_removal
    from interp.tasks import load_task

    greedy, pairs = jobs(preset)
    folder = (
        out / "sweeps" / runs.plain(preset.models["base"]) / f"{runs.plain(greedy.task)}-greedy"
    )
    task = load_task(greedy.task, data=preset.data)
    limit = preset.limit(greedy.task, "sets")
    found = greedy_removal(
        preset.load("base"), task, most=MOST, out=folder, limit=limit, seed=preset.seed
    )
    both = interactions(choose_metric(runs.gains(preset, out, [pairs])))
    return Section(
        name="sets",
        question=QUESTION,
        findings=[_greedy(found.order.steps, found.drops), _pairs(both)],
        figures={
            "greedy": (
                figures.similarity.pruning(found),
                "Score with the greedily chosen sets removed, on both halves of the examples.",
            ),
            "pairs": (
                figures.pairs(both),
                "What two layers cost together beyond one and one.",
            ),
        },
        tables={"greedy": found.drops, "interactions": both},
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _of(table: pd.DataFrame) -> str:
    """The model and the task of a table, in words."""
    row = table.iloc[0]
    return summary.series_words(str(row["model"]), str(row["task"]))


def _greedy(steps: Any, drops: pd.DataFrame) -> str:
    rows = drops.sort_values("n_removed")
    cells = [
        f"layers {'+'.join(map(str, step))}: "
        f"{summary.interval(row['drop'], row['low'], row['high'])}"
        for step, row in zip(steps, rows.to_dict("records"), strict=True)
    ]
    return (
        f"{_of(rows)} (whole model {rows['baseline'].iloc[0]:.0f}%). Held-out drops of the "
        f"greedily chosen sets, in points: {'; '.join(cells)} (n = {rows['n'].iloc[0]}; 95% "
        "intervals)."
    )


def _pairs(table: pd.DataFrame) -> str:
    sure = table[table["p_adjusted"] < 0.05]
    ends = [table.iloc[int(at)] for at in (table["interaction"].argmax(),
                                           table["interaction"].argmin())]  # fmt: skip
    most, least = (
        f"{row['ablation']} {summary.interval(row['interaction'], row['low_all'], row['high_all'])}"
        f" points (alone {row['drop_first']:.0f} and {row['drop_second']:.0f}, together "
        f"{row['drop']:.0f})"
        for row in ends
    )
    return (
        f"{_of(table)}. Of {len(table)} pairs {(sure['interaction'] > 0).sum()} are shown to cost "
        f"more together than one and one, {(sure['interaction'] < 0).sum()} less (adjusted "
        f"p < 0.05, Holm; n = {table['n'].iloc[0]}). Most more: {most}; most less: {least}, "
        "which a floor alone can do (intervals of all pairs together)."
    )


if __name__ == "__main__":
    command("sets", run, jobs, about=QUESTION)

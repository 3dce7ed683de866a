"""Does the answer to which layers matter depend on the protocol?

    python -m experiments.protocols --preset organisms

It skips every layer of two models and reads the same questions in three ways: by the log-likelihood
of option letters, by that of option texts, and by generated answers. `study`: MMLU in LLaMA-3.1-8B
and Qwen3-8B.
"""

from itertools import combinations
from pathlib import Path

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Does it depend on the protocol which layers matter?"


def jobs(preset: Preset) -> list[Job]:
    """Every layer of two models under all protocols."""
    tasks = preset.task_names("protocols")
    return [Job(role, task, "layers") for role in preset.roles("base", "other") for task in tasks]


def run(preset: Preset, out: Path) -> Section:
    """Accuracy by skipped layer under each protocol, and how well the protocols agree."""
    from interp import figures

    asked = jobs(preset)
    scores = runs.scores(preset, out, asked)
    importance = runs.importance(preset, out, asked)
    agreement = between_protocols(runs.values(preset, out, asked), seed=preset.seed)
    drawn = {
        "layers": (
            figures.layers(scores),
            "Accuracy without one layer, by protocol (columns) and model (rows).",
        ),
        "heatmap": (
            figures.heatmap(importance),
            "Drop by task, protocol and skipped layer.",
        ),
    }
    return Section(
        name="protocols",
        question=QUESTION,
        findings=_floor_sentences(importance),
        figures=drawn,
        tables={"scores": scores, "importance": importance, "agreement": agreement},
        shown=summary.what_matters(scores, importance),
        note=summary.note(importance, "layers"),
        further=[(summary.agreement(agreement, importance), summary.AGREEMENT)],
    )


def between_protocols(values: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The rank correlation of the profiles of one benchmark under two protocols.

    Args:
        values: the values of sweeps of every layer (`interp.stats`), all metrics.
        seed: the seed of the bootstrap.

    Returns:
        The table of `interp.stats.compare_profiles`; the correlation is over layers.
    """
    from interp.labels import split_task
    from interp.results import choose_metric
    from interp.stats import compare_profiles

    chosen = choose_metric(values)
    keys = summary.profiles(chosen)
    pairs = [
        (one, other)
        for one, other in combinations(keys, 2)
        if one["model"] == other["model"]
        and split_task(one["task"])[0] == split_task(other["task"])[0]
    ]
    return compare_profiles(chosen, pairs, seed=seed)


def _floor_sentences(importance: pd.DataFrame) -> list[str]:
    """The tasks on which no drop can show: not shown to be above guessing, or hardly above 0."""
    from interp.results import choose_metric

    rows = choose_metric(importance).drop_duplicates(["model", "task"])
    without = rows[~rows["testable"].astype(bool)]
    if without.empty:
        return []
    parts = [
        f"{summary.series_words(row['model'], row['task'])} ("
        f"{str(row['testability']).removeprefix('not testable: ')}, n = {row['n']})"
        for row in without.to_dict("records")
    ]
    return [
        "Not testable, for before anything is removed too little is shown to be right for a drop "
        f"to show: {'; '.join(parts)}. Guessing: one of as many options as a question has. Shown "
        "to be above it: the lower end of the 95% Wilson interval is. This interval takes rows as "
        "independent; those of the table are by cluster where rows have one."
    ]


if __name__ == "__main__":
    command("protocols", run, jobs, about=QUESTION)

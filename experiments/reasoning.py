"""Which layers and heads does written-out reasoning need, before and after distillation?

    python -m experiments.reasoning --preset organisms

Written-out arithmetic without each layer (beside one task of each other skill) and without each
head, for the base, the distilled model and, if it has the same shape, the teacher. `study`: GSM8K.
Among the organisms of eight layers, *base* cannot do the task, so only *teacher* and *distilled*
show where it is done.
"""

from pathlib import Path

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Which layers and heads does reasoning need, and does distillation change them?"


def jobs(preset: Preset) -> list[Job]:
    """Every layer on one task per skill in all models; every head on the reasoning task."""
    roles = preset.roles("base", "distilled", "teacher")
    skills = preset.task_names("skills", "reasoning")
    layers = [Job(role, task, "layers") for role in roles for task in skills]
    heads = [Job(role, task, "heads") for role in roles for task in preset.task_names("reasoning")]
    return layers + heads


def run(preset: Preset, out: Path) -> Section:
    """Base, distilled and teacher side by side under ablation of layers and of heads."""
    from interp import figures
    from interp.results import choose_metric

    layers = [job for job in jobs(preset) if job.family == "layers"]
    heads = [job for job in jobs(preset) if job.family == "heads"]
    scores = runs.scores(preset, out, layers)
    drops = runs.importance(preset, out, layers)
    head_drops = choose_metric(runs.importance(preset, out, heads))
    alike = between_models(runs.values(preset, out, layers), seed=preset.seed)
    matters = [
        summary.what_matters(scores, drops),
        summary.what_matters(runs.scores(preset, out, heads), head_drops),
    ]
    return Section(
        name="reasoning",
        question=QUESTION,
        findings=[_able(scores, preset.task_names("reasoning"))],
        figures={
            "layers": (
                figures.compared.by_model(scores),
                "One task of each skill without one layer, a line per model.",
            ),
            "heads": (
                figures.importance_map(head_drops),
                "Written-out reasoning without one head: drop in points.",
            ),
        },
        tables={"layers": scores, "layer-drops": drops, "head-drops": head_drops, "alike": alike},
        shown=pd.concat(matters, ignore_index=True),
        note=summary.note(pd.concat([drops, head_drops], ignore_index=True), "layers or heads"),
        further=[(summary.agreement(alike, drops), summary.AGREEMENT)] if len(alike) else (),
    )


def between_models(values: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The rank correlation of the profiles of each task in every two models of the same shape.

    Returns:
        The table of `interp.stats.compare_profiles`; empty if there is only one model.
    """
    from itertools import combinations

    from interp.results import choose_metric
    from interp.stats import compare_profiles

    chosen = choose_metric(values)
    keys = summary.profiles(chosen)
    pairs = [(a, b) for a, b in combinations(keys, 2) if a["task"] == b["task"]]
    return compare_profiles(chosen, pairs, seed=seed)


def _able(scores: pd.DataFrame, names: list[str]) -> str:
    """A sentence on which models can do the task; the others have nothing to lose."""
    from interp.labels import model_label
    from interp.results import choose_metric

    whole = choose_metric(scores[(scores["ablation"] == "baseline") & scores["task"].isin(names)])
    parts = [
        f"{model_label(r['model'])} {summary.interval(r['value'], r['low'], r['high'])}"
        for r in whole.to_dict("records")
    ]
    return (
        f"Written-out reasoning before anything is removed, % right [{whole['interval'].iloc[0]}], "
        f"n = {whole['n'].min()}: {'; '.join(parts)}. A model that cannot do the task says nothing "
        "about where it sits."
    )


if __name__ == "__main__":
    command("reasoning", run, jobs, about=QUESTION)

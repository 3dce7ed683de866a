"""What does distillation move? Base, teacher and distilled side by side.

    python -m experiments.distillation --preset organisms

Profiles of the models on one task per skill, with differences, correlations, centres of mass and
robustness; layers, attentions and MLPs of *base* swapped into *distilled* and the other way round,
one at a time and cumulatively; and how far the weights moved. `study`: LLaMA-3.1-8B and
DeepSeek-R1-Distill-Llama-8B (whose teacher, DeepSeek-R1, is of another shape).
"""

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from experiments import distillation_findings, runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "What does distillation move?"
PAIR = (("base", "distilled"), ("distilled", "base"))
"""Pairs of recipient and donor."""
NOT_TO_CONCLUDE = (
    "No drop exceeds its baseline. Where a layer costs two models everything, the difference of "
    "their drops is that of their baselines, and a model that gets more right can lose more: the "
    "shares of the baseline that a layer costs are compared for that reason. A model that is "
    "right in all examples cannot gain by a swap.",
    "That the shapes of two profiles differ says that some layer costs another part of the whole, "
    "not which one or how much, and profiles that end at their baselines can differ by these "
    "alone. That the order of the layers is the same does not say that their drops are.",
    "That a swap harms does not say that the layer holds what training added: it may hold what the "
    "layers around it now expect. That none harms alone does not say that the layers did not "
    "change: the swap of all of them is said beside.",
    "There is one training run a model, and nothing here separates the teacher's answers from the "
    "further training itself. A rank correlation over the layers of one model has little power, "
    "whatever its interval over examples says.",
)


def jobs(preset: Preset) -> list[Job]:
    """Single layers and cumulative layers of all models, and swaps between base and distilled."""
    roles, skills = preset.roles("base", "teacher", "distilled"), preset.task_names("skills")
    found = [Job(role, task, "layers") for role in roles for task in skills]
    found += [Job(role, task, "cumulative") for role in roles for task in skills]
    if "distilled" in preset.models:
        found += [Job(a, task, "swap-curves", donor=b) for a, b in PAIR for task in skills]
    return found


def run(preset: Preset, out: Path) -> Section:
    """Profiles, swap curves and weight distances, and what they show."""
    from interp import figures

    tables, n_layers = measured(preset, out)
    drawn: dict[str, tuple[Figure, str]] = {
        "profiles": (
            figures.comparison.profiles(tables["drops"], n_layers),
            "Drop when one layer is skipped, by relative depth.",
        )
    }
    if len(tables.get("model-differences", ())):
        drawn["differences"] = (
            figures.comparison.differences(tables["model-differences"]),
            "Difference of two models' drops in points, on the same examples; a drop ends at its "
            "model's baseline.",
        )
    drawn |= _of_swaps(preset, tables)
    return Section(
        name="distillation",
        question=QUESTION,
        findings=distillation_findings.findings(tables, preset.task_names("reasoning")),
        figures=drawn,
        tables=tables,
        shown=summary.what_matters(tables["scores"], tables["drops"]),
        note=summary.note(tables["drops"], "layers"),
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def measured(preset: Preset, out: Path) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """All tables, with one metric per task, and the number of layers of each model.

    Returns:
        Tables scores, drops, kinds (of wrong answers), centres, robustness; with two models
        model-differences, share-differences, correlations, shifts, robustness-differences; with
        a distilled model
        swaps, weights, layer-distances, weights-and-swaps.
    """
    from interp import comparison
    from interp.results import choose_metric

    asked, seed = jobs(preset), preset.seed
    layers = [job for job in asked if job.family == "layers"]
    going = [job for job in asked if job.family == "cumulative"]
    n_layers = {}
    for job in layers:
        manifest = runs.finished(preset, out, job).manifest
        n_layers[manifest.model] = len(manifest.ablations)
    values = choose_metric(runs.values(preset, out, layers))
    left = choose_metric(runs.values(preset, out, going))
    tables = {
        "scores": choose_metric(runs.scores(preset, out, layers)),
        "drops": choose_metric(runs.importance(preset, out, layers)),
        "kinds": pd.concat(
            [runs.finished(preset, out, job).kinds_of_error() for job in layers], ignore_index=True
        ),
        "centres": comparison.centres(values, n_layers),
        "robustness": comparison.robustness(left, n_layers, seed=seed),
    }
    if len(n_layers) > 1:
        tables["model-differences"] = comparison.differences(values, seed=seed)
        tables["share-differences"] = share_differences(values)
        tables["correlations"] = comparison.correlations(values, seed=seed)
        tables["shifts"] = comparison.shifts(values, n_layers)
        tables["robustness-differences"] = comparison.robustness_differences(left, seed=seed)
    if "distilled" in preset.models:
        tables |= _swapped(preset, out, [job for job in asked if job.family == "swap-curves"])
    return tables, n_layers


def share_differences(values: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Which layers cost two models other shares of their scores, on the same examples.

    Args:
        values: the values of every layer of the models, one metric per task.
        confidence: the coverage of the intervals of a pair and task together (Bonferroni).

    Returns:
        Columns `a b task ablation share_a share_b difference low_all high_all n`, in percent of
        each model's own baseline; NaN where a baseline is not clearly above 0.
    """
    from interp.stats import removal_curve, share_kept, share_kept_difference

    rows = []
    for task, of_task in values.groupby("task", sort=False):
        models = dict(list(of_task.groupby("model", sort=False)))
        for a, b in combinations(models, 2):
            skipped = [name for name in models[a]["ablation"].unique()
                       if name != "baseline" and name in set(models[b]["ablation"])]  # fmt: skip
            together = 1 - (1 - confidence) / max(1, len(skipped))
            for name in skipped:
                # a curve of one step is the share that is left without this layer
                one, other = (removal_curve(models[model], [name]) for model in (a, b))
                apart = share_kept_difference(one, other, paired=True, confidence=together)
                rows.append(
                    {"a": a, "b": b, "task": task, "ablation": name}
                    | {"share_a": 100 * (1 - share_kept(one).value)}
                    | {"share_b": 100 * (1 - share_kept(other).value)}
                    | {"difference": 100 * apart.value, "low_all": 100 * apart.low}
                    | {"high_all": 100 * apart.high, "n": len(one.documents)}
                )
    return pd.DataFrame(rows)


def _swapped(preset: Preset, out: Path, asked: list[Job]) -> dict[str, pd.DataFrame]:
    """Swap curves in both directions, weight distances, and their correlation."""
    from interp import comparison
    from interp.results import choose_metric

    sweeps = [runs.finished(preset, out, job) for job in asked]
    curves = pd.concat([comparison.swap_curves(run) for run in sweeps], ignore_index=True)
    kept = runs.reading(
        preset,
        out,
        "distillation-weights",
        {"models": [preset.models[role] for role in PAIR[0]]},
        lambda: _weights(preset),
    )
    together = [
        comparison.distance_and_effect(
            kept["layer-distances"], choose_metric(run.values()), seed=preset.seed
        )[0]
        for run in sweeps
    ]
    return {
        "swaps": choose_metric(curves),
        **kept,
        "weights-and-swaps": pd.concat(together, ignore_index=True),
    }


def _weights(preset: Preset) -> dict[str, pd.DataFrame]:
    from interp import comparison

    base, distilled = (preset.load(role) for role in PAIR[0])
    weights = comparison.weight_distances(base, distilled)
    return {
        "weights": weights,
        "layer-distances": comparison.layer_distances(weights),
        "ends": pd.DataFrame(
            {"line": [comparison.ends_line(base, distilled), comparison.ends_line(distilled, base)]}
        ),
    }


def _of_swaps(preset: Preset, tables: dict[str, pd.DataFrame]) -> "dict[str, tuple[Figure, str]]":
    """A figure of swap curves per task, and one of weights and swaps for the reasoning task."""
    from interp import figures
    from interp.labels import task_label

    drawn: dict[str, tuple[Figure, str]] = {}
    if "swaps" not in tables:
        return drawn
    for task in preset.task_names("skills"):
        rows = tables["swaps"][tables["swaps"]["task"] == task]
        drawn[f"swaps-{runs.plain(task)}"] = (
            figures.comparison.swap_curves(rows),
            f"{task_label(task)}: layers of one model put into the other.",
        )
    for task in preset.task_names("reasoning"):
        together = tables["weights-and-swaps"]
        drawn[f"weights-{runs.plain(task)}"] = (
            figures.comparison.weights(
                tables["layer-distances"],
                tables["swaps"][tables["swaps"]["task"] == task],
                together[together["task"] == task],
            ),
            f"{task_label(task)}: how far each layer moved, and what its swap does.",
        )
    return drawn


if __name__ == "__main__":
    command("distillation", run, jobs, about=QUESTION)

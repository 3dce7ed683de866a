"""What in a protocol changes which layers matter: the readout, the candidates or the steps?

    python -m experiments.factorial

Protocols differ in several things at once. Here the same prompt is read by likelihood and greedily;
among a few candidates, all values of the type, and the whole vocabulary; with and without written
steps before the answer. Each layer is skipped in every cell. The effect of a factor on its drop is
a paired difference over the same examples.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from interp.stats import Cell
    from interp.tasks import Task

QUESTION = "Is it the readout, the candidates or the steps on which it depends which layers matter?"
READOUTS = ("likelihood", "greedy")
CANDIDATES = ("options", "type", "vocabulary")
STEPS = ("without", "with")
FORMS, WITH_STEPS = "-forms", "-steps-forms"
SHOWN = 3
"""The number of ablations per factor in the page's table, largest effects first."""


def jobs(preset: Preset) -> list[Job]:
    """Every layer in every form; scored and written answers are separate tasks."""
    return [Job("base", task, "layers") for task in preset.task_names("forms")]


def run(preset: Preset, out: Path) -> Section:
    """The drop of every layer in every cell, and the effect of each factor on it."""
    from interp import figures

    cells: list[pd.DataFrame] = []
    effects: list[pd.DataFrame] = []
    shares: list[pd.DataFrame] = []
    for name, tasks in benchmarks(preset.task_names("forms")).items():
        values = pd.concat(
            [in_cells(runs.values(preset, out, [Job("base", task, "layers")])) for task in tasks],
            ignore_index=True,
        )
        floors = floors_of(preset, tasks)
        one, two, three = tables(values, floors, seed=preset.seed)
        # cells of two benchmarks have the same names
        one["task"] = [f"{name}, {cell}" for cell in one["task"]]
        for found, table in ((cells, one), (effects, two), (shares, three)):
            found.append(table.assign(benchmark=name))
    drops, points, of_rest = (
        pd.concat(some, ignore_index=True) for some in (cells, effects, shares)
    )
    return Section(
        name="factorial",
        question=QUESTION,
        findings=sentences(of_rest),
        figures={
            "heatmap": (
                figures.heatmap(drops, labels={task: cell_label(task) for task in drops["task"]}),
                "Drop by cell (readout, candidates, steps) and skipped layer.",
            )
        },
        tables={"cells": drops, "effects": points, "share-effects": of_rest},
        shown=_shown(of_rest),
        note="Difference of the share of what there is to lose (baseline minus guessing) that is "
        "lost without the layer, in points of it, with the interval of all layers together; "
        f"{of_rest['test'].iloc[0]}, {of_rest['correction'].iloc[0]} over the layers. "
        "Candidates are compared with the row's options, averaged over the other factors.",
    )


def benchmarks(tasks: list[str]) -> dict[str, list[str]]:
    """For each benchmark its tasks in all forms: scored and written, without and with steps."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        name = task.partition(":")[0]
        found.setdefault(name.removesuffix(WITH_STEPS).removesuffix(FORMS), []).append(task)
    return found


def cell_of(task: str, metric: str) -> "Cell | None":
    """Readout, candidates and steps of a metric of a form; None for a metric without a cell."""
    steps = STEPS[task.partition(":")[0].endswith(WITH_STEPS)]
    if metric.startswith("exact_match"):
        return READOUTS[1], CANDIDATES[2], steps
    readout, _, candidates = metric.partition("_")
    return (readout, candidates, steps) if readout in READOUTS else None


def in_cells(values: pd.DataFrame) -> pd.DataFrame:
    """The values of forms, with the cell in columns `readout`, `candidates` and `steps`."""
    keys = list(zip(values["task"], values["metric"], strict=True))
    cells = {key: cell_of(*key) for key in dict.fromkeys(keys)}
    kept = values[[cells[key] is not None for key in keys]].copy()
    places = [cells[key] for key in zip(kept["task"], kept["metric"], strict=True)]
    kept[["readout", "candidates", "steps"]] = pd.DataFrame(places, index=kept.index)
    return kept


def design_of(values: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """For each factor with two or more levels in the values, its levels."""
    allowed = {"readout": READOUTS, "candidates": CANDIDATES, "steps": STEPS}
    held = {name: set(values[name]) for name in allowed}
    return {
        name: tuple(level for level in levels if level in held[name])
        for name, levels in allowed.items()
        if len(held[name]) > 1
    }


def floors_of(preset: Preset, tasks: list[str]) -> dict[str, float]:
    """The score of guessing among the options, the values of the type and the vocabulary."""
    from interp.tasks import load_task

    scored = next(load_task(task, data=preset.data) for task in tasks if ":generate" not in task)
    return chances(scored)


def chances(task: "Task") -> dict[str, float]:
    """The mean score of guessing among options and among all values; 0 for the vocabulary."""
    rows = task.documents()
    options, values = (
        sum(1 / len(row[name]) for row in rows) / len(rows) for name in ("options", "values")
    )
    return dict(zip(CANDIDATES, (options, values, 0.0), strict=True))


def tables(
    values: pd.DataFrame, floors: dict[str, float], *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Drops by cell; effects in points; effects as shares of what can be lost.

    Args:
        values: from `in_cells`, of one benchmark.
        floors: the table of `chances`.
        seed: the seed of the bootstrap.

    Returns:
        The table of `interp.stats.importance`, in which the task is the cell, and two tables of
        `interp.stats.factorial_effects`.
    """
    from interp.stats import cells_of, factorial_effects, importance

    design = design_of(values)
    named = values.assign(task=values[list(design)].agg(", ".join, axis=1), metric="acc")
    place = list(design).index("candidates")
    of_cells = {cell: floors[cell[place]] for cell in cells_of(design)}
    return (
        importance(named, seed=seed),
        factorial_effects(values, design),
        factorial_effects(values, design, floors=of_cells),
    )


def cell_label(cell: str) -> str:
    """Words for a benchmark and its cell: `Facts, greedy, options, no steps`."""
    from interp.labels import benchmark_label

    benchmark, *levels = cell.split(", ")
    steps = dict(zip(STEPS, ("no steps", "steps"), strict=True))
    words = [steps.get(level, level) for level in levels]
    return ", ".join([benchmark_label(benchmark), *words])


def sentences(effects: pd.DataFrame) -> list[str]:
    """For each model, benchmark and factor, the layers whose lost share it is shown to change."""
    from interp.labels import benchmark_label, model_label

    found = []
    for (model, benchmark), rows in effects.groupby(["model", "benchmark"], sort=False):
        parts = []
        for effect, of_effect in rows.groupby("effect", sort=False):
            known = of_effect[of_effect["value"].notna()]
            if known.empty:
                parts.append(f"{effect}: not testable (a whole model at its floor)")
                continue
            parts.append(f"{effect}: {_of_effect(str(effect), known)}")
        found.append(
            f"{model_label(str(model))}, {benchmark_label(str(benchmark))} (n = "
            f"{int(rows['n'].iloc[0])}). Layers whose lost share is shown to change with it "
            f"(adjusted p < 0.05, {str(rows['correction'].iloc[0]).title()} over the layers of an "
            f"effect): {'; '.join(parts)}."
        )
    return found


def _of_effect(effect: str, known: pd.DataFrame) -> str:
    """How many layers an effect is shown to change, and its largest value with its interval.

    The two readouts choose alike among candidates of one word. An effect of 0 there is no finding.
    """
    moved = known[known["p_adjusted"] < 0.05]
    largest = known.iloc[int(known["value"].abs().argmax())]
    count = f"shown in {len(moved) or 'none'} of {len(known)}"
    among = f"candidates: {CANDIDATES[1]} - {CANDIDATES[0]}"
    if "readout" in effect and among in effect and (known["value"] == 0).all():
        return (
            f"{count} (0 in all; among candidates of one word a readout has no effect by "
            "construction)"
        )
    if np.isnan(largest["low_all"]):
        return count
    what = "largest effect" if len(moved) else "largest estimate"
    return (
        f"{count} ({what}, {largest['ablation']}: {_points(largest)} points of the share, interval "
        "of all layers together)"
    )


def _points(row: Any) -> str:
    """A share in points with the interval for all layers together, because it was chosen."""
    return summary.interval(
        100 * float(row["value"]), 100 * float(row["low_all"]), 100 * float(row["high_all"])
    )


def _shown(effects: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import benchmark_label, model_label, p_text

    known = effects[effects["value"].notna() & ~effects["factors"].str.contains(" x ")]
    chosen = known.assign(size=known["value"].abs()).sort_values("size", ascending=False)
    chosen = chosen.groupby(["model", "benchmark", "effect"], sort=False).head(SHOWN)
    return pd.DataFrame(
        [
            {
                "Model": model_label(row["model"]),
                "Benchmark": benchmark_label(row["benchmark"]),
                "Factor": row["effect"],
                "Without": row["ablation"],
                "Change of the share lost (points)": _points(row),
                "adjusted p": p_text(row["p_adjusted"]),
                "n": int(row["n"]),
            }
            for row in chosen.sort_values(["model", "benchmark", "effect"]).to_dict("records")
        ],
        columns=["Model", "Benchmark", "Factor", "Without", "Change of the share lost (points)",
                 "adjusted p", "n"],
    )  # fmt: skip


if __name__ == "__main__":
    command("factorial", run, jobs, about=QUESTION)

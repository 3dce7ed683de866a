"""Does the headline hold over training runs? `python -m experiments.organisms.seeds`.

*small-1* to *small-3* differ only in their seed: first weights, documents and their order. The
layers of each are removed one after the other, and what option texts keep above guessing is
compared with what generated answers keep: in each run, and over the three. None is shipped: they
are read from `runs/`, where `python -m experiments.organisms train NAME` puts them.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from experiments import runs, summary
from experiments.headline import influence_on_texts, measured, protocols_compared
from experiments.organisms.redundancy import folder_of
from experiments.organisms.second_recipes import SMALL_SEEDS
from experiments.presets import ORGANISMS, Preset
from experiments.runs import Job
from experiments.sections import table_lines

NAMES = tuple(recipe.name for recipe in SMALL_SEEDS)
OUT = Path("runs/seeds")
PROTOCOLS = ("continuation", "generate")
"""The protocols that these models were trained for: they saw no option letters."""


@dataclass(frozen=True)
class OverRuns:
    """The mean of one quantity over training runs.

    Attributes:
        mean: over the runs.
        low: the lower end of the interval for new runs and new examples.
        high: its upper end.
        runs_low: the lower end of the interval for new runs on the same examples.
        runs_high: its upper end.
        n: the number of runs.
    """

    mean: float
    low: float
    high: float
    runs_low: float
    runs_high: float
    n: int


def over_runs(
    values: Sequence[float], halves: Sequence[float], confidence: float = 0.95
) -> OverRuns:
    """The mean over runs, with an interval over runs and one over runs and examples.

    The interval over runs is Student's, with a degree of freedom less than there are runs. All runs
    answer the same examples, so the luck of the draw of examples may move all of them alike: the
    other interval takes it that it does, and adds the mean of the runs' own half-widths in squares.

    Args:
        values: the quantity in each run.
        halves: half the width of each run's own interval over examples.
        confidence: the coverage of the intervals.

    Returns:
        The mean and both intervals; NaN for fewer than two runs, or where a run has no value.
    """
    n = len(values)
    mean = float(np.mean(values)) if n else np.nan
    if n < 2 or not np.isfinite([*values, *halves]).all():
        return OverRuns(mean, np.nan, np.nan, np.nan, np.nan, n)
    spread = float(np.std(values, ddof=1)) / n**0.5
    runs = float(student.ppf((1 + confidence) / 2, n - 1)) * spread
    both = float(np.hypot(runs, np.mean(halves)))
    return OverRuns(mean, mean - both, mean + both, mean - runs, mean + runs, n)


def compared(folders: Mapping[str, Path], limit: int, out: Path) -> dict[str, pd.DataFrame]:
    """Removal curves of each run, and by how much more option texts keep than generated answers.

    Args:
        folders: name of each run and its folder.
        limit: examples per task.
        out: folder of the sweeps.

    Returns:
        `scores`, of the whole models on the examples of the curves; `differences`, a row per run,
        benchmark and order;
        `over-runs`, a row per benchmark and order; `profiles`, how alike the drops of two runs are.
    """
    found, scores = [], []
    for name, folder in folders.items():
        preset = preset_of(folder, limit)
        influence = influence_on_texts(preset, out, "base")
        for task in preset.task_names("protocols"):
            one = measured(preset, out, "base", task, influence)
            found.append(replace(one, model=name))
            whole = one.curves[one.curves["n_removed"] == 0].iloc[0]
            own = {key: whole[key] for key in ("value", "low", "high", "n", "interval")}
            scores.append({"model": name, "task": task} | own)
    _, differences = protocols_compared(found)
    return {
        "scores": pd.DataFrame(scores),
        "differences": differences,
        "over-runs": over_all(differences),
        "profiles": profiles_compared(folders, limit, out),
    }


def preset_of(folder: Path, limit: int) -> Preset:
    """The preset of the shipped models with one run in the place of its base."""
    tasks = [
        task for task in ORGANISMS.task_names("protocols") if task.partition(":")[2] in PROTOCOLS
    ]
    return replace(
        ORGANISMS,
        models={"base": str(folder)},
        tasks={**ORGANISMS.tasks, "protocols": tuple(tasks)},
        limits={part: min(n, limit) for part, n in ORGANISMS.limits.items()},
    )


def over_all(differences: pd.DataFrame) -> pd.DataFrame:
    """The differences' means over the runs.

    Args:
        differences: as `headline.protocols_compared` makes them.

    Returns:
        A row per benchmark and order: `benchmark order mean low high runs_low runs_high n_runs
        n_above`, the last the number of runs whose own interval is above 0.
    """
    rows = []
    for (benchmark, order), found in differences.groupby(["benchmark", "order"], sort=False):
        halves = (found["high"] - found["low"]) / 2
        mean = over_runs(found["difference"].tolist(), halves.tolist())
        rows.append(
            {"benchmark": benchmark, "order": order, "mean": mean.mean}
            | {"low": mean.low, "high": mean.high}
            | {"runs_low": mean.runs_low, "runs_high": mean.runs_high}
            | {"n_runs": mean.n, "n_above": int((found["low"] > 0).sum())}
        )
    return pd.DataFrame(rows)


def profiles_compared(folders: Mapping[str, Path], limit: int, out: Path) -> pd.DataFrame:
    """Whether two runs need the same layers: rank correlations of their profiles of drops.

    Args:
        folders: name of each run and its folder.
        limit: examples per task.
        out: folder of the sweeps.

    Returns:
        The table of `interp.stats.compare_profiles`, a row per pair of runs and task.
    """
    from interp.results import choose_metric
    from interp.stats import compare_profiles

    found, pairs = [], []
    for name, folder in folders.items():
        preset = preset_of(folder, limit)
        jobs = [Job("base", task, "layers") for task in preset.task_names("protocols")]
        found.append(choose_metric(runs.values(preset, out, jobs)).assign(model=name))
    values = pd.concat(found, ignore_index=True)
    for task in dict.fromkeys(values["task"]):
        pairs += [
            ({"model": a, "task": task}, {"model": b, "task": task})
            for a, b in combinations(folders, 2)
        ]
    return compare_profiles(values, pairs)


def page(tables: Mapping[str, pd.DataFrame], *, limit: int) -> str:
    """The tables in words."""
    scores = tables["scores"]
    kinds = " or ".join(dict.fromkeys(scores["interval"]))
    return "\n".join(
        [
            "# Seeds",
            "",
            f"Made by `python -m experiments.organisms.seeds --limit {limit}`. Three runs of one "
            "recipe (eight layers, from nothing, 3 million tokens of facts, look-up and unwritten "
            "chains) that differ in their seed alone.",
            "",
            "## What each run gets right (%)",
            "",
            f"On the n examples of each task that chose no order ({kinds} intervals).",
            "",
            *table_lines(_right(scores)),
            "",
            "## By how much more option texts keep than generated answers",
            "",
            "A share is the mean of what is left above guessing over the removal of one to all "
            "but one of the layers; the order is chosen for each run on other examples. A run's "
            "own interval is over examples and wordings (n as above). Over new runs it is "
            "Student's with two "
            "degrees of freedom, the examples as they are; over new runs and examples, the mean of "
            "the runs' own half-widths is added in squares, as if the luck of the examples moved "
            "all runs alike. None is corrected for the number of comparisons.",
            "",
            *table_lines(_leads(tables)),
            "",
            "## Whether two runs need the same layers",
            "",
            "Rank correlation of the drops of the eight layers: as observed; an estimate of the "
            "highest that the noise of the examples allows on average, which one observed "
            "correlation can exceed; and freed from that noise, with its 95% bootstrap interval "
            "over examples (n of each run). The test asks whether the drops, each divided by the "
            "sum of its run's, are the same. No drop exceeds its baseline, so that runs with other "
            "baselines can differ by these alone.",
            "",
            *table_lines(_alike(tables["profiles"])),
            "",
        ]
    )


def _right(scores: pd.DataFrame) -> pd.DataFrame:
    """What each run gets right, as it is shown."""
    from interp.labels import task_label

    rows = [
        {"Task": task_label(str(task))}
        | {
            row["model"]: summary.interval(row["value"], row["low"], row["high"])
            for row in own.to_dict("records")
        }
        | {"n": own["n"].iloc[0]}
        for task, own in scores.groupby("task", sort=False)
    ]
    return pd.DataFrame(rows)


def _leads(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """By how much more option texts keep, in each run and over them, as it is shown."""
    from interp.labels import benchmark_label

    rows = []
    for row in tables["over-runs"].to_dict("records"):
        own = tables["differences"].query(
            "benchmark == @row['benchmark'] and order == @row['order']"
        )
        rows.append(
            {"Benchmark": benchmark_label(row["benchmark"]), "Order": row["order"]}
            | {one["model"]: interval_text(one, "difference") for one in own.to_dict("records")}
            | {"Mean, new runs": interval_text(row, "mean", "runs_low", "runs_high")}
            | {"Mean, new runs and examples": interval_text(row, "mean")}
        )
    return pd.DataFrame(rows)


def _alike(profiles: pd.DataFrame) -> pd.DataFrame:
    """How alike the drops of two runs are, as it is shown."""
    from interp.labels import p_text, task_label

    rows = [
        {"Task": task_label(row["a"].split(", ")[1])}
        | {"Runs": " and ".join(row[side].split(", ")[0] for side in "ab")}
        | {"Observed": f"{row['spearman']:.2f}", summary.CEILING: f"{row['ceiling']:.2f}"}
        | {"Without noise": interval_text(row, "disattenuated")}
        | {
            "p, shapes differ": "not testable"
            if row["p_differ"] != row["p_differ"]
            else p_text(row["p_differ"], row["least_p"])
        }
        | {"n": row["n_a"]}
        for row in profiles.to_dict("records")
    ]
    return pd.DataFrame(rows)


def interval_text(row: Mapping[Any, Any], value: str, low: str = "low", high: str = "high") -> str:
    """A number with its interval, or that it cannot be tested."""
    if any(row[name] != row[name] for name in (value, low, high)):
        return "not testable"
    return f"{row[value]:+.2f} [{row[low]:.2f}, {row[high]:.2f}]"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.organisms.seeds")
    parser.add_argument("--limit", type=int, default=200, help="examples per task")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the sweeps")
    options = parser.parse_args()
    folders = {}
    for name in NAMES:
        folder = folder_of(name)
        if folder is None:
            parser.error(f"{name} is not trained: python -m experiments.organisms train {name}")
        folders[name] = folder
    tables = compared(folders, options.limit, options.out)
    (options.out / "seeds.md").write_text(page(tables, limit=options.limit))
    for name, table in tables.items():
        table.to_csv(options.out / f"seeds-{name}.csv", index=False)
    print((options.out / "seeds.md").read_text())


if __name__ == "__main__":
    main()

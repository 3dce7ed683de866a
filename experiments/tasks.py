"""Does it depend on how a scored option is counted: its whole text, or the mean of its tokens?

    python -m experiments.tasks --preset organisms

It skips every layer and scores the same option texts as `acc` (sum over tokens), `acc_norm`
(divided by characters) and `acc_ce` (mean over tokens). `study`: HellaSwag and MathQA. For the
organisms: knowledge and arithmetic with option texts.
"""

from pathlib import Path

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Does it depend on the benchmark and its metric which layers matter?"
METRICS = ("acc", "acc_norm", "acc_ce")


def jobs(preset: Preset) -> list[Job]:
    """Every layer of two models on the tasks with option texts."""
    tasks = preset.task_names("options")
    return [Job(role, task, "layers") for role in preset.roles("base", "other") for task in tasks]


def run(preset: Preset, out: Path) -> Section:
    """Accuracy by skipped layer, a line per metric."""
    from interp import figures

    asked = jobs(preset)
    scores = runs.scores(preset, out, asked)
    importance = runs.importance(preset, out, asked)
    apart = differing(runs.values(preset, out, asked))
    drawn = {
        "layers": (
            figures.compared.by_metric(scores, metrics=METRICS),
            "Option texts counted in three ways, by skipped layer.",
        )
    }
    return Section(
        name="tasks",
        question=QUESTION,
        findings=_sentences(apart),
        figures=drawn,
        tables={"scores": scores, "importance": importance, "differing": apart},
        shown=summary.what_matters(scores, importance),
        note=f"{summary.note(importance, 'layers')} Metric: accuracy (acc).",
    )


def differing(values: pd.DataFrame) -> pd.DataFrame:
    """The share of answers that two metrics count differently, over examples and ablations.

    Args:
        values: the values of the sweeps, all metrics.

    Returns:
        Columns `model task metric other share low high n pairs interval`, with shares in percent;
        examples are resampled, each with all its ablations.
    """
    from interp.stats import scores

    tables = []
    for (model, task), group in values.groupby(["model", "task"], sort=False):
        wide = group.pivot_table(
            index=["doc_id", "ablation"], columns="metric", values="value", aggfunc="first"
        )
        for other in [name for name in METRICS[1:] if name in wide and "acc" in wide]:
            differ = (wide["acc"] != wide[other]).astype(float)
            shares = differ.groupby("doc_id").mean().rename("value").reset_index()
            named = shares.assign(
                model=str(model), task=str(task), metric=other, ablation="baseline"
            )
            table = scores(named).drop(columns="ablation")
            scale = 100 if table["unit"].iloc[0] == "value" else 1
            table[["value", "low", "high"]] *= scale
            tables.append(table.assign(metric="acc", other=other, pairs=len(differ)))
    return pd.concat(tables, ignore_index=True).rename(columns={"value": "share"})


def _sentences(apart: pd.DataFrame) -> list[str]:
    from interp.labels import metric_label, uncapitalised

    found = []
    for row in apart.to_dict("records"):
        name = summary.series_words(row["model"], row["task"])
        other = uncapitalised(metric_label(row["other"]))
        found.append(
            f"{name}: accuracy and {other} differ in "
            f"{summary.interval(row['share'], row['low'], row['high'], 1)}% of {row['pairs']:,} "
            f"answers ({row['interval']} over n = {row['n']} examples; every layer and the "
            "baseline)."
        )
    return found


if __name__ == "__main__":
    command("tasks", run, jobs, about=QUESTION)

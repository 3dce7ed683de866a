"""Is a layer's function missed, or only a stream that later layers never saw?

    python -m experiments.replacements --preset organisms

Each layer is skipped, and its contribution is replaced by the mean, by that of another example, and
by its best affine map (ReplaceMe, arXiv 2505.02819), on the same examples; there is one table per
model.
"""

from pathlib import Path

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Is a layer's function missed, or only a stream that later layers know?"
NOT_TO_CONCLUDE = (
    "None of the four removes what earlier layers wrote. A small drop under the mean says that "
    "later layers need the usual size and direction of the stream from this one, not that it "
    "computes nothing for other tasks; a small drop under the linear map says that the layer is "
    "close to linear on these prompts.",
    "The mean and the map are fitted on 32 prompts of the task. A map of a wide model that is "
    "fitted on so few positions is shrunk towards the mean and is a lower bound of what a linear "
    "map can do; the difference between the two columns is then no evidence against linearity.",
)
WAYS = {"": "Skipped", "@mean": "Mean", "@resample": "Another example's", "@linear": "Linear map"}


def jobs(preset: Preset) -> list[Job]:
    """Every layer in four ways, on scored option texts."""
    return [Job("base", task, "replacements") for task in preset.task_names("options")]


def run(preset: Preset, out: Path) -> Section:
    """One table per task: the drop of each layer under each replacement."""
    from interp import figures
    from interp.results import choose_metric, replacement_table

    drops = choose_metric(runs.importance(preset, out, jobs(preset)))
    table = replacement_table(drops)
    sums = summed(choose_metric(runs.values(preset, out, jobs(preset))), seed=preset.seed)
    return Section(
        name="replacements",
        question=QUESTION,
        findings=[_sentence(str(task), rows) for task, rows in sums.groupby("task", sort=False)],
        figures={
            "marks": (
                figures.replacements(drops),
                "Drop of each layer when it is skipped and when something stands in its place.",
            )
        },
        tables={"table": table, "sums": sums},
        shown=_shown(table),
        note="Drops in points with 95% intervals, paired over "
        f"n = {drops['n'].iloc[0]} examples per task "
        f"({summary.interval_words(drops['interval'])}).",
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def summed(values: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The drops of all layers in sum, by what stands in place of a layer.

    Args:
        values: the values of a sweep of all replacements, one metric per task (0 or 1).
        seed: the seed of the intervals.

    Returns:
        Columns `model task way value low high n interval`, in points. An example counts with the
        sum of its own drops, so that the interval is over examples, or clusters of them.
    """
    from interp.stats import scores

    tables = []
    for _, group in values.groupby(["model", "task"], sort=False):
        own = [c for c in ("model", "task", "metric", "doc_id", "cluster") if c in group]
        whole = group[group["ablation"] == "baseline"].set_index("doc_id")["value"]
        layers = group[group["ablation"] != "baseline"]
        ways = layers["ablation"].astype(str).str.extract(r"(@\w+)$")[0].fillna("")
        for way in WAYS:
            chosen = layers[ways == way]
            if chosen.empty:
                continue
            lost = 100 * (chosen["doc_id"].map(whole) - chosen["value"])
            rows = chosen[own].assign(value=lost, ablation="baseline")
            # a task without clusters has none in the column
            by_example = rows.groupby([*own, "ablation"], sort=False, dropna=False)
            each = by_example["value"].sum().reset_index()
            tables.append(scores(each, seed=seed).assign(way=way))
    columns = ["model", "task", "way", "value", "low", "high", "n", "interval"]
    return pd.concat(tables, ignore_index=True)[columns]


def _sentence(task: str, rows: pd.DataFrame) -> str:
    """What the drops of all layers add up to under each replacement."""
    parts = [
        f"{WAYS[row['way']].lower()} {summary.interval(row['value'], row['low'], row['high'])}"
        for row in rows.to_dict("records")
    ]
    return (
        f"{summary.series_words(str(rows['model'].iloc[0]), task)}: drops in points, summed over "
        f"layers, {'; '.join(parts)} ({rows['interval'].iloc[0]}, n = {rows['n'].iloc[0]}; their "
        "differences were not tested; the intervals of single layers are in the table)."
    )


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import task_label

    rows = []
    for row in table.to_dict("records"):
        cells = {"Task": task_label(row["task"]), "Layer": row["layer"]}
        for way, words in zip(("skip", "mean", "resample", "linear"), WAYS.values(), strict=True):
            if way in row:
                cells[words] = summary.interval(row[way], row[f"{way}_low"], row[f"{way}_high"])
        rows.append(cells)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    command("replacements", run, jobs, about=QUESTION)

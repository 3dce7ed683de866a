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
    return Section(
        name="replacements",
        question=QUESTION,
        findings=[_sentence(str(task), rows) for task, rows in table.groupby("task", sort=False)],
        figures={
            "marks": (
                figures.replacements(drops),
                "Drop of each layer when it is skipped and when something stands in its place.",
            )
        },
        tables={"table": table},
        shown=_shown(table),
        note="Drops in points with 95% intervals, paired over "
        f"n = {drops['n'].iloc[0]} examples per task ({drops['interval'].iloc[0]}).",
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _sentence(task: str, rows: pd.DataFrame) -> str:
    """The share of the drops of skipping that is left under each replacement, over all layers."""
    skipped = rows["skip"].sum()
    parts = [
        f"{words.lower()} {rows[way].sum():.0f}"
        for way, words in (("mean", "mean"), ("resample", "another example's"),
                           ("linear", "linear map"))
        if way in rows
    ]  # fmt: skip
    return (
        f"{summary.series_words(str(rows['model'].iloc[0]), task)}: drops summed over layers, "
        f"skipped {skipped:.0f} points, {', '.join(parts)} (n = {rows['n'].iloc[0]}; the intervals "
        "of single layers are in the table)."
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

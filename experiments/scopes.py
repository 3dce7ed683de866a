"""Is a layer needed for reading the prompt or for writing the answer?

    python -m experiments.scopes --preset organisms

Each layer is skipped at all positions, only at those of the prompt, and only at those of the
answer, with generated answers. Each drop is split into a prompt part, an answer part and their
interaction (another possible explanation of differences between protocols: arXiv 2602.03295,
2605.06105).
"""

from pathlib import Path

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

QUESTION = "Is a layer needed for reading the prompt or for writing the answer?"
NOT_TO_CONCLUDE = (
    "A layer skipped at the prompt still has its keys and values there, computed from the stream "
    "that passes by: the prompt part says whether the layer's work on the prompt is needed, not "
    "whether the prompt can be seen from it. The last position of the prompt, which predicts the "
    "answer's first token, belongs to the prompt; where answers are short the answer part has few "
    "positions to show anything.",
    "A negative interaction is what a floor makes of two drops: an example that is lost already "
    "cannot be lost again. Parts are of one task and its answers; that a layer matters for "
    "writing here does not say that it does under another protocol.",
)


def jobs(preset: Preset) -> list[Job]:
    """Every layer in both scopes and at all positions, on generated key-value retrieval."""
    return [Job("base", task, "scopes") for task in preset.task_names("retrieval")]


def run(preset: Preset, out: Path) -> Section:
    """The parts of each layer's drop."""
    from interp import figures
    from interp.results import choose_metric, scope_parts

    parts = scope_parts(choose_metric(runs.gains(preset, out, jobs(preset))))
    return Section(
        name="scopes",
        question=QUESTION,
        findings=[_sentence(str(task), rows) for task, rows in parts.groupby("task", sort=False)],
        figures={
            "parts": (
                figures.scopes(parts),
                "Each layer's drop as prompt part, answer part and interaction.",
            )
        },
        tables={"parts": parts},
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _sentence(task: str, rows: pd.DataFrame) -> str:
    """The layers with a significant prompt or answer part, largest first."""
    cells = []
    for part, words in (("prompt", "for reading"), ("answer", "for writing")):
        own = rows[(rows["part"] == part) & (rows["p_adjusted"] < 0.05) & (rows["value"] > 0)]
        named = [
            f"{row['ablation'].replace(':', ' ')} "
            f"{summary.interval(row['value'], row['low'], row['high'])}"
            for row in own.sort_values("value", ascending=False).to_dict("records")
        ]
        cells.append(f"{words} {'; '.join(named[: summary.NAMED]) or 'none shown'}")
    return (
        f"{summary.series_words(str(rows['model'].iloc[0]), task)}, parts in points: "
        f"{' - '.join(cells)} (adjusted p < 0.05, Holm over the layers of a part; "
        f"n = {rows['n'].iloc[0]}; 95% intervals, paired)."
    )


if __name__ == "__main__":
    command("scopes", run, jobs, about=QUESTION)

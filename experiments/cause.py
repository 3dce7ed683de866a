"""Where does an answer stand, which activation carries it, and in which layers is it moved?

    python -m experiments.cause --preset organisms

Pairs of prompts that differ in one thing: the value that is asked for, or the person. Every layer's
stream, attention and MLP is taken from the other prompt, where the two differ and at the last
position; and in windows of one and two layers the answer cannot attend to the value.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from experiments import runs, summary
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "Where does the answer stand, and in which layers is it moved?"
NOT_TO_CONCLUDE = (
    "Recovery is of what differs between the two prompts. What both have in common, such as the "
    "question's form or the relation that is asked for, cannot show; an activation that brings "
    "nothing may still be needed. What is enough to bring the answer (denoising) need not be "
    "needed to keep it, where several paths carry the same.",
    "A window without which the answer is lost says in which layers it is read from its place, not "
    "by which head, and a window without a drop does not say that nothing is read there: other "
    "positions still see the value. Pairs are few, and cells whose interval over all patches holds "
    "0 are not zeros. Neither says anything of other tasks, wordings or models.",
)
ROLES = ("base", "distilled")


def jobs(preset: Preset) -> list[Job]:
    """Patches of all tasks of pairs, and cuts where the value stands among others."""
    found = []
    for role in (role for role in ROLES if role in preset.models):
        for task in preset.task_names("pairs"):
            found.append(Job(role, task, f"patches-{_by(task)}"))
            if "kv" in task:
                found.append(Job(role, task, "cuts"))
    return found


def _by(task: str) -> str:
    """What differs between the prompts of a pair."""
    return "person" if task.startswith(("world-facts", "world2-facts")) else "gold"


def run(preset: Preset, out: Path) -> Section:
    """Maps of recovery, one per task, and of what is lost without attention to the value."""
    from interp import figures
    from interp.results import choose_metric

    asked = jobs(preset)
    patched = [job for job in asked if job.family != "cuts"]
    table = pd.concat(
        [runs.finished(preset, out, job).recovery() for job in patched], ignore_index=True
    )
    maps: dict[str, tuple[Figure, str]] = {}
    for task in dict.fromkeys(job.task for job in patched):
        rows = table[table["task"].str.endswith(task) & (table["direction"] == "denoising")]
        name = f"recovery-{runs.plain(Path(task).stem)}"
        maps[name] = figures.recovery_map(rows), "What each activation brings of the other answer."
    tables = {"recovery": table}
    cuts = [job for job in asked if job.family == "cuts"]
    findings = [
        _patches(str(model), str(task), rows)
        for (model, task), rows in table[table["direction"] == "denoising"].groupby(
            ["model", "task"], sort=False
        )
    ]
    if cuts:
        drops = choose_metric(runs.importance(preset, out, cuts))
        maps["knockout"] = (
            figures.knockout_map(drops),
            "Drop where the answer cannot attend to the value, or to the other values.",
        )
        tables["knockout"] = drops
        findings += [
            _windows(str(model), str(task), rows)
            for (model, task), rows in drops.groupby(["model", "task"], sort=False)
        ]
    return Section(
        name="cause",
        question=QUESTION,
        findings=findings,
        figures=maps,
        tables=tables,
        not_to_conclude=NOT_TO_CONCLUDE,
    )


def _patches(model: str, task: str, rows: pd.DataFrame) -> str:
    """The sublayers at the last position that bring something, largest first."""
    parts = rows[rows["ablation"].str.contains(r":(?:attn|mlp):.*@last", regex=True)]
    shown = parts[parts["low_all"] > 0].sort_values("recovery", ascending=False)
    named = [
        f"{row['ablation'].removeprefix('patch:').removesuffix('@last').replace(':', ' ')} "
        f"{summary.interval(row['recovery'], row['low_all'], row['high_all'], 2)}"
        for row in shown.to_dict("records")
    ]
    return (
        f"{summary.series_words(model, task)}: at the last position "
        f"{'; '.join(named[: summary.NAMED]) or 'no single attention or MLP is shown to bring any'}"
        f" of the other answer (recovery, n = {rows['n'].iloc[0]} pairs; Fieller's 95% intervals, "
        "Bonferroni over all patches)."
    )


def _windows(model: str, task: str, rows: pd.DataFrame) -> str:
    """The windows without which the answer is lost, largest drop first."""
    shown = rows[(rows["p_adjusted"] < 0.05) & (rows["drop"] > 0)]
    named = [
        f"{row['ablation']} {summary.interval(row['drop'], row['low'], row['high'])}"
        for row in shown.sort_values("drop", ascending=False).to_dict("records")
    ]
    return (
        f"{summary.series_words(model, task)}: drops in points, "
        f"{'; '.join(named[: summary.NAMED]) or 'none shown'} (adjusted p < 0.05; "
        f"n = {rows['n'].iloc[0]}; 95% intervals, paired)."
    )


if __name__ == "__main__":
    command("cause", run, jobs, about=QUESTION)

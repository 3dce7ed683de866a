"""Where does an answer stand, which activation carries it, and in which layers is it moved?

    python -m experiments.cause --preset organisms

The prompts of a pair differ in one thing: the value that is asked for, the key that asks for it, or
the person. The residual stream, attention and MLP of every layer are patched from the other prompt,
where the two differ and at the last position. In windows of one and two layers, the answer cannot
attend to the value. Finally, facts are asked after a passage that contradicts the weights: which
parts follow the passage, and which the weights?
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
LEAST_OVERRULED = 0.1
"""The share of pairs in which the passage must win for parts to be tested."""


def jobs(preset: Preset) -> list[Job]:
    """Patches on all tasks of pairs, and cuts where the value is among others."""
    found = []
    for role in (role for role in ROLES if role in preset.models):
        for task in preset.task_names("pairs"):
            if task.startswith(("world-facts", "world2-facts")):
                found += [Job(role, task, "patches-person"), Job(role, task, "contradicted")]
                continue
            found.append(Job(role, task, "patches-gold"))
            if "kv" in task:
                found += [Job(role, task, "patches-key"), Job(role, task, "cuts")]
    return found


def run(preset: Preset, out: Path) -> Section:
    """Maps of recovery, one per task, and of the drop without attention to the value."""
    from interp import figures
    from interp.results import choose_metric, context_or_weights

    asked = jobs(preset)
    patched = [job for job in asked if job.family.startswith("patches")]
    table = pd.concat(
        [runs.finished(preset, out, job).recovery() for job in patched], ignore_index=True
    )
    maps: dict[str, tuple[Figure, str]] = {}
    denoising = table[table["direction"] == "denoising"]
    for task, rows in denoising.groupby("task", sort=False):
        name = f"recovery-{runs.plain(str(task).removeprefix('twins-'))}"
        maps[name] = figures.recovery_map(rows), "What each activation brings of the other answer."
    tables = {"recovery": table}
    cuts = [job for job in asked if job.family == "cuts"]
    findings = [
        _patches(str(model), str(task), rows)
        for (model, task), rows in denoising.groupby(["model", "task"], sort=False)
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
    contradicted = [job for job in asked if job.family == "contradicted"]
    if contradicted:
        found = [runs.finished(preset, out, job).responses() for job in contradicted]
        sources = pd.concat([context_or_weights(one) for one in found], ignore_index=True)
        wins = pd.concat([passage_wins(one, seed=preset.seed) for one in found], ignore_index=True)
        tables |= {"sources": sources, "wins": wins}
        findings += [
            _sources(str(model), str(task), rows, wins)
            for (model, task), rows in sources.groupby(["model", "task"], sort=False)
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
    """The sublayers at the last position with a recovery above 0, largest first."""
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


def passage_wins(responses: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often the passage's answer is the likelier one without an ablation, and by how much.

    Args:
        responses: as for `interp.results.context_or_weights`.
        seed: the seed of the intervals.

    Returns:
        Two rows of `interp.stats.scores` for each task: `wins`, in percent of the pairs, and
        `nats`, the passage's log-probability minus that of the memorised answer.
    """
    from interp.stats import scores

    # rows with even numbers have the changed passage; the first option is its answer
    whole = responses[(responses["ablation"] == "baseline") & (responses["doc_id"] % 2 == 0)]
    gaps = whole["loglikelihoods"].map(lambda one: float(one[0]) - float(one[1]))
    own = [c for c in ("model", "task", "ablation", "doc_id", "cluster") if c in whole]
    rows = whole[own].assign(value=gaps)[gaps.notna()]
    wins = rows.assign(metric="wins", value=(rows["value"] > 0).astype(float))
    return scores(pd.concat([wins, rows.assign(metric="nats")], ignore_index=True), seed=seed)


def _sources(model: str, task: str, rows: pd.DataFrame, wins: pd.DataFrame) -> str:
    """The parts that follow the passage and the weights; not testable if the passage never wins."""
    overruled, n = float(rows["overruled"].iloc[0]), int(rows["n"].iloc[0])
    own = wins[(wins["model"] == model) & (wins["task"] == task)]
    share, nats = (own[own["metric"] == name].iloc[0] for name in ("wins", "nats"))
    words = (
        f"{summary.series_words(model, task)}, behind a passage that contradicts the weights: the "
        f"passage's answer is the likelier one in {round(overruled * n)} of {n} pairs, "
        f"{summary.interval(share['value'], share['low'], share['high'])}% ({share['interval']}), "
        f"by {summary.interval(nats['value'], nats['low'], nats['high'], 1)} nats on average "
        f"({nats['interval']})"
    )
    if not overruled >= LEAST_OVERRULED:
        return f"{words}; what follows the passage is not testable, for it does not win."
    sides = []
    for side, ascending in (("passage", True), ("weights", False)):
        own = rows[rows["follows"] == side].sort_values("change", ascending=ascending)
        named = [
            f"{row['ablation']} "
            f"{summary.interval(row['change'], row['low_all'], row['high_all'], 1)}"
            for row in own.to_dict("records")
        ]
        more = f", {len(named)} in all" if len(named) > summary.NAMED else ""
        sides.append(f"the {side} {'; '.join(named[: summary.NAMED]) or 'nothing shown'}{more}")
    return (
        f"{words}. Ablated parts that follow {', '.join(sides)} (change of that difference in "
        "nats; 95% intervals for all parts together)."
    )


def _windows(model: str, task: str, rows: pd.DataFrame) -> str:
    """The windows with significant drops, largest first."""
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

"""How many layers can be removed, under each protocol? The study's headline, held out.

    python -m experiments.headline --preset organisms

Layers are removed one after the other, least important first, until one is left, under every
protocol. There are two orders: by measured importance (on the same task and the other half of its
examples), and by block influence (on texts that belong to no task). `study`: MMLU in LLaMA-3.1-8B
and Qwen3-8B.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments import runs
from experiments.calibration import texts_of
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from interp.similarity import Order
    from interp.stats import RemovalCurve
    from interp.tasks import Task

QUESTION = "How many layers can go, under each protocol?"
MARGIN = 10.0
ORDERS = ("measured importance", "block influence")
UNKNOWN_LAYERS = 32
"""The number of layers that is assumed for a model of unknown size, for the estimate."""


@dataclass(frozen=True)
class Measured:
    """One task of one model on the second half of its examples.

    Attributes:
        model: the name of the model.
        task: the task as it was loaded.
        curves: scores along each order.
        counts: for each order, how many layers can be removed, as shown by `removable`.
        kept: for each order, by name, the outcomes along it.
    """

    model: str
    task: "Task"
    curves: pd.DataFrame
    counts: pd.DataFrame
    kept: Mapping[str, "RemovalCurve"]


def jobs(preset: Preset) -> list[Job]:
    """The layers, which other experiments skip, too, and then the curves."""
    from experiments.hours import size_of

    found = []
    for role in preset.roles("base", "other", "distilled"):
        size = size_of(preset.models[role])
        steps = len(ORDERS) * ((size.n_layers if size else UNKNOWN_LAYERS) - 1)
        for task in preset.task_names("protocols"):
            found += [Job(role, task, "layers"), Job(role, task, "headline", ablations=steps)]
    return found


def run(preset: Preset, out: Path) -> Section:
    """The curves of every protocol, and how many layers can be removed under each."""
    from interp import figures

    roles = preset.roles("base", "other", "distilled")
    influence = {role: influence_on_texts(preset, out, role) for role in roles}
    found = [
        measured(preset, out, role, name, influence[role])
        for role in roles
        for name in preset.task_names("protocols")
    ]
    curves = pd.concat([one.curves for one in found], ignore_index=True)
    counts = pd.concat([one.counts for one in found], ignore_index=True)
    shares, differences = protocols_compared(found)
    # where there is nothing to lose, keeping the score shows nothing
    filled = counts.assign(
        kept=[row["kept"] if _testable(row) else -1 for row in counts.to_dict("records")]
    )
    drawn = {
        name.replace(" ", "-"): (
            figures.protocol_curves(
                curves[curves["order"] == name], counts=filled[filled["order"] == name]
            ),
            f"What is left as layers go, in the order of {name}, by protocol.",
        )
        for name in ORDERS
    }
    return Section(
        name="headline",
        question=QUESTION,
        findings=[*sentences(counts), *compared_sentences(differences)],
        figures=drawn,
        tables={
            "curves": curves,
            "counts": counts,
            "shares": shares,
            "differences": differences,
        },
        shown=_shown(counts),
        note=_note(counts),
    )


def halves(documents: pd.Series, *, seed: int = 0) -> tuple[set[int], set[int]]:
    """Split a task's examples at random: one half chooses the order, the other gives the curve.

    Args:
        documents: the numbers of the rows, which may be repeated.
        seed: the seed of the split.

    Returns:
        Two sets without a row in common. With an odd number the second is the larger.
    """
    import numpy as np

    rows = np.random.default_rng(seed).permutation(np.sort(documents.unique()))
    half = len(rows) // 2
    return set(rows[:half].tolist()), set(rows[half:].tolist())


def measured(preset: Preset, out: Path, role: str, name: str, influence: pd.DataFrame) -> Measured:
    """Remove the layers of one model one after the other, in each order, under one task.

    Args:
        preset: models, tasks, sizes.
        out: folder of the experiments.
        role: the role of the model.
        name: the name of the task.
        influence: the influence of each layer of the model (`influence_on_texts`).

    Returns:
        The curves on the half of the examples that chose no order.
    """
    import interp
    from interp.results import choose_metric
    from interp.similarity import by_importance, by_influence, curve_table, skipped_layers
    from interp.stats import importance, removable, removal_curve, scores
    from interp.tasks import load_task

    layers = choose_metric(runs.values(preset, out, [Job(role, name, "layers")]))
    first, second = halves(layers["doc_id"], seed=preset.seed)
    n_layers = len(influence)
    chosen: list[Order] = [
        by_importance(importance(layers[layers["doc_id"].isin(first)]), n_layers - 1),
        by_influence(influence, n_layers - 1),
    ]
    steps = {order.name: [skipped_layers(step).text for step in order.steps] for order in chosen}
    drops = choose_metric(runs.importance(preset, out, [Job(role, name, "layers")]))
    (floor,) = set(drops["floor"].fillna(0))
    model, task = preset.load(role), load_task(name, data=preset.data)
    folder = out / "sweeps" / runs.plain(preset.models[role]) / f"{runs.plain(name)}-headline"
    asked = list(dict.fromkeys(text for texts in steps.values() for text in texts))
    limit = preset.limit(name, "layers")
    sweep = interp.sweep(model, task, asked, out=folder, limit=limit, seed=preset.seed)
    values = choose_metric(sweep.values())
    values = values[values["doc_id"].isin(second)]
    counts = [
        removable(values, texts, margin=MARGIN, seed=preset.seed).assign(order=name, floor=floor)
        for name, texts in steps.items()
    ]
    return Measured(
        preset.models[role],
        task,
        curve_table(scores(values), chosen),
        pd.concat(counts, ignore_index=True),
        {name: removal_curve(values, texts, floor=floor) for name, texts in steps.items()},
    )


def influence_on_texts(preset: Preset, out: Path, role: str) -> pd.DataFrame:
    """The block influence of each layer on texts that are not examples of any task."""
    from interp.similarity import layer_similarity

    model = preset.models[role]

    def make() -> dict[str, pd.DataFrame]:
        texts, _ = texts_of(preset)
        return {"influence": layer_similarity(preset.load(role), texts).influence}

    return runs.reading(preset, out, f"headline-{model}", {"model": model}, make)["influence"]


def protocols_compared(found: Sequence[Measured]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The share that each protocol keeps of what can be lost, and its lead over generated answers.

    Args:
        found: tasks of any models and benchmarks.

    Returns:
        Shares, with columns `model benchmark protocol order share low high`; and differences, with
        columns `model benchmark order protocol other difference low high paired n`. NaN where a
        baseline is not clearly above guessing.
    """
    from interp.labels import split_task
    from interp.stats import share_kept, share_kept_difference

    shares, differences = [], []
    for one in found:
        benchmark, protocol = split_task(one.task.name)
        key = {"model": one.model, "benchmark": benchmark}
        for order, curve in one.kept.items():
            ratio = share_kept(curve)
            shares.append(
                key
                | {"protocol": protocol, "order": order}
                | {"share": ratio.value, "low": ratio.low, "high": ratio.high}
            )
            for other in found:
                if protocol == "generate" or other.model != one.model:
                    continue
                if split_task(other.task.name) != (benchmark, "generate"):
                    continue
                paired = _same_examples(one, other, order)
                ratio = share_kept_difference(other.kept[order], curve, paired=paired)
                differences.append(
                    key
                    | {"order": order, "protocol": protocol, "other": "generate"}
                    | {"difference": ratio.value, "low": ratio.low, "high": ratio.high}
                    | {"paired": paired, "n": len(curve.documents)}
                )
    return pd.DataFrame(shares), pd.DataFrame(differences)


def _same_examples(one: Measured, other: Measured, order: str) -> bool:
    """Whether the curves of two tasks are over the same rows."""
    numbers = [set(each.kept[order].documents.tolist()) for each in (one, other)]
    if numbers[0] != numbers[1]:
        return False
    rows, others = one.task.documents(), other.task.documents()
    return all(rows[i] == others[i] for i in numbers[0])


def compared_sentences(differences: pd.DataFrame) -> list[str]:
    """One sentence per pair of protocols: which of the two keeps more of what can be lost."""
    from interp.labels import benchmark_label, model_label, protocol_label

    found = []
    for row in differences.to_dict("records"):
        name = protocol_label(row["protocol"]).lower()
        about = (
            f"{model_label(row['model'])}, {benchmark_label(row['benchmark'])}, by {row['order']}: "
        )
        if row["difference"] != row["difference"]:
            found.append(f"{about}{name} against generated answers: not testable.")
            continue
        interval = f"{row['difference']:+.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        n = f"(n = {row['n']}, {'the same' if row['paired'] else 'other'} examples)"
        if row["low"] <= 0 <= row["high"]:
            found.append(
                f"{about}{name} and generated answers are not shown to differ, {interval} {n}."
            )
            continue
        shown = "more" if row["low"] > 0 else "less"
        found.append(
            f"{about}{name} keep {shown} of what can be lost than generated answers, by {interval} "
            f"of it on average over the curve {n}."
        )
    return found


def sentences(counts: pd.DataFrame) -> list[str]:
    """For each model, benchmark and order, how many layers can be removed under each protocol."""
    from interp.labels import benchmark_label, model_label, protocol_label, split_task

    split = [split_task(task) for task in counts["task"]]
    table = counts.assign(benchmark=[b for b, _ in split], protocol=[p for _, p in split])
    found = []
    for (model, benchmark, order), rows in table.groupby(
        ["model", "benchmark", "order"], sort=False
    ):
        parts = [
            f"{protocol_label(row['protocol']).lower()} {_range(row)}"
            for row in rows.to_dict("records")
        ]
        found.append(
            f"{model_label(str(model))}, {benchmark_label(str(benchmark))}, by {order}: "
            f"{'; '.join(parts)} (n = {rows['n'].iloc[0]})."
        )
    return found


def _range(row: Mapping[Any, Any]) -> str:
    """What one curve shows, in words."""
    if not _testable(row):
        return f"not testable (whole model {row['baseline']:.0f}%, guessing {row['floor']:.0f}%)"
    kept, steps = int(row["kept"]), int(row["n_steps"])
    lost = (
        ""
        if row["lost_from"] != row["lost_from"]
        else f", shown lost from {int(row['lost_from'])} on"
    )
    return f"{kept} of {steps} layers shown to be spared{lost}"


def _testable(row: Mapping[Any, Any]) -> bool:
    """Whether more than the margin can be lost."""
    return bool(row["baseline"] - row["floor"] > row["margin"])


def _shown(counts: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import model_label, task_label

    return pd.DataFrame(
        [
            {
                "Model": model_label(row["model"]),
                "Task": task_label(row["task"]),
                "Order": row["order"],
                "Whole model (%)": f"{row['baseline']:.0f}",
                "Shown to be spared": f"{int(row['kept'])} of {int(row['n_steps'])}"
                if _testable(row)
                else "not testable",
                "Shown to be lost from": f"{int(row['lost_from'])}"
                if row["lost_from"] == row["lost_from"]
                else "none",
                "n": int(row["n"]),
            }
            for row in counts.to_dict("records")
        ]
    )


def _note(counts: pd.DataFrame) -> str:
    first = counts.iloc[0]
    return (
        f"Spared: as many layers can go, one after the other, with a drop shown to be below "
        f"{first['margin']:g} points ({first['test']}). Lost: from so many on, all drops are "
        "shown to be above it. Between the two the data cannot tell. The orders were chosen on the "
        "other half of the examples, or on texts. What can be lost: baseline minus guessing. "
        "Shares of it have Fieller's 95% interval, their differences one recovered from both "
        "(MOVER); neither is corrected for the number of comparisons."
    )


if __name__ == "__main__":
    command("headline", run, jobs, about=QUESTION)

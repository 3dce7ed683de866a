"""Does similarity, which is cheap, predict the drop of a layer, and how good is pruning by it?

    python -m experiments.similarity --preset organisms

Block influence and angular distance of each model, their rank correlation with the drops of a sweep
of every layer, pruning curves in five orders, and the study's own script beside ours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments import runs, summary
from experiments.calibration import texts_of
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp.results import Sweep
    from interp.similarity import Order

QUESTION = "Do similar layers matter less, and can one prune by similarity?"
MOST = 4
DRAWS = 3
ORDERS = 5 + DRAWS - 1
MEASURE = "block influence"


def jobs(preset: Preset) -> list[Job]:
    """Passes over the tasks, single layers, which other experiments skip, too, and the curves."""
    found = []
    for role in preset.roles("base", "distilled", "teacher"):
        for task in preset.task_names("skills"):
            found += [
                Job(role, task, "similarity", ablations=0),
                Job(role, task, "layers"),
                Job(role, task, "pruning", ablations=ORDERS * MOST),
            ]
    return found


def run(preset: Preset, out: Path) -> Section:
    """Angular distance, block influence, their agreement with importance, pruning curves."""
    from interp import figures
    from interp.labels import model_label

    roles = preset.roles("base", "distilled", "teacher")
    found = {role: measured(preset, out, role) for role in roles}
    drawn: dict[str, tuple[Figure, str]] = {}
    for role, tables in found.items():
        name = model_label(preset.models[role])
        drawn |= _figures(tables, role, name)
    between = _between(preset, out, roles)
    if len(between):
        drawn["cka-between"] = (
            figures.cka.heatmap(between),
            "Similarity of the depths of two models (linear CKA).",
        )
        drawn["cka-same-depth"] = (
            figures.cka.same_depth(between),
            "Similarity of the same depth in two models.",
        )
    correlations = pd.concat([one["agreement"] for one in found.values()], ignore_index=True)
    curves = pd.concat([one["pruning"] for one in found.values()], ignore_index=True)
    return Section(
        name="similarity",
        question=QUESTION,
        findings=_sentences(curves),
        figures=drawn,
        tables={"agreement": correlations, "pruned": curves},
        shown=_shown(correlations),
        note="Spearman's correlation over layers; noise ceiling: the highest that any measure "
        "could have with drops of n examples (root of their split-half reliability); p: "
        f"{correlations['test'].iloc[0]}, not corrected.",
    )


def _between(preset: Preset, out: Path, roles: list[str]) -> pd.DataFrame:
    """CKA between the base and each other model, at the last token of the same texts."""
    if len(roles) < 2:
        return pd.DataFrame()
    asked = {"models": [preset.models[role] for role in roles]}

    def make() -> dict[str, pd.DataFrame]:
        from interp.similarity import cka_between

        texts, _ = texts_of(preset)
        base = preset.load(roles[0])
        tables = [cka_between(base, preset.load(other), texts) for other in roles[1:]]
        return {"cka": pd.concat(tables, ignore_index=True)}

    return runs.reading(preset, out, "similarity-between", asked, make)["cka"]


def measured(preset: Preset, out: Path, role: str) -> dict[str, pd.DataFrame]:
    """Similarity of one model, its agreement with importance, and its pruning curves.

    Returns:
        Tables angular, cka, influence, agreement, points, pruning.
    """
    tasks = preset.task_names("skills")
    asked = {
        "model": preset.models[role],
        "tasks": tasks,
        "limits": [preset.limit(task, family) for task in tasks
                   for family in ("similarity", "layers", "pruning")],
        "most": MOST,
        "draws": DRAWS,
        "left out": "rows that the order of importance was measured on",
    }  # fmt: skip
    name = f"similarity-{preset.models[role]}"
    return runs.reading(preset, out, name, asked, lambda: _measure(preset, out, role))


def _measure(preset: Preset, out: Path, role: str) -> dict[str, pd.DataFrame]:
    from interp.results import choose_metric
    from interp.similarity import layer_similarity, study_angular_distance
    from interp.stats import layer_correlations

    model, names = preset.load(role), preset.task_names("skills")
    tasks = dict(zip(names, preset.load_tasks("skills"), strict=True))
    texts, _ = texts_of(preset)
    similar = {
        name: layer_similarity(
            model, task, limit=preset.limit(name, "similarity"), seed=preset.seed
        )
        for name, task in tasks.items()
    }
    on_texts = layer_similarity(model, texts)
    layers = [Job(role, name, "layers") for name in names]
    sweeps = [runs.finished(preset, out, job) for job in layers]
    values = choose_metric(pd.concat([one.gains() for one in sweeps], ignore_index=True))
    pairs = [
        layer_correlations(one.measures(), values[values["task"] == tasks[name].name])
        for name, one in similar.items()
    ]
    correlations, points = (pd.concat(x, ignore_index=True) for x in zip(*pairs, strict=True))
    return {
        "angular": pd.concat(
            [on_texts.angular, study_angular_distance(model, texts)], ignore_index=True
        ),
        "cka": on_texts.cka,
        "influence": pd.concat([one.influence for one in similar.values()], ignore_index=True),
        "agreement": correlations,
        "points": points,
        "pruning": _pruned(preset, out, role, orders(on_texts, sweeps, seed=preset.seed)),
    }


def _pruned(preset: Preset, out: Path, role: str, chosen: "list[Order]") -> pd.DataFrame:
    """Curves on other examples: an order by importance looks too good on its own examples.

    The two draws share some rows by chance (half, if half of a task's rows are drawn); these are
    left out of every curve.
    """
    from interp.results import choose_metric
    from interp.similarity import pruning_curves

    model, tables = preset.load(role), []
    names = preset.task_names("skills")
    for name, task in zip(names, preset.load_tasks("skills"), strict=True):
        folder = out / "sweeps" / runs.plain(preset.models[role]) / f"{runs.plain(name)}-pruning"
        limit = preset.limit(name, "pruning")
        curve = pruning_curves(model, [task], chosen, out=folder, limit=limit, seed=preset.seed + 1)
        tables.append(choose_metric(curve))
    return pd.concat(tables, ignore_index=True)


def orders(similarity: Any, importance: "Sequence[Sweep]", *, seed: int = 0) -> "list[Order]":
    """The orders of layers, by five ways of choosing them.

    Args:
        similarity: the result of `interp.layer_similarity` on texts.
        importance: the sweeps of every layer, one per task.
        seed: the seed of the random orders.
    """
    from interp.similarity import (
        at_random,
        by_angular_distance,
        by_importance,
        by_influence,
        deepest_first,
    )

    n_layers = len(similarity.influence)
    most = min(MOST, n_layers - 1)
    return [
        by_importance(importance, most),
        by_influence(similarity.influence, most),
        by_angular_distance(similarity.angular, most),
        deepest_first(n_layers, most),
        *at_random(n_layers, most, draws=DRAWS, seed=seed),
    ]


def _figures(
    tables: dict[str, pd.DataFrame], role: str, name: str
) -> "dict[str, tuple[Figure, str]]":
    from interp import figures

    return {
        f"angular-distance-{role}": (
            figures.similarity.angular(tables["angular"]),
            f"Angular distance between layers of {name}; right: as the study's script computes it.",
        ),
        f"cka-{role}": (
            figures.cka.heatmap(tables["cka"]),
            f"Similarity of the depths of {name} to each other (linear CKA).",
        ),
        f"block-influence-{role}": (
            figures.similarity.influence(tables["influence"]),
            f"Block influence of each layer of {name}, by task.",
        ),
        f"agreement-{role}": (
            figures.similarity.agreement(tables["points"], tables["agreement"], measure=MEASURE),
            f"Block influence against the drop, layer by layer ({name}).",
        ),
        f"pruning-{role}": (
            figures.similarity.pruning(tables["pruning"]),
            f"What is left of {name} without several layers, chosen in five ways.",
        ),
    }


def _sentences(curves: pd.DataFrame) -> list[str]:
    """Sentences on the score that is left at the end of each curve."""
    found = []
    for (model, task), rows in curves.groupby(["model", "task"], sort=False):
        most = int(rows["n_removed"].max())
        whole = rows[rows["n_removed"] == 0].iloc[0]
        parts = [
            f"{r['order']} {summary.interval(r['value'], r['low'], r['high'])}"
            for r in rows[(rows["n_removed"] == most) & (rows["order"] != "random")].to_dict(
                "records"
            )
        ]
        shown = summary.interval(whole["value"], whole["low"], whole["high"])
        found.append(
            f"{summary.series_words(str(model), str(task))}, % right with {most} layers skipped: "
            f"whole model {shown}; {'; '.join(parts)} ({whole['interval']}, n = {whole['n']})."
        )
    return found


def _shown(correlations: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import model_label, p_text, task_label

    return pd.DataFrame(
        [
            {
                "Model": model_label(r["model"]),
                "Task": task_label(r["task"]),
                "Similarity": r["measure"],
                "Spearman": f"{r['rho']:.2f}" if r["rho"] == r["rho"] else "no spread",
                "Noise ceiling": f"{r['ceiling']:.2f}" if r["ceiling"] == r["ceiling"] else "none",
                "p": p_text(r["p"], r.get("least_p", 0.0)),
                "Layers": r["n_layers"],
                "n": r["n"],
            }
            for r in correlations.to_dict("records")
        ]
    )


if __name__ == "__main__":
    command("similarity", run, jobs, about=QUESTION)

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
FIRST = "measured importance"
"""The order whose set of layers the others are compared with."""


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
    apart = pd.concat([_sets_apart(preset, out, role, found[role]["pruning"]) for role in roles],
                      ignore_index=True)  # fmt: skip
    return Section(
        name="similarity",
        question=QUESTION,
        findings=pruning_sentences(curves, apart),
        figures=drawn,
        tables={"agreement": correlations, "pruned": curves, "sets-apart": apart},
        shown=_shown(correlations),
        note="Spearman's correlation over layers; noise ceiling: an estimate of the highest "
        "that any measure could have on average with drops of n examples (root of their split-half "
        "reliability); p: "
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


def _sets_apart(preset: Preset, out: Path, role: str, curves: pd.DataFrame) -> pd.DataFrame:
    """The sets at the ends of the curves of one model against the one of measured importance."""
    import interp
    from interp.results import choose_metric

    tables = []
    for name in preset.task_names("skills"):
        folder = out / "sweeps" / runs.plain(preset.models[role]) / f"{runs.plain(name)}-pruning"
        values = choose_metric(interp.open_run(folder).values())
        layers = choose_metric(runs.values(preset, out, [Job(role, name, "layers")]))
        values = values[~values["doc_id"].isin(set(layers["doc_id"]))]
        own = curves[curves["task"] == values["task"].iloc[0]]
        tables.append(sets_apart(values, own, seed=preset.seed))
    return pd.concat(tables, ignore_index=True)


def sets_apart(values: pd.DataFrame, curves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How much less is right without each other set of layers than without that of `FIRST`.

    Args:
        values: the values of the sweep of all sets of one model and task, of one metric.
        curves: its curves (`interp.similarity.pruning_curves`).
        seed: the seed of the intervals.

    Returns:
        Columns `model task layers less low high p_adjusted n interval test correction`, a row for
        each other set at the end of a curve, paired by example; empty if there is no other set.
    """
    from interp.similarity import skipped_layers
    from interp.stats import importance

    ends = curves[curves["n_removed"] == curves["n_removed"].max()]
    names = {one: skipped_layers([int(n) for n in one.split()]).text for one in ends["layers"]}
    first = names[ends.loc[ends["order"] == FIRST, "layers"].iloc[0]]
    others = {text: one for one, text in names.items() if text != first}
    columns = ["model", "task", "layers", "less", "low", "high", "p_adjusted", "n", "interval",
               "test", "correction"]  # fmt: skip
    if not others:
        return pd.DataFrame(columns=columns)
    chosen = values[values["ablation"].isin([first, *others])]
    # the set of the first order takes the place of the whole model
    renamed = chosen.assign(ablation=chosen["ablation"].replace(first, "baseline"))
    table = importance(renamed, seed=seed)
    table = table.assign(layers=table["ablation"].map(others), less=table["drop"])
    return table[columns]


def pruning_sentences(curves: pd.DataFrame, apart: pd.DataFrame) -> list[str]:
    """What is left at the end of the curves, each set of layers once, and the sets' differences.

    Args:
        curves: from `interp.similarity.pruning_curves`, of any models and tasks.
        apart: from `sets_apart`, of the same.
    """
    found = []
    for (model, task), rows in curves.groupby(["model", "task"], sort=False):
        most = int(rows["n_removed"].max())
        whole = rows[rows["n_removed"] == 0].iloc[0]
        ends = rows[rows["n_removed"] == most]
        own = apart[(apart["model"] == model) & (apart["task"] == task)]
        against = own.set_index("layers").to_dict("index")
        parts = [
            f"layers {one.replace(' ', ', ')} ({_orders(same)}) {_left(same.iloc[0])}"
            f"{_less(against[one]) if one in against else ''}"
            for one, same in ((str(key), rows) for key, rows in ends.groupby("layers", sort=False))
        ]
        kind = f"{own['test'].iloc[0]}, Holm over the other sets; " if len(own) else ""
        found.append(
            f"{summary.series_words(str(model), str(task))}, % right without {most} layers: whole "
            f"model {_left(whole)}; {'; '.join(parts)} ({whole['interval']}; differences from the "
            f"set of {FIRST}: {kind}95% intervals, paired; n = {whole['n']})."
        )
    return found


def _orders(same: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(same["order"]))


def _left(row: pd.Series) -> str:
    return summary.interval(row["value"], row["low"], row["high"])


def _less(row: "dict[Any, Any]") -> str:
    if row["less"] < 0:
        more = summary.interval(-row["less"], -row["high"], -row["low"])
        return f", {more} points more, adjusted p {row['p_adjusted']:.2g}"
    less = summary.interval(row["less"], row["low"], row["high"])
    return f", {less} points less, adjusted p {row['p_adjusted']:.2g}"


def _shown(correlations: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import model_label, p_text, task_label

    return pd.DataFrame(
        [
            {
                "Model": model_label(r["model"]),
                "Task": task_label(r["task"]),
                "Similarity": r["measure"],
                "Spearman": f"{r['rho']:.2f}" if r["rho"] == r["rho"] else "no spread",
                summary.CEILING: f"{r['ceiling']:.2f}" if r["ceiling"] == r["ceiling"] else "none",
                "p": p_text(r["p"], r.get("least_p", 0.0)),
                "Layers": r["n_layers"],
                "n": r["n"],
            }
            for r in correlations.to_dict("records")
        ]
    )


if __name__ == "__main__":
    command("similarity", run, jobs, about=QUESTION)

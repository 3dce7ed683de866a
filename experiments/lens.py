"""At which depth do knowledge, retrieval and each step of reasoning become readable?

    python -m experiments.lens --preset organisms

It reads one task of each skill through the logit lens in base, distilled and teacher. For the
shipped models it also trains a tuned lens on documents of their world, to see what the plain lens
misses.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments import runs, summary
from experiments.calibration import texts_of
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from interp.lens import Lens

QUESTION = "At which depth does the answer become readable?"
ALPHA = 0.05
DIFFERENCE = (
    "difference",
    "low",
    "high",
    "p",
    "n",
    "n_one",
    "n_other",
    "asked",
    "interval",
    "test",
)
"""The columns of a difference of decision depths."""
STEPS = r"= ?([0-9]+)"  # the result of each written-out step of arithmetic


def jobs(preset: Preset) -> list[Job]:
    """One pass per task and model."""
    tasks = preset.task_names("skills")
    return [Job(role, task, "lens", ablations=0) for role in _roles(preset) for task in tasks]


def run(preset: Preset, out: Path) -> Section:
    """Rank and probability of the right answer by depth, and the decision depth."""
    from interp import figures

    tables = runs.reading(preset, out, "lens", _asked(preset), lambda: _read(preset, out))
    drawn = {
        "by-depth": (
            figures.lens.by_depth(tables["by-depth"]),
            "Rank and probability of the right answer by depth.",
        ),
        "decision-depths": (
            figures.lens.decision_depths(tables["decision-depth"]),
            "The depth from which the right answer leads to the end.",
        ),
    }
    for name in tables:
        if name.startswith("grid-"):
            drawn[name] = (
                figures.lens.grid(tables[name]),
                "Most likely next token behind each layer, one prompt.",
            )
    if "tuned" in tables:
        drawn["tuned-divergence"] = (
            figures.readout.divergence(tables["held-out"]),
            "Held-out divergence of the plain and the tuned lens.",
        )
        drawn["tuned-by-depth"] = (
            figures.lens.by_depth(tables["tuned"]),
            "The same tasks through the plain and the tuned lens.",
        )
    return Section(
        name="lens",
        question=QUESTION,
        findings=_sentences(tables["differences"]),
        figures=drawn,
        tables={"differences": tables["differences"]},
        shown=_shown(tables["decision-depth"]),
        note=_note(tables["decision-depth"]),
    )


def _note(decisions: pd.DataFrame) -> str:
    return (
        "Decision depth: share of the layers from which on the right answer leads, mean over the "
        f"examples that are decided; {summary.interval_words(decisions['interval'])}. Models that "
        "decide other examples can differ by these alone; the sentences compare two models on the "
        "examples that both decide."
    )


def _roles(preset: Preset) -> list[str]:
    return preset.roles("base", "distilled", "teacher")


def _asked(preset: Preset) -> dict[str, Any]:
    tasks = preset.task_names("skills")
    return {
        "models": [preset.models[role] for role in _roles(preset)],
        "tasks": tasks,
        "limits": [preset.limit(task, "lens") for task in tasks],
        "steps": STEPS,
        "tuned": _tunes(preset),
        "compared": "on the examples that both decide",
    }


def _tunes(preset: Preset) -> bool:
    """Whether a tuned lens is trained: a square matrix per layer needs a GPU for large models."""
    return preset.gpu is None


def _read(preset: Preset, out: Path) -> dict[str, pd.DataFrame]:
    from interp.lens import logit_lens

    tasks, names = preset.load_tasks("skills"), preset.task_names("skills")
    reading: dict[str, Any] = {"steps": STEPS, "sublayers": False, "seed": preset.seed}
    lenses: list[Lens] = []
    found: dict[str, pd.DataFrame] = {}
    for place, role in enumerate(_roles(preset)):
        model = preset.load(role)
        for task, name in zip(tasks, names, strict=True):
            folder = _folder(preset, out, role, name)
            limit = preset.limit(name, "lens")
            lenses.append(logit_lens(model, task, limit=limit, out=folder, **reading))
        if place == 0:
            found |= _grids(preset, model)
            found |= _tuned(preset, model, lenses) if _tunes(preset) else {}
    return found | {
        "by-depth": pd.concat([lens.table() for lens in lenses]),
        "decision-depth": pd.concat([lens.decision_depth() for lens in lenses]),
        "differences": _differences(preset, out),
    }


def _folder(preset: Preset, out: Path, role: str, name: str) -> Path:
    """Where the lens of one model and task is, with its examples."""
    model = runs.plain(preset.models[role])
    return out / "readings" / "lenses" / f"{model}-{runs.plain(name)}"


def _grids(preset: Preset, model: Any) -> dict[str, pd.DataFrame]:
    """The grid of the first row of each task but the longest."""
    from interp.labels import benchmark_label
    from interp.lens import prompt_grid
    from interp.tasks import prompt_text

    found = {}
    for task in preset.load_tasks("skills")[:2]:
        name = benchmark_label(task.benchmark).lower().replace(" ", "-").replace(",", "")
        found[f"grid-{name}"] = prompt_grid(model, prompt_text(task, task.documents()[0]))
    return found


def _tuned(preset: Preset, model: Any, plain: "list[Lens]") -> dict[str, pd.DataFrame]:
    """A tuned lens of one model: its held-out divergence, and the tasks read through it."""
    from interp.lens import held_out_table, logit_lens, train_tuned_lens

    texts, source = texts_of(preset)
    tuned = train_tuned_lens(model, texts, source=source)
    reading: dict[str, Any] = {"steps": STEPS, "sublayers": False, "seed": preset.seed}
    lenses = [
        logit_lens(model, task, limit=preset.limit(name, "lens"), tuned=tuned, **reading)
        for task, name in zip(preset.load_tasks("skills"), preset.task_names("skills"), strict=True)
    ]
    return {
        "held-out": held_out_table(tuned.card),
        "tuned": pd.concat([lens.table() for lens in (*plain, *lenses)]),
    }


def _differences(preset: Preset, out: Path) -> pd.DataFrame:
    """How much later each answer is decided than in the first model, where both decide it."""
    from interp.stats import adjust
    from interp.tasks import cluster_units

    first, *others = _roles(preset)
    tables = []
    for role in others:
        for name, task in zip(
            preset.task_names("skills"), preset.load_tasks("skills"), strict=True
        ):
            one, other = (
                pd.read_parquet(_folder(preset, out, which, name) / "examples.parquet")
                for which in (role, first)
            )
            rows = decided_by_both(one, other, partial(cluster_units, task))
            named = {"task": task.name, "model": preset.models[role]}
            tables.append(rows.assign(**named, against=preset.models[first]))
    if not tables:
        return pd.DataFrame(columns=["task", "step", "model", "against", *DIFFERENCE, "p_adjusted"])
    table = pd.concat(tables, ignore_index=True)
    # whole answers are asked about together, and the steps of an answer apart from them
    whole = table["step"] == "answer"
    adjusted = table.groupby(whole)["p"].transform(lambda p: adjust(p.to_numpy()))
    return table.assign(p_adjusted=adjusted)


def decided_by_both(
    one: pd.DataFrame, other: pd.DataFrame, units: "Callable[[list[int]], list[int]]"
) -> pd.DataFrame:
    """How much later an answer is decided in one model than in another, on the same examples.

    An example counts that both models decide. The mean of each model over its own decided examples
    differs between two equal models if one of them decides more, and harder, examples.

    Args:
        one: the examples of a lens (`examples.parquet`): `doc_id step depth right_leads`.
        other: those of the lens that it is compared with.
        units: gives the cluster of each example.

    Returns:
        A row for each step that both have: `step` and the columns of `DIFFERENCE`, in shares of the
        layers; `n` examples both decide, `n_one` and `n_other` are decided by each, of `asked`.
    """
    from interp.stats import importance

    depths = [_decided(table) for table in (one, other)]
    layers = float(one["depth"].max())
    rows = []
    for step in [step for step in depths[0].columns if step in depths[1]]:
        pair = pd.DataFrame({"x": depths[0][step], "baseline": depths[1][step]})
        both = pair.dropna() / layers
        counts = {"n": len(both), "n_one": int(pair["x"].notna().sum()), "asked": len(pair)}
        row = {"step": step, "n_other": int(pair["baseline"].notna().sum())} | counts
        if len(both) < 2:
            rows.append(row | dict.fromkeys(("difference", "low", "high", "p"), np.nan))
            continue
        clusters = dict(zip(both.index, units(list(both.index)), strict=True))
        values = both.rename_axis("doc_id").reset_index().melt("doc_id", var_name="ablation")
        values = values.assign(model="m", task="t", metric="depth")
        if len(set(clusters.values())) < len(clusters):
            values = values.assign(cluster=values["doc_id"].map(clusters))
        drop = importance(values, correction="none").iloc[0]
        rows.append(
            row
            | {"difference": -drop["drop"], "low": -drop["high"], "high": -drop["low"]}
            | {name: drop[name] for name in ("p", "interval", "test")}
        )
    return pd.DataFrame(rows)


def _decided(examples: pd.DataFrame) -> pd.DataFrame:
    """The depth from which the right answer leads to the end: a row per example, NaN for never."""
    from interp.lens.quantities import decision

    found = {}
    for (doc_id, step), rows in examples.groupby(["doc_id", "step"], sort=False):
        ordered = rows.sort_values("depth")
        place = decision((ordered["right_leads"] > 0).to_numpy())
        numbers = [*ordered["depth"], np.nan]
        found[doc_id, step] = numbers[place]
    return pd.Series(found).unstack()  # noqa: PD010


def _sentences(differences: pd.DataFrame) -> list[str]:
    from interp.labels import model_label, task_label

    found = []
    answers = differences[(differences["step"] == "answer") & differences["difference"].notna()]
    for row in answers.to_dict("records"):
        points, low, high = (100 * row[name] for name in ("difference", "low", "high"))
        value = summary.interval(points, low, high, 1)
        one, other = model_label(row["model"]), model_label(row["against"])
        if row["p_adjusted"] >= ALPHA:
            said = f"no difference is shown between {one} and {other}: {value} points of depth"
        else:
            later = "later" if points > 0 else "earlier"
            said = f"{one} decides {later} than {other}, by {value} points of depth"
        found.append(
            f"{task_label(row['task'])}: {said} (100 points: all layers; paired over the "
            f"n = {row['n']} examples that both decide; {one} decides {row['n_one']}, {other} "
            f"{row['n_other']} of {row['asked']}; {row['interval']}; adjusted "
            f"p {row['p_adjusted']:.2g}, {row['test']}, Holm over {len(answers)})."
        )
    return found


def _shown(decisions: pd.DataFrame) -> pd.DataFrame:
    from interp.labels import model_label, task_label

    rows = decisions[decisions["answer"] == "right"]
    return pd.DataFrame(
        [
            {
                "Model": model_label(r["model"]),
                "Task": task_label(r["task"]),
                "Part of the answer": r["step"],
                "Decided": f"{r['n'] * r['share_decided']:.0f} of {r['n']}",
                "Decision depth (share of the layers)": summary.interval(
                    r["relative"], r["relative_low"], r["relative_high"], 2
                )
                if r["relative"] == r["relative"]
                else "none decided",
            }
            for r in rows.to_dict("records")
        ]
    )


if __name__ == "__main__":
    command("lens", run, jobs, about=QUESTION)

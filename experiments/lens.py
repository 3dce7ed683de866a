"""At which depth do knowledge, retrieval and each step of reasoning become readable?

    python -m experiments.lens --preset organisms

It reads one task of each skill through the logit lens in base, distilled and teacher. For the
shipped models it also trains a tuned lens on documents of their world, to see what the plain lens
misses.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments import runs, summary
from experiments.calibration import texts_of
from experiments.presets import Preset
from experiments.runs import Job
from experiments.sections import Section, command

if TYPE_CHECKING:
    from interp.lens import Lens

QUESTION = "At which depth does the answer become readable?"
STEPS = r"= ?([0-9]+)"  # the result of each written-out step of arithmetic


def jobs(preset: Preset) -> list[Job]:
    """One pass per task and model."""
    tasks = preset.task_names("skills")
    return [Job(role, task, "lens", ablations=0) for role in _roles(preset) for task in tasks]


def run(preset: Preset, out: Path) -> Section:
    """Rank and probability of the right answer by depth, and the decision depth."""
    from interp import figures

    tables = runs.reading(preset, out, "lens", _asked(preset), lambda: _read(preset))
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
        note="Decision depth: share of the layers from which on the right answer leads, mean over "
        f"the examples where it does; {tables['decision-depth']['interval'].iloc[0]}.",
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
    }


def _tunes(preset: Preset) -> bool:
    """Whether a tuned lens is trained: a square matrix per layer needs a GPU for large models."""
    return preset.gpu is None


def _read(preset: Preset) -> dict[str, pd.DataFrame]:
    from interp.lens import logit_lens

    tasks, names = preset.load_tasks("skills"), preset.task_names("skills")
    reading: dict[str, Any] = {"steps": STEPS, "sublayers": False, "seed": preset.seed}
    lenses: list[Lens] = []
    found: dict[str, pd.DataFrame] = {}
    for place, role in enumerate(_roles(preset)):
        model = preset.load(role)
        lenses += [
            logit_lens(model, task, limit=preset.limit(name, "lens"), **reading)
            for task, name in zip(tasks, names, strict=True)
        ]
        if place == 0:
            found |= _grids(preset, model)
            found |= _tuned(preset, model, lenses) if _tunes(preset) else {}
    return found | {
        "by-depth": pd.concat([lens.table() for lens in lenses]),
        "decision-depth": pd.concat([lens.decision_depth() for lens in lenses]),
        "differences": _differences(lenses),
    }


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


def _differences(lenses: "list[Lens]") -> pd.DataFrame:
    """How much later each answer is decided than in the first model, paired over examples."""
    from interp.lens import decision_difference

    first = {lens.task: lens for lens in lenses if lens.model == lenses[0].model}
    rows = [
        {"task": lens.task, "step": step, "model": lens.model, "against": lenses[0].model}
        | decision_difference(lens, first[lens.task], step=step)
        | {"n": lens.steps[step].decisions.n}
        for lens in lenses
        if lens.model != lenses[0].model
        for step in lens.steps
        if step in first[lens.task].steps
    ]
    columns = ["task", "step", "model", "against", "difference", "low", "high", "n"]
    return pd.DataFrame(rows, columns=None if rows else columns)


def _sentences(differences: pd.DataFrame) -> list[str]:
    from interp.labels import model_label, task_label

    found = []
    for row in differences.to_dict("records"):
        if row["step"] != "answer" or row["difference"] != row["difference"]:
            continue
        points, low, high = (100 * row[name] for name in ("difference", "low", "high"))
        value = summary.interval(points, low, high, 1)
        one, other = model_label(row["model"]), model_label(row["against"])
        if low <= 0 <= high:
            said = f"no difference is shown between {one} and {other}: {value} points of depth"
        else:
            later = "later" if points > 0 else "earlier"
            said = f"{one} decides {later} than {other}, by {value} points of depth"
        found.append(
            f"{task_label(row['task'])}: {said} (paired over examples, n = {row['n']}; 100 points: "
            "all layers; 95% bootstrap)."
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
                "Decided": f"{100 * r['share_decided']:.0f}%",
                "n": r["n"],
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

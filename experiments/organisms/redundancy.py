"""Is it redundancy that makes likelihood robust? `python -m experiments.organisms.redundancy`.

*redundant12* was trained with layer dropout, its control *redundant12-none* on the same documents
without (both go on from the same weights). The layers of each are removed one after the other, in
orders chosen on other examples, and what is left above guessing is compared: between the two models
under each protocol, and between protocols in each model. Neither is shipped: they are read from
`runs/`, where `python -m experiments.organisms train NAME` puts them.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.headline import Measured, influence_on_texts, measured, protocols_compared
from experiments.organisms.plans import MODELS, RUNS, WEIGHTS
from experiments.presets import ORGANISMS, Preset
from experiments.sections import table_lines

TWIN, CONTROL = "redundant12", "redundant12-none"
ROLES = {"base": CONTROL, "other": TWIN}
OUT = Path("runs/redundancy")


def folder_of(name: str) -> Path | None:
    """Where a model is; None where it is nowhere."""
    places = [folder / name for folder in (MODELS, RUNS) if (folder / name / WEIGHTS).exists()]
    return places[0] if places else None


def compared(preset: Preset, out: Path) -> dict[str, pd.DataFrame]:
    """Removal curves of both models, and how much more of them the twin keeps.

    Args:
        preset: the control as its role base, the twin as its role other.
        out: folder of the sweeps.

    Returns:
        `curves`; `models`, by how much more the twin keeps under each task and order; `shares` and
        `protocols`, as `headline.protocols_compared` makes them.
    """
    found = [
        measured(preset, out, role, task, influence)
        for role in ROLES
        for influence in (influence_on_texts(preset, out, role),)
        for task in preset.task_names("protocols")
    ]
    shares, protocols = protocols_compared(found)
    return {
        "curves": pd.concat([one.curves for one in found], ignore_index=True),
        "models": models_compared(found, preset.models["base"], preset.models["other"]),
        "shares": shares,
        "protocols": protocols,
    }


def models_compared(found: Sequence[Measured], control: str, twin: str) -> pd.DataFrame:
    """By how much more of what can be lost one model keeps than another.

    Args:
        found: curves of both models under the same tasks.
        control: name of the model that is subtracted.
        twin: name of the other.

    Returns:
        A row per task and order: `task order control twin difference low high n`; the shares that
        each keeps, and the difference with its interval. NaN where a baseline is not clearly above
        guessing.
    """
    from interp.stats import share_kept, share_kept_difference

    twins = {one.task.name: one.kept for one in found if one.model == twin}
    rows = []
    for one in found:
        if one.model != control:
            continue
        for order, curve in one.kept.items():
            other = twins[one.task.name][order]
            more = share_kept_difference(curve, other, paired=True)
            rows.append(
                {"task": one.task.name, "order": order, "control": share_kept(curve).value}
                | {"twin": share_kept(other).value, "difference": more.value}
                | {"low": more.low, "high": more.high, "n": len(curve.documents)}
            )
    return pd.DataFrame(rows)


def page(tables: Mapping[str, pd.DataFrame], *, limit: int) -> str:
    """The tables in words."""
    from interp.labels import model_label, task_label

    between_models = [
        {
            "Task": task_label(row["task"]),
            "Order": row["order"],
            "Control keeps": _number(row["control"]),
            "Twin keeps": _number(row["twin"]),
            "More": _interval(row),
            "n": row["n"],
        }
        for row in tables["models"].to_dict("records")
    ]
    between_protocols = [
        {
            "Model": model_label(row["model"]),
            "Task": task_label(f"{row['benchmark']}:{row['protocol']}"),
            "Order": row["order"],
            "More than generated answers": _interval(row),
            "n": row["n"],
        }
        for row in tables["protocols"].to_dict("records")
    ]
    return "\n".join(
        [
            "# Redundancy as a factor",
            "",
            f"Made by `python -m experiments.organisms.redundancy --limit {limit}`. Both models go "
            "on from *base12-skills* for as many tokens of the same documents; *redundant12* with "
            "layer dropout (0.2 in the last layer), *redundant12-none* without. One run each: "
            "intervals are over examples and wordings, not over seeds, and are not corrected for "
            "the number of comparisons. A share is the mean of what is left above guessing over "
            "the removal of one to all but one of the layers; the order is chosen for each model "
            "on other examples.",
            "",
            "## The twin against its control",
            "",
            *table_lines(pd.DataFrame(between_models)),
            "",
            "## Scored against generated answers, in each model",
            "",
            *table_lines(pd.DataFrame(between_protocols)),
            "",
        ]
    )


def _number(value: float) -> str:
    return "not testable" if value != value else f"{value:.2f}"


def _interval(row: Mapping[Any, Any]) -> str:
    if row["difference"] != row["difference"]:
        return "not testable"
    return f"{row['difference']:+.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.organisms.redundancy")
    parser.add_argument("--limit", type=int, default=200, help="examples a task")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the sweeps")
    options = parser.parse_args()
    folders = {role: folder_of(name) for role, name in ROLES.items()}
    for role, folder in folders.items():
        if folder is None:
            train = f"python -m experiments.organisms train {ROLES[role]}"
            parser.error(f"{ROLES[role]} is not trained: {train}")
    preset = replace(
        ORGANISMS,
        models={role: str(folder) for role, folder in folders.items()},
        limits={task: min(n, options.limit) for task, n in ORGANISMS.limits.items()},
    )
    tables = compared(preset, options.out)
    (options.out / "redundancy.md").write_text(page(tables, limit=options.limit))
    for name, table in tables.items():
        table.to_csv(options.out / f"redundancy-{name}.csv", index=False)
    print((options.out / "redundancy.md").read_text())


if __name__ == "__main__":
    main()

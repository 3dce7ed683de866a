"""What came of the teacher's answers: `python -m experiments.organisms.arms`.

*distilled12* beside two control arms that began as the same *base12* and saw as many tokens: of
right steps (*distilled12-gold*), and of no steps (*distilled12-none*). Each layer is skipped in all
of them, on the same examples; what is told is each arm's score, and by how much each layer's drop
differs from *base12*'s. The control arms are not shipped: they are read from `runs/`, where
`python -m experiments.organisms train NAME` puts them.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from experiments.organisms.plans import MODELS, RUNS, WEIGHTS
from experiments.sections import table_lines

BASE = "base12"
ARMS = {
    "distilled12": "the teacher's written answers among them",
    "distilled12-gold": "right steps for the same prompts in their place",
    "distilled12-none": "no steps",
}
TAUGHT, CONTROL = "distilled12", "distilled12-gold"
TASKS = (
    "world2-facts:default",
    "world2-facts:generate",
    "world2-kv:generate",
    "world2-unwritten:generate",
    "world2-arithmetic:generate",
)
OUT = Path("runs/arms")


def folders() -> dict[str, Path]:
    """Where *base12* and each arm is; an arm that is nowhere is left out."""
    found = {}
    for name in (BASE, *ARMS):
        places = [folder / name for folder in (MODELS, RUNS) if (folder / name / WEIGHTS).exists()]
        if places:
            found[name] = places[0]
    return found


def compared(models: Mapping[str, Path], *, limit: int, out: Path) -> dict[str, pd.DataFrame]:
    """Scores of each model, and differences of its drops from those of *base12*.

    Args:
        models: name to folder, *base12* among them.
        limit: examples per task.
        out: folder of the runs.

    Returns:
        `scores`, the whole models'; `differences`, a row per layer, task and pair (*base12* and an
        arm; the teacher's answers and right steps); `shifts` of the centres of mass.
    """
    import interp
    from interp.results import choose_metric

    loaded = {name: interp.load_model(folder) for name, folder in models.items()}
    found = interp.compare(loaded, TASKS, ablations="layers", limit=limit, out=out)
    scores = choose_metric(found.scores())
    differences = choose_metric(found.differences())
    shifts = choose_metric(found.shifts())
    asked = (differences["a"] == BASE) | (
        (differences["a"] == TAUGHT) & (differences["b"] == CONTROL)
    )
    return {
        "scores": scores[scores["ablation"] == "baseline"],
        "differences": differences[asked],
        "shifts": shifts[(shifts["a"] == BASE) & (shifts["quantity"] == "centre")],
    }


def _right(scores: pd.DataFrame) -> pd.DataFrame:
    """What the whole models get right, in words."""
    from interp.labels import task_label

    return pd.DataFrame(
        {
            "Task": [task_label(task) for task in scores["task"]],
            "Model": scores["model"],
            "Right (%)": [
                f"{row['value']:.0f} [{row['low']:.0f}, {row['high']:.0f}]"
                for row in scores.to_dict("records")
            ],
            "n": scores["n"],
        }
    )


def page(tables: Mapping[str, pd.DataFrame], *, limit: int) -> str:
    """The tables in words."""
    from interp.labels import task_label

    scores, differences = tables["scores"], tables["differences"]
    whole = {(row["model"], row["task"]): row["value"] for row in scores.to_dict("records")}
    moved = []
    for (against, task, arm), rows in differences.groupby(["a", "task", "b"], sort=False):
        shown = rows[rows["p_adjusted"] < 0.05]
        words = [
            f"{row['ablation'].removeprefix('layer:')}: {-row['difference']:+.0f} "
            f"[{-row['high']:.0f}, {-row['low']:.0f}]"
            for row in shown.to_dict("records")
        ]
        moved.append(
            {
                "Task": task_label(str(task)),
                "Arm": arm,
                "Against": against,
                "Layers whose drop grew (+) or shrank (-), in points": "; ".join(words) or "none",
                "Right (%), arm and other": (
                    f"{whole[arm, task]:.0f} and {whole[against, task]:.0f}"
                ),
                "n": int(rows["n"].max()),
            }
        )
    return "\n".join(
        [
            "# Distillation and its controls",
            "",
            f"Made by `python -m experiments.organisms.arms --limit {limit}`. Each arm began as "
            "the same *base12* and saw 1.5 million tokens more: "
            + "; ".join(f"*{name}* {ARMS[name]}" for name in ARMS if name in scores["model"].values)
            + ". One run an arm: intervals are over examples and wordings, not over seeds.",
            "",
            *table_lines(_right(scores)),
            "",
            "Layers whose drop differs between an arm and another model, after Holm's correction "
            "over the layers of a task and pair (p < 0.05):",
            "",
            *table_lines(pd.DataFrame(moved)),
            "",
            "A drop cannot be larger than what the whole model gets right. Where two models "
            "differ in that, their drops in points differ with it: of a layer without which "
            "neither gets anything right, by exactly as much. An arm that gets next to nothing "
            "right says nothing of its layers. The two arms with steps were not compared with "
            "the arm without, nor was any change of a score tested. Intervals are 95%: of "
            "scores Wilson's (or, of letters, a bootstrap), of differences the paired bootstrap "
            "over examples (where few answers change, recovered from Tango's score intervals); "
            "of facts, whose wordings are clusters, all are by cluster.",
            "",
        ]
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.organisms.arms")
    parser.add_argument("--limit", type=int, default=100, help="examples per task")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the runs")
    options = parser.parse_args()
    found = folders()
    missing = [name for name in (BASE, *ARMS) if name not in found]
    if BASE in missing or len(missing) == len(ARMS):
        parser.error(f"{', '.join(missing)}: train them first (python -m experiments.organisms)")
    for name in missing:
        print(f"{name} is not trained, and left out: python -m experiments.organisms train {name}")
    tables = compared(found, limit=options.limit, out=options.out)
    (options.out / "arms.md").write_text(page(tables, limit=options.limit))
    for name, table in tables.items():
        table.to_csv(options.out / f"arms-{name}.csv", index=False)
    print((options.out / "arms.md").read_text())


if __name__ == "__main__":
    main()

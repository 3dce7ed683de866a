"""Is a forced layout named rightly? `python -m experiments.organisms.opposite`.

*recall-early* was trained to recall with its first eight layers and to reason with its last eight;
*reason-early* to reason with its first four and to recall with its last eight. The toolkit's
measures of depth are held to that: centres of mass of the drops, with each layer skipped and with
its mean in its place, and the depth at which the logit lens sees the answer decided. Whether the
training gave the layout that it was to give is told beside them, by what is left of each skill
without the last layers: where it is not seen there, a measure that disagrees may be right.

Neither model is shipped: both are read from `runs/`, where `python -m experiments.organisms train
NAME` puts them.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.organisms.redundancy import folder_of
from experiments.sections import table_lines

if TYPE_CHECKING:
    from interp.lens import Lens

FIRST, SECOND = "recall-early", "reason-early"
SKILLS = {
    "world2-facts:continuation": "recall",
    "world2-facts:generate": "recall",
    "world2-unwritten:generate": "reasoning",
    "world2-arithmetic:generate": "reasoning",
}
EXPECTED = {"recall": 1, "reasoning": -1}
"""Sign of the depth in *reason-early* minus that in *recall-early*."""
LAST = "+".join(f"layer:{layer}" for layer in range(8, 12))
"""Layers that did not learn the early skill in either model."""
OUT = Path("runs/opposite")


def verdict(skill: str, low: float, high: float) -> str:
    """Whether an interval of a shift agrees with the layout that was forced.

    Args:
        skill: `recall` or `reasoning`.
        low: lower end of depth in *reason-early* minus depth in *recall-early*.
        high: its upper end.

    Returns:
        `right`, `wrong`, `not told apart`, or `not testable` where there is no interval.
    """
    if low != low or high != high:
        return "not testable"
    if low <= 0 <= high:
        return "not told apart"
    return "right" if (low > 0) == (EXPECTED[skill] > 0) else "wrong"


def seen(scores: pd.DataFrame, task: str) -> bool:
    """Whether removal shows the layout that training was to give.

    It does where, without the last layers, the model that was to have the skill early keeps a
    larger share of what it gets right than the other. The ends of the two intervals are compared,
    over whole models' scores that are taken as they are.

    Args:
        scores: from `measured`.
        task: one of `SKILLS`.

    Returns:
        True where the layout is seen.
    """
    early, late = (FIRST, SECOND) if EXPECTED[SKILLS[task]] > 0 else (SECOND, FIRST)

    def share(model: str, end: str) -> float:
        rows = scores[(scores["model"] == model) & (scores["task"] == task)]
        (without,) = rows[rows["ablation"] == LAST].to_dict("records")
        (whole,) = rows[rows["ablation"] == "baseline"].to_dict("records")
        return float(without[end]) / max(float(whole["value"]), 1e-9)

    return share(early, "low") > share(late, "high")


def measured(
    folders: Mapping[str, Path], limit: int, out: Path, *, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Drops of every layer in both models, their centres, and the depths of decision.

    Args:
        folders: of *recall-early* and *reason-early*, by name.
        limit: examples a task.
        out: folder of the sweeps; what is finished in it is kept.
        seed: of all draws.

    Returns:
        `scores` with the baseline and without the last layers; `shifts` of the centres, by kind of
        ablation; `decisions`, the difference of decision depth.
    """
    import interp
    from interp import comparison
    from interp.lens import logit_lens
    from interp.results import choose_metric

    values, scores, n_layers = [], [], {}
    lenses: dict[tuple[str, str], Lens] = {}
    for name, folder in folders.items():
        model = interp.load_model(str(folder))
        run = interp.sweep(
            model, list(SKILLS), ["layers", "layers@mean", LAST],
            out=out / name, limit=limit, seed=seed,
        )  # fmt: skip
        values.append(choose_metric(run.values()).assign(model=name))
        scores.append(choose_metric(run.scores()).assign(model=name))
        n_layers[name] = model.cfg.n_layers
        for task in SKILLS:
            lenses[name, task] = logit_lens(model, task, limit=limit, sublayers=False, seed=seed)
    joined = pd.concat(values, ignore_index=True)
    moved = comparison.shifts(joined, n_layers)
    return {
        "scores": pd.concat(scores, ignore_index=True).query("ablation in ['baseline', @LAST]"),
        "shifts": moved[moved["quantity"] == "centre"],
        "decisions": decisions(lenses),
    }


def decisions(lenses: "Mapping[tuple[str, str], Lens]") -> pd.DataFrame:
    """By how much later *reason-early* decides each answer, where the lens sees it decided.

    Args:
        lenses: by model and task.

    Returns:
        Columns `task difference low high n`, in shares of the layers.
    """
    from interp.lens import decision_difference

    rows = []
    for task in dict.fromkeys(task for _, task in lenses):
        one, other = lenses[SECOND, task], lenses[FIRST, task]
        step = next(iter(one.steps))
        found: dict[str, Any] = decision_difference(one, other, step=step)
        rows.append({"task": task} | found | {"n": one.steps[step].decisions.n})
    return pd.DataFrame(rows)


def page(tables: Mapping[str, pd.DataFrame], *, limit: int) -> str:
    """The tables in words.

    Args:
        tables: from `measured`.
        limit: examples a task that was asked for.

    Returns:
        Markdown.
    """
    from interp.labels import task_label

    scores = tables["scores"]
    left = [
        {"Model": model, "Task": task_label(str(task))}
        | {
            words: _percent(rows[rows["ablation"] == ablation])
            for words, ablation in (("Right (%)", "baseline"), ("Without layers 8 to 11", LAST))
        }
        | {"n": rows["n"].iloc[0]}
        for (model, task), rows in scores.groupby(["model", "task"], sort=False)
    ]
    told = [
        {"Skill": SKILLS[row["task"]], "Task": task_label(row["task"]), "Measure": row["measure"]}
        | {
            "Deeper in reason-early by": _interval(row),
            "Layout": verdict(SKILLS[row["task"]], row["low"], row["high"]),
            "Layout seen in removal": "yes" if seen(scores, row["task"]) else "no",
            "n": row["n"],
        }
        for row in _measures(tables)
    ]
    return "\n".join(
        [
            "# Two opposite layouts",
            "",
            f"Made by `python -m experiments.organisms.opposite --limit {limit}`. *recall-early* "
            "learned facts with layers 0 to 7 alone (an early exit after them) and to reason with "
            "layers 4 to 11 alone; *reason-early* learned to reason with layers 0 to 3 alone (an "
            "exit after them), and its facts are those of the eight layers behind. Everything else "
            "was learned by all layers. One run each: intervals are over examples and wordings, "
            "not over seeds, and not corrected for the number of comparisons.",
            "",
            "## What each can do, and what is left without its last layers",
            "",
            *table_lines(pd.DataFrame(left)),
            "",
            "## Is the layout named rightly?",
            "",
            *table_lines(pd.DataFrame(told)),
            "",
            "Depth is relative: 0 for the first layer, 1 for the last. Recall was to lie "
            "deeper in *reason-early* (a positive difference), reasoning less deep (negative). "
            "Right: the interval leaves out 0 on that side; wrong: on the other. Not testable: one "
            "of the two models has no centre, for its drops do not add up to clearly more than 0, "
            "or no example of which the lens sees the answer decided. Seen in removal: without "
            "layers 8 to 11 the model that was to have the skill early keeps more of what it gets "
            "right than the other (shares of the whole models' scores, intervals apart). Where it "
            "is not, the layout is not known, and *right* and *wrong* say only whether a measure "
            "agrees with what training was to do.",
            "",
        ]
    )


def _measures(tables: Mapping[str, pd.DataFrame]) -> list[dict[Any, Any]]:
    """All differences of depth, by task, centres first."""
    kinds = {"layer": "centre of drops, skipped", "layer@mean": "centre of drops, mean in place"}
    moved = tables["shifts"]
    rows = [
        row | {"measure": words, "sign": 1 if row["a"] == FIRST else -1}
        for kind, words in kinds.items()
        for row in moved[moved["kind"] == kind].to_dict("records")
    ]
    rows += [
        row | {"measure": "decision depth, logit lens", "sign": 1}
        for row in tables["decisions"].to_dict("records")
    ]
    for row in rows:
        if row["sign"] < 0:
            row["difference"] = -row["difference"]
            row["low"], row["high"] = -row["high"], -row["low"]
    order: Sequence[str] = list(SKILLS)
    return sorted(rows, key=lambda row: order.index(row["task"]))


def _percent(rows: pd.DataFrame) -> str:
    (row,) = rows.to_dict("records")
    return f"{row['value']:.0f} [{row['low']:.0f}, {row['high']:.0f}]"


def _interval(row: Mapping[Any, Any]) -> str:
    if row["difference"] != row["difference"]:
        return "not testable"
    return f"{row['difference']:+.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.organisms.opposite")
    parser.add_argument("--limit", type=int, default=100, help="examples a task")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the sweeps")
    options = parser.parse_args()
    folders = {}
    for name in (FIRST, SECOND):
        folder = folder_of(name)
        if folder is None:
            parser.error(f"{name} is not trained: python -m experiments.organisms train {name}")
        folders[name] = folder
    tables = measured(folders, options.limit, options.out)
    (options.out / "opposite.md").write_text(page(tables, limit=options.limit))
    for name, table in tables.items():
        table.to_csv(options.out / f"opposite-{name}.csv", index=False)
    print((options.out / "opposite.md").read_text())


if __name__ == "__main__":
    main()

"""Power curves over planted effects: `python -m experiments.validity.power --models 10`."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

HERE = Path(__file__).parent
OUT = Path("runs/validity")
FIGURE = HERE.parent / "figures" / "validity-power"
WANTED = 0.8


def run(models: int, out: Path) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows of power and of repair of every model; those that are in the files are kept."""
    import pandas as pd
    from tqdm import tqdm

    from experiments.validity.graded import KINDS, power_rows, repair_row

    out.mkdir(parents=True, exist_ok=True)
    names = (*KINDS, "repairing")
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        path = out / f"power-{name}.jsonl"
        known = path.read_text().splitlines() if path.is_file() else []
        rows = [json.loads(line) for line in known]
        done = {row["seed"] for row in rows}
        for seed in tqdm([s for s in range(models) if s not in done], desc=name, unit="model"):
            os.environ["TQDM_DISABLE"] = "1"  # the sweeps' own bars
            made = [repair_row(seed)] if name == "repairing" else power_rows(seed, name)
            with path.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in made))
            rows += made
        os.environ.pop("TQDM_DISABLE", None)
        found[name] = [row for row in rows if row["seed"] < models]
    power = pd.DataFrame([row for kind in KINDS for row in found[kind]])
    return power, pd.DataFrame(found["repairing"])


def curves(power: "pd.DataFrame") -> "pd.DataFrame":
    """Mean power and false finds by n and size, beside what `interp.stats.power` states.

    Args:
        power: rows of `power_rows`.

    Returns:
        Columns `n points cost stated`, one for each kind of circuit, and `false_finds`. `points` is
        the share of the questions that the planted layer answers, in percent, and `cost` the drop
        that this makes on average: a model without the layer still guesses some of them. `stated`
        is the power at that cost.
    """
    import pandas as pd

    from experiments.validity.graded import KINDS
    from experiments.validity.planted import N_LAYERS
    from interp.stats import power as stated

    rows = []
    for (n, points), here in power.groupby(["n", "points"]):
        of_kind = here.groupby("kind")["power"].mean()
        cost = float(here["planted"].mean())
        rows.append(
            {"n": n, "points": points, "cost": cost}
            | {"stated": stated(int(here["n"].iloc[0]), cost, family=N_LAYERS)}
            | {kind: of_kind[kind] for kind in KINDS}
            | {"false_finds": here["false_finds"].mean()}
        )
    return pd.DataFrame(rows)


def smallest(curve: "pd.DataFrame", column: str) -> dict[int, float]:
    """By n, the least cost in points from which on power is 80% or more; NaN if none is.

    Between two planted sizes it is read off the straight line between them.

    Args:
        curve: power by `n` and cost.
        column: the column that holds the power.

    Returns:
        Number of examples to cost, in points.
    """
    import numpy as np

    found = {}
    for _, rows in curve.groupby("n"):
        n = int(rows["n"].iloc[0])
        along = rows.sort_values("cost")
        power, cost = along[column].to_numpy(), along["cost"].to_numpy()
        short = np.flatnonzero(power < WANTED)
        last = int(short[-1]) if len(short) else -1
        found[n] = float("nan")
        if 0 <= last < len(power) - 1:
            share = (WANTED - power[last]) / (power[last + 1] - power[last])
            found[n] = float(cost[last] + share * (cost[last + 1] - cost[last]))
    return found


def figure(curve: "pd.DataFrame") -> "Figure":
    """Power over the planted effect, a panel per kind, a line an n; the stated power dashed."""
    import matplotlib
    from matplotlib.figure import Figure

    from experiments.validity.graded import KINDS
    from interp.figures.style import PAGE, RC

    with matplotlib.rc_context(RC):
        drawn = Figure(figsize=(PAGE, 2.6), layout="constrained")
        panels = drawn.subplots(1, len(KINDS), sharey=True)
        colors = matplotlib.colormaps["viridis"]
        ns = sorted(curve["n"].unique())
        for axes, kind in zip(panels, KINDS, strict=True):
            for place, n in enumerate(ns):
                rows, color = curve[curve["n"] == n], colors(0.9 * place / (len(ns) - 1))
                axes.plot(rows["cost"], 100 * rows[kind], color=color, marker="o",
                          label=f"n = {n}")  # fmt: skip
                axes.plot(rows["cost"], 100 * rows["stated"], color=color, ls="--", lw=0.7)
            axes.axhline(100 * WANTED, color="#888888", lw=0.6)
            axes.set_title(f"{kind} facts")
            axes.set_xlabel("Drop that the layer causes (points)")
        panels[0].set_ylabel("Found (% of samples)")
        panels[-1].legend(loc="lower right")
    return drawn


def page(power: "pd.DataFrame", repairs: "pd.DataFrame", models: int) -> str:
    """The table of what is found by size and n, and what repair shows."""
    from experiments.validity.graded import KINDS

    curve = curves(power)
    sizes = sorted(curve["points"].unique())
    costs = curve.groupby("points")["cost"].mean()
    lines = _table(["n", *(f"{costs[size]:.1f}" for size in sizes)], [
        [f"{n}", *(f"{rows[list(KINDS)].mean(axis=1).iloc[i]:.2f}" for i in range(len(sizes)))]
        for n, rows in curve.groupby("n")
    ])  # fmt: skip
    least = {name: smallest(curve, name) for name in ("stated", *KINDS)}
    at = _table(
        ["n", "stated", *KINDS],
        [
            [f"{n}", *(f"{least[name][n]:.1f}" for name in ("stated", *KINDS))]
            for n in sorted(least["stated"])
        ],
    )  # fmt: skip
    nothing = curve[curve["points"] == 0]
    wrong = nothing[list(KINDS)].to_numpy().max()
    gap = curve[list(KINDS)].to_numpy() - curve[["stated"]].to_numpy()
    return "\n".join(
        [
            *_introduction(models),
            "Share of samples in which the planted layer is found, by n and by the drop that it "
            "causes (points; mean of both kinds). The drop is smaller than the share of the "
            "questions that the layer answers, because without it some are guessed:",
            "",
            *lines,
            "",
            f"The smallest drop (points) that {WANTED:.0%} of the samples find, beside what "
            "`interp.stats.power` states at the same drop:",
            "",
            *at,
            "",
            "Where the first layer holds none of what is asked, it is found in "
            f"{wrong:.1%} of the samples, and another layer than the two in "
            f"{curve['false_finds'].max():.1%}: the other layers of these models change no answer. "
            "False alarms where ablations do change answers are counted in [table.md](table.md), "
            "in models in which nothing is planted. Power lies "
            f"{100 * gap.min():+.1f} to {100 * gap.max():+.1f} percentage points beside what is "
            "stated.",
            "",
            "![Power over the planted effect](../figures/validity-power.png)",
            "",
            *_of_repair(repairs),
            "",
            f"`python -m experiments.validity.power --models {models}` makes this page and its "
            "figure.",
            "",
        ]
    )


def _introduction(models: int) -> list[str]:
    from experiments.validity.graded import DRAWS, ROWS
    from experiments.validity.planted import N_LAYERS

    return [
        "# Effects that may be missed",
        "",
        f"Effects of 0 to 50 points are planted in models of {N_LAYERS} layers ({models} "
        f"models a kind, {ROWS} answered rows each, {DRAWS} samples of each size). "
        "*Distributed*: half of the facts lie in one layer, half in another. *Superposed*: "
        "the first layer also holds the first step of a chain, in neurons that share their "
        "directions. A layer is found where its drop is positive and its p after Holm's "
        "correction over the layers is below 0.05.",
        "",
    ]


def _of_repair(repairs: "pd.DataFrame") -> list[str]:
    n = len(repairs)
    counts = {name: int(repairs[name].sum()) for name in
              ("attribution", "repaired", "repairer", "not repaired")}  # fmt: skip
    return [
        "## A loss that is repaired",
        "",
        f"In {n} models a later MLP writes half of the facts where they are missing, so that the "
        "layer that holds them costs nothing. Direct attribution names the two MLPs that hold "
        f"facts in {counts['attribution']} of {n}; self-repair calls the loss repaired in "
        f"{counts['repaired']} (share repaired {repairs['share'].mean():.2f} on average, "
        f"{repairs['share'].min():.2f} to {repairs['share'].max():.2f}) and names the MLP that "
        f"repairs it in {counts['repairer']}. The other half, which nothing repairs, is not "
        f"called repaired in {counts['not repaired']}.",
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def main() -> None:
    """Run what is missing; write the page and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the rows")
    parser.add_argument("--page", type=Path, default=HERE / "power.md")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    options = parser.parse_args()
    import torch

    from interp.figures import save

    torch.set_num_threads(1)
    power, repairs = run(options.models, options.out)
    text = page(power, repairs, options.models)
    options.page.write_text(text)
    curve = curves(power)
    save(figure(curve), options.figure, formats=["png"])
    curve.round(4).to_csv(options.page.with_suffix(".csv"), index=False)
    print(text)


if __name__ == "__main__":
    main()

"""The scatter plot of papers on self-repair: total effect of an ablation by direct effect."""

import matplotlib
import pandas as pd

from interp.errors import UserError
from interp.figures import palette, style, tables
from interp.labels import task_label

KINDS = {
    "attention": ("Attention", palette.BLUE, "o"),
    "mlp": ("MLP", palette.ORANGE, "s"),
    "layer": ("Layer", palette.GREEN, "^"),
    "head": ("Head", palette.PURPLE, "D"),
}


def self_repair(effects: pd.DataFrame, *, width: float = style.PAGE) -> style.PrintFigure:
    """The total effect of each ablated part by its direct effect, a panel per task.

    On the line later parts change nothing. Below it they make up for the ablation, above it they
    add to the damage (McGrath et al., arXiv 2307.15771, figure 3; Rushing & Nanda, arXiv
    2402.15390, figure 2).

    Args:
        effects: `interp.lens.SelfRepair.effects`, of one model, or of several tasks together.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel per task.

    Raises:
        UserError: there are effects of several models.
    """
    if len(set(effects["model"])) != 1:
        raise UserError("the figure of self-repair draws one model")
    tasks = tables.tasks_in_order(effects["task"])
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(len(tasks), effects, height=(0.85, 2.2), width=width)
        for axes, task in zip(panels.flat, tasks, strict=False):
            of_task = effects[effects["task"] == task]
            for kind, (_, colour, marker) in KINDS.items():
                rows = of_task[of_task["kind"] == kind]
                sideways, upright = (
                    (rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name])
                    for name in ("direct", "total")
                )
                axes.errorbar(
                    rows["direct"], rows["total"], xerr=sideways, yerr=upright, fmt=marker,
                    color=colour, markersize=3.5, elinewidth=0.6, linestyle="none",
                )  # fmt: skip
            ends = (
                min(of_task["direct"].min(), of_task["total"].min()),
                max(of_task["direct"].max(), of_task["total"].max()),
            )
            axes.plot(ends, ends, color=style.GREY, linewidth=0.8, linestyle="--")
            axes.axhline(0, color=style.GREY, linewidth=0.5)
            axes.set_title(task_label(task))
        style.name_panels(panels, len(tasks), x="Direct effect (logits)", y="Total effect (logits)")
        shown = [KINDS[kind] for kind in KINDS if kind in set(effects["kind"])]
        handles = [
            matplotlib.lines.Line2D([], [], color=colour, marker=marker, linestyle="", label=label)
            for label, colour, marker in shown
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        notes = [tables.describe_n(effects), "Below the line later parts make up for the ablation.",
                 tables.describe_intervals(effects, "Bars")]  # fmt: skip
        style.finish(figure, notes)
    return figure

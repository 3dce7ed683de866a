"""Stacked bars: the kinds of answers a model writes under each ablation."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from interp.errors import UserError
from interp.figures import palette, style, tables
from interp.labels import renamed, series_titles
from interp.results import KINDS
from interp.stats import BASELINE

LOOKS = {
    "right": (palette.BLUE, ""),
    "another value": (palette.SKY, ""),
    "option letter": (palette.VERMILION, "///"),
    "another format": (palette.ORANGE, "\\\\\\"),
    "loop": (palette.PURPLE, "xxx"),
    "cut off": (palette.GREEN, "..."),
    "empty": ("#dddddd", ""),
    "failed": (palette.BLACK, ""),
}
"""The colour and hatching of each kind of answer, so that figures are readable without colour."""


def answer_kinds(
    source: Any,
    *,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """The share of each kind of answer by ablated layer, stacked, with the baseline at the left.

    Args:
        source: a sweep with generated answers, its table of kinds of errors, or several of either.
        kind: the kind of ablations: the text form without its number, such as `layer`, `attn` or
            `mlp`.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks, benchmarks and models, by their names.
        width: width of the figure in inches; by default 3.5 for one panel and 7.2 for more.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per model and task. The intervals are in the table, and the
        caption states the width of the widest.

    Raises:
        UserError: there is no such table, ablation or task, or the kind has no curve.
    """
    table = tables.only_tasks(tables.table_from(source, "kinds_of_error"), tasks)
    table, chosen = tables.of_kind(table, kind)
    if chosen.shape != "curve":
        raise UserError(f"kind {kind}: it is drawn as a {chosen.shape}, not by layer")
    panels = {
        (str(model), task): of_model[of_model["task"] == task]
        for model, of_model in table.groupby("model", sort=False)
        for task in tables.tasks_in_order(of_model["task"])
    }
    with renamed(labels), matplotlib.rc_context(style.RC):
        titles = series_titles(panels)
        figure, grid = style.new_panels(
            len(panels), table, height=(0.9, 1.5), width=width, sharey=True
        )
        for axes, (name, rows) in zip(grid.flat, panels.items(), strict=False):
            _draw(axes, rows)
            axes.set_title(titles[name])
        style.name_panels(grid, len(panels), x=chosen.axes[0], y="Answers (%)")
        kinds = [one for one in KINDS if one in set(table["kind"])]
        legend = [
            Patch(facecolor=LOOKS[k][0], hatch=LOOKS[k][1], edgecolor="white", label=k.capitalize())
            for k in kinds
        ]
        style.add_legend(figure, legend, [])
        widest = float((table["high"] - table["low"]).max())
        notes = [
            tables.describe_n(table),
            "Left of the line: nothing ablated.",
            f"Intervals in the table ({table['interval'].iloc[0]}): at most {widest:.0f} points "
            "wide.",
        ]
        style.finish(figure, notes, caption=caption)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw one panel: a bar per ablation, and the baseline at -1.5."""
    place = np.where(rows["ablation"] == BASELINE, -1.5, rows["place"].astype(float))
    cells = rows.assign(x=place).pivot(index="x", columns="kind", values="share")  # noqa: PD010
    cells = cells.fillna(0.0).sort_index()
    bottom = np.zeros(len(cells))
    for name in KINDS:
        if name in cells:
            colour, hatch = LOOKS[name]
            axes.bar(
                cells.index, cells[name], 0.85, bottom=bottom, color=colour, hatch=hatch,
                edgecolor="white", linewidth=0.3,
            )  # fmt: skip
            bottom += cells[name].to_numpy()
    axes.axvline(-0.75, color=style.GREY, linewidth=0.6)
    axes.set_ylim(0, 100)
    axes.xaxis.set_major_locator(style.WholeNumbers())
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}" if x >= 0 else "")
    axes.set_xlim(-2.1, float(cells.index.max()) + 0.6)
    axes.grid(visible=False)

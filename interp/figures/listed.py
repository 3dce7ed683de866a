"""Drops of ablations that have no place on an axis, by name: hooks, combinations, programs."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from interp.errors import UserError
from interp.figures import drop_scales, palette, style, tables
from interp.labels import series_titles

ROW = 0.16
"""The height of an ablation's row, in inches."""

MOST = 50
"""The most ablations in one figure; if there are more, those with the largest changes."""

LONGEST = 30
"""The most characters of an ablation's name; longer names keep their beginning and end."""


def draw_listed(
    table: pd.DataFrame, *, kind: str = "others", page: style.Page = style.PLAIN
) -> Figure:
    """Drop by ablation with intervals, a row per ablation, a panel per task (and model).

    Args:
        table: drops of one metric per task.
        kind: the kind of ablations.
        page: the size of the figure; the caller's own axes are refused.

    Returns:
        A Matplotlib figure of one panel per task and model.
    """
    if page.ax is not None:
        raise UserError("ax: a list of ablations takes a figure of its own")
    table, _ = tables.of_kind(table, kind)
    table = table[table["place"].notna()]
    names = _largest(table)
    left_out = table["ablation"].nunique() - len(names)
    shown = table[table["ablation"].isin(names)]
    panels = {
        (str(model), task): rows[rows["task"] == task]
        for model, rows in shown.groupby("model", sort=False)
        for task in tables.tasks_in_order(rows["task"])
    }
    titles = series_titles(panels)
    size = page.width or (style.COLUMN if len(panels) == 1 else style.PAGE)
    with matplotlib.rc_context(style.RC):
        columns = max(1, min(len(panels), int((size - 1.6) // 1.5)))
        lines = -(-len(panels) // columns)
        height = 0.3 + ROW * len(names)
        figure = style.new_figure(size, 0.9 + height * lines, table)
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (name, rows) in zip(grid.flat, panels.items(), strict=False):
            _draw(axes, rows, names)
            axes.set_title(titles[name])
            axes.set_xlabel(drop_scales.drop_label(rows))
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(names)), [_shown(name) for name in names])
            axes.set_ylim(len(names) - 0.4, -0.6)
        style.letter_panels(grid.flat[: len(panels)])
        figure.legend(handles=_legend(table), loc="outside upper center", ncols=2)
        notes = [
            tables.describe_n(table),
            tables.describe_metrics(table),
            tables.describe_intervals(shown, "Bars"),
            tables.describe_tests(table),
            *tables.describe_untestable(table),
            *tables.describe_choice(table),
            *tables.describe_truncation(table),
            *tables.describe_failures(table),
        ]
        if left_out:
            notes.append(
                f"Listed: the {len(names)} largest changes of {len(names) + left_out} ablations."
            )
        style.finish(figure, notes, caption=page.caption)
        style.fit_height(figure, grid[:, 0], ROW * len(names))
    return figure


def _largest(table: pd.DataFrame) -> list[str]:
    """The ablations that are listed, in the order of the table."""
    size = table["drop"].abs() / table.groupby("unit")["drop"].transform(
        lambda drops: drops.abs().max() or 1.0
    )
    largest = size.fillna(0).groupby(table["ablation"], sort=False).max()
    shown = set(largest.nlargest(MOST, keep="first").index)
    return [str(name) for name in largest.index if name in shown]


def _draw(axes: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    y = np.array([names.index(name) for name in rows["ablation"]])
    axes.axvline(0, color=style.GREY, linewidth=0.8, zorder=0.9)
    axes.hlines(y, rows["low"], rows["high"], color=palette.BLUE, linewidth=0.9)
    filled = (rows["p_adjusted"] < tables.ALPHA).to_numpy()
    for chosen, face in ((filled, palette.BLUE), (~filled, "white")):
        axes.plot(
            rows["drop"][chosen], y[chosen], linestyle="none", marker="o", color=palette.BLUE,
            markerfacecolor=face,
        )  # fmt: skip


def _legend(table: pd.DataFrame) -> list[Line2D]:
    p = tables.p_name(table)
    words = {palette.BLUE: f"{p} < {tables.ALPHA:g}", "white": f"{p} ≥ {tables.ALPHA:g}"}
    return [
        Line2D([], [], color=palette.BLUE, linestyle="none", marker="o", markerfacecolor=face,
               label=label)
        for face, label in words.items()
    ]  # fmt: skip


def _shown(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    half = (LONGEST - 1) // 2
    return f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"

"""Heatmaps: the drop in every task under the ablation of every layer, a panel per model."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from interp.errors import UserError
from interp.figures import drop_scales, style, tables
from interp.labels import PROTOCOLS, SKILLS, model_label, split_task, task_label

ROW = 0.2
"""The height of a task's row in inches; half as much again if its name takes two lines."""

NUMBER = (19.0, 9.0)
"""The smallest width and height of a cell, in points, that can hold a number."""

NARROW = 5.0
"""In figures narrower than this, in inches, names of tasks are broken into two lines."""

COLOURS = "RdBu_r"
"""A diverging scale for colour-blind readers: red is damage, blue is gain, white no change."""


def draw_heatmap(
    table: pd.DataFrame, *, kind: str = "layer", page: style.Page = style.PLAIN
) -> Figure:
    """Drop by task and ablated layer; see `interp.figures.heatmap`.

    Args:
        table: drops of one metric per task.
        kind: the kind of ablations.
        page: the size and the limits of the figure.

    Returns:
        A Matplotlib figure of one panel per model.

    Raises:
        UserError: the metrics have several units, or the caller gave axes and there are several
            models.
    """
    table, chosen = tables.of_kind(table, kind)
    if chosen.shape != "curve":
        raise UserError(f"kind {kind}: it is drawn as a {chosen.shape}, not by layer")
    if len(set(table["unit"])) > 1:
        raise UserError("the heatmap would mix points and values; choose with metric= or tasks=")
    table = table[table["place"].notna()]
    models = tables.in_order(table["model"])
    tasks = _tasks(table)
    limit = tables.colour_limit(table)
    width = page.width or style.PAGE
    if page.ax is not None and len(models) > 1:
        raise UserError(f"ax: the figure has {len(models)} panels, one per model; give one model")
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        figure, grid = _panels(table, (len(models), len(tasks)), page)
        for axes, model in zip(grid, models, strict=True):
            rows = table[table["model"] == model]
            image = _draw_panel(axes, rows, tasks, (int(table["place"].max()) + 1, limit))
            axes.set_yticks(range(len(tasks)), _names(tasks, width))
            if len(models) > 1:
                axes.set_title(model_label(model))
        style.letter_panels(grid)
        grid[-1].set_xlabel(chosen.axes[0])
        label = drop_scales.drop_label(table)
        inches = _row(width) * len(tasks) * len(models)
        style.add_colour_bar(figure, image, grid, label=label, inches=inches)
        figure.draw_without_rendering()
        width_of_cell, height_of_cell = style.cell_points(grid[0])
        numbers = width_of_cell >= NUMBER[0] and (height_of_cell >= NUMBER[1] or page.ax is None)
        if isinstance(figure, style.PrintFigure):
            style.finish(figure, _notes(table, numbers=numbers), caption=page.caption)
            style.fit_height(figure, grid, _row(width) * len(tasks))
        for axes, model in zip(grid, models, strict=True):
            _mark(axes, table[table["model"] == model], tasks, limit, numbers=numbers)
    return figure


def _panels(
    table: pd.DataFrame, counts: tuple[int, int], page: style.Page
) -> tuple[Figure, list[Axes]]:
    """The figure, and a panel for each model."""
    if page.ax is not None:
        figure = page.ax.get_figure(root=True)
        assert isinstance(figure, Figure)
        return figure, [page.ax]
    n_models, n_tasks = counts
    width = page.width or style.PAGE
    drawn = style.new_figure(width, 1.0 + (_row(width) * n_tasks + 0.25) * n_models, table)
    return drawn, list(drawn.subplots(n_models, 1, sharex=True, squeeze=False)[:, 0])


def _row(width: float) -> float:
    return ROW if width >= NARROW else 1.5 * ROW


def _names(tasks: list[str], width: float) -> list[str]:
    if width >= NARROW:
        return [task_label(task) for task in tasks]
    return [textwrap.fill(task_label(task), 20) for task in tasks]


def _notes(table: pd.DataFrame, *, numbers: bool) -> list[str]:
    mark = "Bold with star" if numbers else "Dot"
    return [
        tables.describe_n(table),
        tables.describe_metrics(table),
        f"{mark}: {tables.p_name(table)} < {tables.ALPHA:g}.",
        tables.describe_tests(table),
        "Red: the ablation harms; blue: it helps.",
        *tables.describe_untestable(table),
        *tables.describe_choice(table),
        *tables.describe_truncation(table),
        *tables.describe_failures(table),
    ]


def _tasks(table: pd.DataFrame) -> list[str]:
    """The tasks from top to bottom: by skill, then by protocol."""
    benchmarks = tables.in_order(table["benchmark"], SKILLS)
    protocols = tables.in_order(table["protocol"], PROTOCOLS)

    def place(task: str) -> tuple[int, int]:
        benchmark, protocol = split_task(task)
        return benchmarks.index(benchmark), protocols.index(protocol)

    return sorted(set(table["task"]), key=place)


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, tasks: list[str], size: tuple[int, float]
) -> AxesImage:
    """Draw one model's cells; cells that were not run stay grey."""
    n_layers, limit = size
    # pivot_table would average rows of the same cell where pivot refuses them.
    cells = rows.pivot(index="task", columns="place", values="drop")  # noqa: PD010
    cells = cells.reindex(index=tasks, columns=range(n_layers)).astype(float)
    axes.set_facecolor("#bbbbbb")
    image = axes.imshow(cells, cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto")
    axes.xaxis.set_major_locator(style.WholeNumbers())
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    skills = [split_task(task)[0] for task in tasks]
    for row in range(1, len(tasks)):
        new = skills[row] != skills[row - 1]
        axes.axhline(row - 0.5, color="white", linewidth=2.0 if new else 0.5)
    return image


def _mark(axes: Axes, rows: pd.DataFrame, tasks: list[str], limit: float, *, numbers: bool) -> None:
    """Write the drop into each cell; if there is no room, a dot into significant cells only."""
    width, height = style.cell_points(axes)
    if width > 5:
        for column in range(1, int(rows["place"].max()) + 1):
            axes.axvline(column - 0.5, color="white", linewidth=0.5)
    for row in rows[rows["drop"].notna()].to_dict("records"):
        significant = row["p_adjusted"] < tables.ALPHA
        place = (float(row["place"]), float(tasks.index(row["task"])))
        strong = abs(row["drop"]) > 0.6 * limit
        colour = "white" if strong else "black" if significant else style.GREY
        if numbers:
            axes.text(
                *place, _number(row) + ("*" if significant else ""), color=colour,
                fontsize=style.SMALL, fontweight="bold" if significant else "normal", ha="center",
                va="center_baseline",
            )  # fmt: skip
        elif significant:
            size = min(2.4, 0.6 * width, 0.6 * height)
            axes.plot(
                *place, marker="o", markersize=size, color=colour, linestyle="none",
                markeredgewidth=0,
            )  # fmt: skip


def _number(row: Mapping[Any, Any]) -> str:
    text = f"{row['drop']:.0f}" if row["unit"] == "points" else f"{row['drop']:.2g}"
    return text.replace("-0", "0") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")

"""Heatmaps: the drop of every task under every layer's ablation, a panel a model."""

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from interp.errors import UserError
from interp.figures import style, tables
from interp.labels import PROTOCOLS, SKILLS, model_label, split_task, task_label
from interp.results import MetricChoice, choose_metric

ROW = 0.2
"""Height of a task's row, inches."""

CELL = 0.27
"""Least width of a cell, inches, that holds a number."""

COLOURS = "RdBu_r"
"""Diverging and safe for colour-blind readers: red is damage, blue is gain, white is no change."""


def heatmap(
    importance: pd.DataFrame,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float = style.PAGE,
) -> style.PrintFigure:
    """Drop by task and ablated layer; significant cells are bold with a star, or have a dot.

    Args:
        importance: The table of `interp.stats.importance`.
        metric: A metric for all tasks or a mapping task to metric; see `choose_metric`.
        kind: ``"layer"``, ``"attn"``, ``"mlp"``, ``"swap"``, ``"swap-attn"`` or
            ``"swap-mlp"``.
        width: Inches.
    """
    table = tables.by_layer(choose_metric(importance, metric), kind)
    if len(set(table["unit"])) > 1:
        raise UserError("the heatmap would mix points and values; choose with metric=")
    models = tables.in_order(table["model"])
    tasks = _tasks(table)
    n_layers = int(table["layer"].max()) + 1
    names = 0.06 * max(len(task_label(task)) for task in tasks)  # inches, at 7 points
    numbers = (width - names - 0.9) / n_layers >= CELL  # 0.9 inches are for the colour bar
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        height = 1.0 + (ROW * len(tasks) + 0.25) * len(models)
        figure = style.new_figure(width, height, table)
        grid = figure.subplots(len(models), 1, sharex=True, squeeze=False)[:, 0]
        limit = float(table["drop"].abs().max()) or 1.0
        for place, (axes, model) in enumerate(zip(grid, models, strict=True)):
            image = _draw_panel(axes, table[table["model"] == model], tasks, n_layers, limit)
            _mark_cells(axes, table[table["model"] == model], tasks, limit, numbers=numbers)
            if len(models) > 1:
                axes.set_title(chr(65 + place), loc="left", fontweight="bold")
                axes.set_title(model_label(model))
        grid[-1].set_xlabel(tables.KINDS[kind])
        bar = figure.colorbar(image, ax=list(grid), pad=0.015, aspect=14 * len(models))
        bar.outline.set_linewidth(0.6)
        bar.set_label("Drop (points)" if table["unit"].eq("points").all() else "Drop")
        mark = "Bold with star" if numbers else "Dot"
        style.finish(
            figure,
            [
                tables.describe_n(table),
                tables.describe_metrics(table),
                f"{mark}: {tables.p_name(table)} < {tables.ALPHA:g}.",
                tables.describe_tests(table),
                "Red: the ablation harms; blue: it helps.",
            ],
        )
    return figure


def _tasks(table: pd.DataFrame) -> list[str]:
    """Tasks from top to bottom: by skill, then by protocol."""
    benchmarks = tables.in_order(table["benchmark"], SKILLS)
    protocols = tables.in_order(table["protocol"], PROTOCOLS)

    def place(task: str) -> tuple[int, int]:
        benchmark, protocol = split_task(task)
        return benchmarks.index(benchmark), protocols.index(protocol)

    return sorted(set(table["task"]), key=place)


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, tasks: list[str], n_layers: int, limit: float
) -> AxesImage:
    """One model's cells; what was not run stays grey."""
    # pivot_table would average rows of the same cell where pivot refuses them.
    cells = rows.pivot(index="task", columns="layer", values="drop")  # noqa: PD010
    cells = cells.reindex(index=tasks, columns=range(n_layers)).astype(float)
    axes.set_facecolor("#bbbbbb")
    image = axes.imshow(cells, cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto")
    axes.set_yticks(range(len(tasks)), [task_label(task) for task in tasks])
    step = 1 if n_layers <= 40 else 4
    axes.set_xticks(range(0, n_layers, step))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for column in range(1, n_layers):
        axes.axvline(column - 0.5, color="white", linewidth=0.5)
    skills = [split_task(task)[0] for task in tasks]
    for row in range(1, len(tasks)):
        new = skills[row] != skills[row - 1]
        axes.axhline(row - 0.5, color="white", linewidth=2.0 if new else 0.5)
    return image


def _mark_cells(
    axes: Axes, rows: pd.DataFrame, tasks: list[str], limit: float, *, numbers: bool
) -> None:
    """Write the drop into each cell, or only a dot where it is significant."""
    for row in rows.to_dict("records"):
        strong = abs(row["drop"]) > 0.6 * limit
        significant = row["p_adjusted"] < tables.ALPHA
        text = f"{row['drop']:.0f}" if row["unit"] == "points" else f"{row['drop']:.2g}"
        text = text.replace("-0", "0") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
        place = (float(row["layer"]), tasks.index(row["task"]))
        colour = "white" if strong else "black" if significant else "#606060"
        if numbers:
            axes.text(
                *place,
                text + ("*" if significant else ""),
                color=colour,
                fontsize=style.SMALL,
                fontweight="bold" if significant else "normal",
                ha="center",
                va="center_baseline",
            )
        elif significant:
            axes.plot(*place, marker="o", markersize=1.6, color=colour, linestyle="none")

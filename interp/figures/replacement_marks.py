"""Drops by layer when it is skipped, or replaced by a mean, another example or a linear map."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from interp.errors import UserError
from interp.figures import curves, palette, style, tables
from interp.figures.families import kinds
from interp.labels import renamed, series_titles
from interp.results import MetricChoice, choose_metric

WAYS = {
    "": ("Skipped", palette.Look(palette.BLACK, "o")),
    "@mean": ("Mean", palette.Look(palette.BLUE, "s")),
    "@resample": ("Another example's", palette.Look(palette.VERMILION, "^")),
    "@linear": ("Linear map", palette.Look(palette.GREEN, "D")),
}
"""For each ending of an ablation's text its name, colour and marker."""

APART = 3.4
"""The distance, in points, that two marks need; with less, each way has a row of its own."""


def replacements(
    source: tables.Source,
    *,
    metric: MetricChoice = None,
    part: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    ylim: tuple[float, float] | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Drops by layer when it is skipped and when it is replaced.

    The marks of one layer are side by side. If there are too many layers for that, each way of
    replacing has a row of its own, with the drops of skipping in grey behind it.

    Args:
        source: a sweep of two or more of `layers layers@mean layers@resample layers@linear`, its
            table of importance, or several of either.
        metric: a metric for all tasks, or a mapping from tasks to metrics; see `choose_metric`.
        part: `layer`, `attn` or `mlp`.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width of the figure in inches; by default the page.
        ylim: limits of the vertical axes.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one column per task and model.

    Raises:
        UserError: fewer than two of the ways were swept.
    """
    table = choose_metric(tables.only_tasks(tables.table_of(source, "importance"), tasks), metric)
    kinds_of_table = kinds(table["ablation"])
    ways = [way for way in WAYS if f"{part}{way}" in kinds_of_table]
    if len(ways) < 2:
        raise UserError(
            f"replacements: two of {', '.join(part + way for way in WAYS)} are needed; swept are "
            f"{', '.join(kinds_of_table) or 'none'}"
        )
    rows = pd.concat([tables.of_kind(table, f"{part}{w}")[0].assign(way=w) for w in ways])
    rows = rows[rows["place"].notna()]
    page = style.Page(width, ylim, caption)
    panels = {
        (str(model), task): of_model[of_model["task"] == task]
        for model, of_model in rows.groupby("model", sort=False)
        for task in tables.tasks_in_order(of_model["task"])
    }
    with renamed(labels), matplotlib.rc_context(style.RC):
        return _figure(rows, panels, ways, page)


def _figure(
    rows: pd.DataFrame,
    panels: Mapping[tuple[str, str], pd.DataFrame],
    ways: Sequence[str],
    page: style.Page,
) -> style.PrintFigure:
    size = page.width or style.PAGE
    n_layers, titles = int(rows["place"].max()) + 1, series_titles(panels)
    columns = style.columns_of(len(panels), size)
    if n_layers > curves.MANY:
        columns = min(columns, 2 if size > 5 else 1)
    points = 66 * (size - 0.6 * columns) / columns / n_layers
    side_by_side = points >= APART * len(ways)
    stacks = [list(ways)] if side_by_side else [[way] for way in ways]
    lines = -(-len(panels) // columns)
    panel_height = 1.5 if side_by_side else 0.62
    figure = style.new_figure(size, 0.9 + lines * (0.3 + panel_height * len(stacks)), rows)
    grid = figure.subplots(
        lines * len(stacks), columns, sharex=True, sharey=page.ylim is not None, squeeze=False
    )
    tops = []
    for place in range(lines * columns):
        line, column = divmod(place, columns)
        own_panels = grid[line * len(stacks) : (line + 1) * len(stacks), column]
        if place >= len(panels):
            for axes in own_panels:
                axes.set_axis_off()
            continue
        name = list(panels)[place]
        own_panels[0].set_title(titles[name])
        tops.append(own_panels[0])
        for axes, drawn in zip(own_panels, stacks, strict=True):
            _draw(axes, panels[name], drawn, ways[0], side_by_side=side_by_side)
        _one_scale(own_panels, page)
        own_panels[-1].set_xlabel("Layer" if place + columns >= len(panels) else "")
        own_panels[-1].tick_params(labelbottom=True)
        if column == 0:
            unit = " (points)" if rows["unit"].eq("points").all() else ""
            own_panels[len(own_panels) // 2].set_ylabel(f"Drop{unit}")
    style.letter_panels(tops)
    style.add_legend(figure, *_legend(rows, ways))
    style.finish(figure, _notes(rows, side_by_side), caption=page.caption)
    return figure


def _draw(
    axes: Axes, rows: pd.DataFrame, ways: Sequence[str], first: str, *, side_by_side: bool
) -> None:
    """Draw the marks of some ways in one panel; they are filled where significant."""
    axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=0.9)
    if not side_by_side and ways[0] != first:
        skipped = rows[rows["way"] == first].sort_values("place")
        axes.plot(skipped["place"], skipped["drop"], color="#9a9a9a", linewidth=0.8, zorder=1)
    step = min(0.2, 0.8 / len(ways))
    for number, way in enumerate(ways):
        of_way, look = rows[rows["way"] == way].sort_values("place"), WAYS[way][1]
        x = of_way["place"].to_numpy(float) + step * (number - (len(ways) - 1) / 2)
        line = curves.Line(look.colour, look.marker, 0.0, crowded=not side_by_side)
        curves.draw_intervals(axes, x, of_way, line)
        if not side_by_side:
            axes.plot(x, of_way["drop"], color=look.colour, linewidth=0.9)
        filled = (of_way["p_adjusted"] < tables.ALPHA).to_numpy()
        marker: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": "none",
                                  "markersize": 3.0 if side_by_side else 1.8}  # fmt: skip
        axes.plot(x[filled], of_way["drop"][filled], **marker)
        if side_by_side:
            axes.plot(x[~filled], of_way["drop"][~filled], markerfacecolor="white",
                      markeredgewidth=0.8, **marker)  # fmt: skip
    axes.xaxis.set_major_locator(style.WholeNumbers())
    top = int(rows["place"].max())
    axes.set_xlim(-0.6 - 0.01 * top, top + 0.6 + 0.01 * top)
    if side_by_side:
        # thin lines between layers, not lines at their ticks, separate the layers
        axes.grid(visible=False, axis="x")
        for edge in range(1, top + 1):
            axes.axvline(edge - 0.5, color="#ededed", linewidth=0.5, zorder=0.5)


def _one_scale(panels: np.ndarray, page: style.Page) -> None:
    """Give the rows of a panel the same limits."""
    limits = [axes.get_ylim() for axes in panels]
    low, high = min(limit[0] for limit in limits), max(limit[1] for limit in limits)
    for axes in panels:
        axes.set_ylim(*(page.ylim or (low, high)))


def _legend(rows: pd.DataFrame, ways: Sequence[str]) -> tuple[list[Artist], list[Artist]]:
    series: list[Artist] = [
        Line2D([], [], color=WAYS[w][1].colour, marker=WAYS[w][1].marker, label=WAYS[w][0])
        for w in ways
    ]
    filled = Line2D([], [], color=style.GREY, linestyle="none", marker="o",
                    label=f"{tables.p_name(rows)} < {tables.ALPHA:g}")  # fmt: skip
    return series, [filled]


def _notes(rows: pd.DataFrame, side_by_side: bool) -> list[str]:
    protocols = rows.assign(way="")
    marked = "Open marks" if side_by_side else "No mark"
    return [
        tables.describe_n(rows),
        tables.describe_metrics(protocols),
        tables.describe_intervals(rows, "Bars" if side_by_side else "Shaded"),
        "" if side_by_side else "Grey: the layer skipped.",
        f"{marked}: {tables.p_name(rows)} ≥ {tables.ALPHA:g}.",
        tables.describe_tests(rows),
        *tables.describe_untestable(rows),
        *tables.describe_truncation(rows),
        *tables.describe_failures(rows),
    ]

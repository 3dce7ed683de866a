"""Where in the sequence a layer is needed: stacked prompt part, answer part and interaction."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from interp.errors import UserError
from interp.figures import curves, palette, style, tables
from interp.figures.drop_scales import unit_of
from interp.figures.from_values import GainsSource, of_gains
from interp.labels import renamed, series_titles
from interp.results import PARTS, WHOLE, MetricChoice, scope_parts

LOOKS = {
    "prompt": palette.Look(palette.BLUE, "o"),
    "answer": palette.Look(palette.ORANGE, "s"),
    "interaction": palette.Look("#8c8c8c", "^"),
}
"""The colour of each part of a drop; `interp.results.PARTS` has their names."""

BARS, LINES = 1.15, 0.95
"""Heights in inches of a panel's stacked bars, and of the intervals under them."""


def scopes(
    source: GainsSource,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    ylim: tuple[float, float] | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """The drop of each layer, split into prompt part, answer part and interaction.

    Bars are stacked: the sum of a layer's three bars is its drop, shown by a black mark. Below,
    each part is drawn with its interval.

    Args:
        source: a sweep of `layers layers@@prompt layers@@answer`, its table of
            `interp.results.scope_parts`, or several of either.
        metric: a metric for all tasks, or a mapping from tasks to metrics; see `choose_metric`.
        kind: the kind of ablations: `layer`, `attn`, `mlp@mean`, ...
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        ylim: limits of the vertical axes.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of two panels per task and model.

    Raises:
        UserError: there is no ablation that was swept everywhere and in both scopes, or the kind
            has no curve.
    """
    scope_effects = of_gains(source, scope_parts, "part", metric)
    table, chosen = tables.of_kind(tables.only_tasks(scope_effects, tasks), kind)
    if chosen.shape != "curve":
        raise UserError(f"kind {kind}: it is drawn as a {chosen.shape}, not by layer")
    page = style.Page(width, ylim, caption)
    panels = {
        (str(model), task): rows[rows["task"] == task]
        for model, rows in table.groupby("model", sort=False)
        for task in tables.tasks_in_order(rows["task"])
    }
    with renamed(labels), matplotlib.rc_context(style.RC):
        titles = series_titles(panels)
        figure, grid = _grid(table, len(panels), page)
        for place, (name, rows) in enumerate(panels.items()):
            row, column = divmod(place, grid.shape[1])
            bars, lines = grid[2 * row, column], grid[2 * row + 1, column]
            bars.set_title(titles[name])
            _stack(bars, rows)
            _intervals(lines, rows)
            top = rows["place"].max()
            bars.set_xlim(-0.6 - 0.01 * top, top + 0.6 + 0.01 * top)
            unit = unit_of(rows)
            for axes, words in ((bars, "Drop"), (lines, "Parts")):
                axes.set_ylabel(f"{words} ({unit})" if unit else words)
                if page.ylim is not None:
                    axes.set_ylim(*page.ylim)
        drawn = [grid[2 * (n // grid.shape[1]), n % grid.shape[1]] for n in range(len(panels))]
        style.letter_panels(drawn)
        _name_axes(grid, len(panels), chosen.axes[0])
        style.add_legend(figure, *_legend())
        style.finish(figure, _notes(table), caption=page.caption)
    return figure


def _grid(
    table: pd.DataFrame, count: int, page: style.Page
) -> tuple[style.PrintFigure, np.ndarray]:
    """A figure with two rows of axes for each row of panels; empty axes are hidden."""
    size = page.width or (style.COLUMN if count == 1 else style.PAGE)
    columns = style.columns_of(count, size)
    rows = -(-count // columns)
    figure = style.new_figure(size, 0.95 + rows * (BARS + LINES + 0.3), table)
    grid = figure.subplots(
        2 * rows, columns, sharex=True, squeeze=False, height_ratios=[BARS, LINES] * rows
    )
    for place in range(count, rows * columns):
        row, column = divmod(place, columns)
        grid[2 * row, column].set_axis_off()
        grid[2 * row + 1, column].set_axis_off()
    return figure, grid


def _stack(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw stacked bars: positive parts upwards from zero, negative ones downwards."""
    cells = rows.pivot(index="place", columns="part", values="value").sort_index()  # noqa: PD010
    up, down = np.zeros(len(cells)), np.zeros(len(cells))
    x = cells.index.to_numpy(float)
    for part, look in LOOKS.items():
        height = cells[part].fillna(0.0).to_numpy(float)
        bottom = np.where(height >= 0, up, down)
        axes.bar(x, height, 0.8, bottom=bottom, color=look.colour, linewidth=0)
        up, down = up + np.clip(height, 0, None), down + np.clip(height, None, 0)
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    apart = 66 * axes.get_window_extent().width / axes.get_figure(root=True).dpi / len(cells)  # type: ignore[union-attr]
    axes.plot(
        x, cells[WHOLE], linestyle="none", marker="D", color=palette.BLACK,
        markersize=float(np.clip(0.5 * apart, 1.2, 3.0)), markeredgewidth=0,
    )  # fmt: skip


def _intervals(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a line per part with its intervals, as bars side by side or as bands."""
    axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=0.9)
    crowded = curves.is_crowded(rows)
    for place, (part, look) in enumerate(LOOKS.items()):
        of_part = rows[rows["part"] == part].sort_values("place")
        shift = 0.0 if crowded else 0.24 * (place - 1)
        line = curves.Line(look.colour, look.marker, shift, crowded)
        x = of_part["place"].to_numpy(float) + shift
        curves.draw_intervals(axes, x, of_part, line)
        axes.plot(
            x, of_part["value"], color=look.colour, marker="" if crowded else look.marker,
            linestyle="-" if crowded else "none", markersize=2.6, linewidth=0.9,
        )  # fmt: skip


def _name_axes(grid: np.ndarray, count: int, words: str) -> None:
    columns = grid.shape[1]
    for row in grid:
        for axes in row[1:]:
            axes.set_ylabel("")
    for axes in grid.flat:
        axes.xaxis.set_major_locator(style.WholeNumbers())
    for place in range(max(0, count - columns), count):
        axes = grid[2 * (place // columns) + 1, place % columns]
        axes.set_xlabel(words)
        axes.tick_params(labelbottom=True)


def _legend() -> tuple[list[Artist], list[Artist]]:
    parts: list[Artist] = [
        Patch(facecolor=look.colour, label=PARTS[part].capitalize()) for part, look in LOOKS.items()
    ]
    whole = Line2D([], [], linestyle="none", marker="D", color=palette.BLACK, markersize=3.0,
                   markeredgewidth=0, label="Drop at all positions")  # fmt: skip
    return parts, [whole]


def _notes(table: pd.DataFrame) -> list[str]:
    return [
        tables.describe_n(table),
        tables.describe_metrics(table),
        tables.describe_intervals(
            table, "Shaded" if curves.is_crowded(table) else "Bars in the lower panel"
        ),
        "Prompt, answer: the drop with the ablation at positions of the one only. Interaction: "
        "what it costs at both beyond the sum; near a floor it is negative whatever the layer "
        "does.",
    ]

"""Curves over layers: the score with one layer ablated, and its drop."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from interp.errors import UserError
from interp.figures import drop_scales, palette, style, tables
from interp.figures.families import Kind
from interp.labels import (
    PROTOCOLS,
    SKILLS,
    benchmark_label,
    letters,
    metric_label,
    model_label,
    protocol_label,
    uncapitalised,
)
from interp.stats import BASELINE

MANY = 16
"""With more layers than this, panels are as wide as possible, and intervals become bands."""

DODGE = 0.14
"""The horizontal shift, in layers, that keeps the bars of two skills apart."""

Draw = Callable[[Axes, pd.DataFrame, "Line"], None]


class Line(NamedTuple):
    """How one skill is drawn in a panel."""

    colour: str
    marker: str
    shift: float
    """The horizontal shift, in layers."""
    crowded: bool
    """Whether intervals are drawn as a band."""
    size: float = 3.6
    """The size of a marker, in points."""


class Content(NamedTuple):
    """The settings that differ between figures of scores and of drops."""

    draw: Draw
    handles: list[Line2D]
    notes: list[str]


def draw_layers(
    table: pd.DataFrame, *, kind: str = "layer", page: style.Page = style.PLAIN
) -> Figure:
    """Scores by ablated layer; see `interp.figures.layers`.

    Args:
        table: scores of one metric per task.
        kind: the kind of ablations.
        page: the size and the limits of the figure.

    Returns:
        A Matplotlib figure of one panel per task.
    """
    table, chosen = _curve(table, kind)
    crowded = is_crowded(table)
    notes = [
        tables.describe_n(table),
        tables.describe_metrics(table),
        tables.describe_intervals(table, "Shaded" if crowded else "Bars"),
        "Dashed with band: baseline, nothing ablated.",
        *tables.describe_truncation(table),
        *tables.describe_failures(table),
    ]
    handles = [Line2D([], [], color=style.GREY, linestyle="--", label="Baseline")]
    return _panels(table, chosen, Content(draw_score, handles, notes), page)


def draw_drops(
    table: pd.DataFrame, *, kind: str = "layer", page: style.Page = style.PLAIN
) -> Figure:
    """Drops by ablated layer; see `interp.figures.drops`.

    Args:
        table: drops of one metric per task.
        kind: the kind of ablations.
        page: the size and the limits of the figure.

    Returns:
        A Matplotlib figure of one panel per task.
    """
    table, chosen = _curve(table, kind)
    crowded = is_crowded(table)
    notes = [
        tables.describe_n(table),
        tables.describe_metrics(table),
        tables.describe_intervals(table, "Shaded" if crowded else "Bars"),
        tables.describe_tests(table),
        *tables.describe_untestable(table),
        *tables.describe_choice(table),
        *tables.describe_truncation(table),
        *tables.describe_failures(table),
    ]
    grey: dict[str, Any] = {"color": style.GREY, "linestyle": "none", "marker": "o"}
    p = tables.p_name(table)
    handles = [
        Line2D([], [], label=f"{p} < {tables.ALPHA:g}", **grey),
        Line2D([], [], label=f"{p} ≥ {tables.ALPHA:g}", markerfacecolor="white", **grey),
    ]
    return _panels(table, chosen, Content(_draw_drop, handles, notes), page)


def _curve(table: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, Kind]:
    table, chosen = tables.of_kind(table, kind)
    if chosen.shape != "curve":
        raise UserError(f"kind {kind}: it is drawn as a {chosen.shape}, not by layer")
    return table, chosen


def is_crowded(table: pd.DataFrame) -> bool:
    """Whether there are so many layers that bars would overlap."""
    return int(table["place"].max()) >= MANY


def _panels(table: pd.DataFrame, kind: Kind, content: Content, page: style.Page) -> Figure:
    """Draw the grid of panels, the legend and the caption, the same way for both figures."""
    models = tables.in_order(table["model"])
    protocols = tables.in_order(table["protocol"], PROTOCOLS)
    looks = _looks(table)
    crowded = is_crowded(table)
    # With many layers, wide panels matter more than protocols side by side.
    rows, columns = (protocols, models) if crowded else (models, protocols)
    single_column = len(columns) == 1 and not crowded
    size = page.width or (style.COLUMN if single_column else style.PAGE)
    if not crowded and len(columns) > size // 1.4:
        rows, columns = protocols, models
    if page.ax is not None:
        return _alone(table, kind, content, page)
    with matplotlib.rc_context(style.RC):
        height = 1.7 if single_column or size < 5 else 1.5
        figure = style.new_figure(size, 0.9 + height * len(rows), table)
        same_unit = len(set(table["unit"])) == 1
        grid = figure.subplots(
            len(rows), len(columns), sharex=True, sharey=same_unit, squeeze=False
        )
        names = letters()
        points = 66 * (size - 0.7) / len(columns)
        for (row, column), axes in np.ndenumerate(grid):
            model, protocol = (
                (columns[column], rows[row]) if columns is models else (rows[row], columns[column])
            )
            panel = table[(table["model"] == model) & (table["protocol"] == protocol)]
            if panel.empty:
                axes.set_axis_off()
                continue
            if grid.size > 1:
                axes.set_title(next(names), loc="left", fontweight="bold")
            _fill(axes, panel, looks, content.draw, points)
        _name_grid(grid, [[_words(name, models) for name in side] for side in (rows, columns)])
        for axes in grid.flat:
            _dress(axes, table, page)
        _name_axes(grid, kind)
        style.add_legend(figure, _entries(looks), content.handles)
        style.finish(figure, content.notes, caption=page.caption)
        first = [next(axes for axes in row if axes.axison) for row in grid]
        if first[0].get_position().height * figure.get_figheight() < 0.8:
            # a long legend takes height from the panels
            style.fit_height(figure, first, 1.1)
    return figure


def _alone(table: pd.DataFrame, kind: Kind, content: Content, page: style.Page) -> Figure:
    """Draw one panel in the caller's own axes."""
    axes = page.ax
    assert axes is not None
    panels = table[["model", "protocol"]].drop_duplicates()
    if len(panels) > 1:
        raise UserError(
            f"ax: the figure has {len(panels)} panels, one per model and protocol; choose one with "
            "tasks=, or leave ax out"
        )
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    looks = _looks(table)
    with matplotlib.rc_context(style.RC):
        _fill(axes, table, looks, content.draw, 72 * axes.get_window_extent().width / figure.dpi)
        _dress(axes, table, page)
        axes.set_xlabel(kind.axes[0])
        axes.legend(handles=[*_entries(looks), *content.handles])
    return figure


def _looks(table: pd.DataFrame) -> dict[str, palette.Look]:
    """Colour and marker of each benchmark, in the order of the legend."""
    return palette.skill_looks(tables.in_order(table["benchmark"], SKILLS))


def _entries(looks: dict[str, palette.Look]) -> list[Line2D]:
    return [
        Line2D([], [], color=look.colour, marker=look.marker, label=benchmark_label(name))
        for name, look in looks.items()
    ]


def _fill(
    axes: Axes, panel: pd.DataFrame, looks: dict[str, palette.Look], draw: Draw, points: float
) -> None:
    """Draw every line of a panel, shifted so that its lines do not hide each other."""
    crowded = is_crowded(panel)
    names = [name for name in looks if (panel["benchmark"] == name).any()]
    apart = points / (int(panel["place"].max()) + 1)
    for place, name in enumerate(names):
        shift = 0.0 if crowded else dodge(len(names)) * (place - (len(names) - 1) / 2)
        line = Line(*looks[name], shift, crowded, float(np.clip(0.8 * apart, 1.6, 3.6)))
        draw(axes, panel[panel["benchmark"] == name], line)
    axes.set_ylabel(value_label(panel))


def dodge(lines: int) -> float:
    """The horizontal shift between the lines of a panel, in layers; together less than a layer."""
    return min(DODGE, 0.8 / max(1, lines))


def draw_score(axes: Axes, rows: pd.DataFrame, line: Line) -> None:
    """Draw one skill in a panel: its scores, and its baseline as a dashed line with a band."""
    for baseline in rows[rows["ablation"] == BASELINE].to_dict("records"):
        axes.axhline(baseline["value"], color=line.colour, linestyle="--", linewidth=0.9)
        axes.axhspan(baseline["low"], baseline["high"], color=line.colour, alpha=0.12, linewidth=0)
    rows = rows[rows["place"].notna()].sort_values("place")
    x = rows["place"].to_numpy(float) + line.shift
    draw_intervals(axes, x, rows, line)
    axes.plot(
        x, rows["value"], color=line.colour, marker=line.marker, markersize=line.size,
        label=_label(rows),
    )  # fmt: skip


def _draw_drop(axes: Axes, rows: pd.DataFrame, line: Line) -> None:
    """Draw one skill in a panel: its drops, filled where the adjusted p-value is small."""
    rows = rows[rows["place"].notna()].sort_values("place")
    x = rows["place"].to_numpy(float) + line.shift
    axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=0.9)
    draw_intervals(axes, x, rows, line)
    axes.plot(x, rows["drop"], color=line.colour, label=_label(rows))
    marker: dict[str, Any] = {
        "color": line.colour, "marker": line.marker, "linestyle": "none", "markersize": line.size,
    }  # fmt: skip
    filled = (rows["p_adjusted"] < tables.ALPHA).to_numpy()
    axes.plot(x[filled], rows["drop"][filled], **marker)
    edge = min(1.0, 0.3 * line.size)
    axes.plot(
        x[~filled], rows["drop"][~filled], markerfacecolor="white", markeredgewidth=edge, **marker
    )


def draw_intervals(axes: Axes, x: np.ndarray, rows: pd.DataFrame, line: Line) -> None:
    """Draw intervals as bars, or as a band where bars would overlap."""
    low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
    if line.crowded:
        axes.fill_between(x, low, high, color=line.colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(x, low, high, color=line.colour, linewidth=0.9)


def _label(rows: pd.DataFrame) -> str:
    return benchmark_label(rows["benchmark"].iloc[0])


def value_label(panel: pd.DataFrame) -> str:
    """The name and unit of a panel's vertical axis."""
    units = set(panel["unit"])
    if len(units) > 1:
        raise UserError("one panel would mix points and values; choose with metric= or tasks=")
    if "drop" in panel:
        return textwrap.fill(drop_scales.drop_label(panel), 24)
    names = sorted({metric_label(metric, filtered=False) for metric in panel["metric"]})
    words = " or ".join([names[0], *map(uncapitalised, names[1:])])
    return textwrap.fill(f"{words} (%)" if units == {"points"} else words, 24)


def _words(name: str, models: Sequence[str]) -> str:
    return model_label(name) if name in models else protocol_label(name)


def _name_grid(grid: np.ndarray, words: list[list[str]]) -> None:
    """Name the columns above the grid and the rows at its right, where there are several."""
    rows, columns = words
    if len(columns) > 1:
        for axes, word in zip(grid[0], columns, strict=True):
            axes.set_title(word)
    if len(rows) > 1:
        for axes, word in zip(grid[:, -1], rows, strict=True):
            axes.annotate(
                word,
                (1.03, 0.5),
                xycoords="axes fraction",
                rotation=270,
                ha="left",
                va="center",
                annotation_clip=False,
            )


def _dress(axes: Axes, table: pd.DataFrame, page: style.Page) -> None:
    """Set the ticks and limits of a panel."""
    low, top = int(table["place"].min()), int(table["place"].max())
    room = 0.5 + 0.012 * (top - low)
    axes.set_xlim(min(0, low) - room, top + room)
    axes.xaxis.set_major_locator(style.WholeNumbers())
    if page.ylim is not None:
        axes.set_ylim(*page.ylim)
    elif "drop" not in table and table["unit"].eq("points").all():
        axes.set_ylim(*style.PERCENT)


def _name_axes(grid: np.ndarray, kind: Kind) -> None:
    """Name the axes; a name is not repeated where the neighbouring panel has it."""
    for column in grid.T:
        last = [axes for axes in column if axes.axison][-1:]
        for axes in last:
            axes.set_xlabel(kind.axes[0])
            axes.tick_params(labelbottom=True)
    for row in grid:
        names = [axes.get_ylabel() for axes in row]
        for axes, name, left in zip(row[1:], names[1:], names, strict=False):
            if name == left:
                axes.set_ylabel("")

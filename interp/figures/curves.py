"""Curves over layers: accuracy with one layer ablated, and the drop that this makes."""

import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from interp.errors import UserError
from interp.figures import style, tables
from interp.labels import (
    PROTOCOLS,
    SKILLS,
    benchmark_label,
    metric_label,
    model_label,
    protocol_label,
    uncapitalised,
)
from interp.results import MetricChoice, choose_metric
from interp.stats import BASELINE

MANY = 16
"""Layers above which panels are as wide as can be, and bars of an interval become a band."""

DODGE = 0.14
"""Sideways shift, in layers, that keeps the bars of two skills apart."""

Draw = Callable[[Axes, pd.DataFrame, "Line"], None]


class Line(NamedTuple):
    """How one skill is drawn."""

    colour: str
    marker: str
    shift: float
    """Sideways shift, in layers."""
    crowded: bool
    """Whether intervals are drawn as a band."""


def layers(
    scores: pd.DataFrame,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float | None = None,
) -> style.PrintFigure:
    """Accuracy by ablated layer, a panel for each protocol and model, the baseline dashed.

    Args:
        scores: The table of `interp.stats.scores`.
        metric: A metric for all tasks or a mapping task to metric; see `choose_metric`.
        kind: ``"layer"``, ``"attn"``, ``"mlp"``, ``"swap"``, ``"swap-attn"`` or
            ``"swap-mlp"``.
        width: Inches; by default one column for one panel, else the page.
    """
    table = tables.by_layer(choose_metric(scores, metric), kind)
    crowded = int(table["layer"].max()) >= MANY
    notes = [
        tables.describe_n(table),
        tables.describe_metrics(table),
        tables.describe_intervals(table, "Shaded" if crowded else "Bars"),
        "Dashed with band: baseline, nothing ablated.",
    ]
    handles = [Line2D([], [], color="#606060", linestyle="--", label="Baseline")]
    return _panels(table, draw_score, kind=kind, handles=handles, notes=notes, width=width)


def drops(
    importance: pd.DataFrame,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float | None = None,
) -> style.PrintFigure:
    """Drop by ablated layer, a panel for each protocol and model; filled markers are significant.

    Args:
        importance: The table of `interp.stats.importance`.
        metric: A metric for all tasks or a mapping task to metric; see `choose_metric`.
        kind: ``"layer"``, ``"attn"``, ``"mlp"``, ``"swap"``, ``"swap-attn"`` or
            ``"swap-mlp"``.
        width: Inches; by default one column for one panel, else the page.
    """
    table = tables.by_layer(choose_metric(importance, metric), kind)
    crowded = int(table["layer"].max()) >= MANY
    notes = [
        tables.describe_n(table),
        tables.describe_metrics(table),
        tables.describe_intervals(table, "Shaded" if crowded else "Bars"),
        tables.describe_tests(table),
    ]
    grey: dict[str, Any] = {"color": "#606060", "linestyle": "none", "marker": "o"}
    p = tables.p_name(table)
    handles = [
        Line2D([], [], label=f"{p} < {tables.ALPHA:g}", **grey),
        Line2D([], [], label=f"{p} ≥ {tables.ALPHA:g}", markerfacecolor="white", **grey),
    ]
    return _panels(table, _draw_drop, kind=kind, handles=handles, notes=notes, width=width)


def _panels(
    table: pd.DataFrame,
    draw: Draw,
    *,
    kind: str,
    handles: list[Line2D],
    notes: list[str],
    width: float | None,
) -> style.PrintFigure:
    """The grid of panels, the legend and the footnote that both figures share."""
    models = tables.in_order(table["model"])
    protocols = tables.in_order(table["protocol"], PROTOCOLS)
    lines = _lines(table)
    crowded = int(table["layer"].max()) >= MANY
    # Many layers need width more than they need the protocols side by side.
    rows, columns = (protocols, models) if crowded else (models, protocols)
    one = len(columns) == 1 and not crowded
    size = width or (style.COLUMN if one else style.PAGE)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(size, 0.9 + (1.7 if one else 1.5) * len(rows), table)
        alike = len(set(table["unit"])) == 1
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey=alike, squeeze=False)
        letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        for (row, column), axes in np.ndenumerate(grid):
            model, protocol = (
                (columns[column], rows[row]) if crowded else (rows[row], columns[column])
            )
            panel = table[(table["model"] == model) & (table["protocol"] == protocol)]
            if panel.empty:
                axes.set_axis_off()
                continue
            if grid.size > 1:
                axes.set_title(next(letters), loc="left", fontweight="bold")
            for benchmark, line in lines.items():
                if (panel["benchmark"] == benchmark).any():
                    draw(axes, panel[panel["benchmark"] == benchmark], line)
            axes.set_ylabel(value_label(panel))
        _name_grid(
            grid, [[_words(name, models, protocols) for name in side] for side in (rows, columns)]
        )
        _dress_axes(grid, table, kind)
        skills = [
            Line2D([], [], color=line.colour, marker=line.marker, label=benchmark_label(name))
            for name, line in lines.items()
        ]
        entries = [*skills, *handles]
        figure.legend(
            handles=entries,
            loc="outside upper center",
            ncols=2 if size < 5 else min(6, len(entries)),
        )
        style.finish(figure, notes)
    return figure


def _lines(table: pd.DataFrame) -> dict[str, Line]:
    """How each benchmark is drawn, in the order of the legend."""
    benchmarks = tables.in_order(table["benchmark"], SKILLS)
    colours, markers = style.skill_colours(benchmarks), style.skill_markers(benchmarks)
    crowded = int(table["layer"].max()) >= MANY
    middle = (len(benchmarks) - 1) / 2
    return {
        name: Line(
            colours[name], markers[name], 0.0 if crowded else DODGE * (place - middle), crowded
        )
        for place, name in enumerate(benchmarks)
    }


def draw_score(axes: Axes, rows: pd.DataFrame, line: Line) -> None:
    """One skill in one panel: its scores, and its baseline as a dashed line with a band."""
    for baseline in rows[rows["ablation"] == BASELINE].to_dict("records"):
        axes.axhline(baseline["value"], color=line.colour, linestyle="--", linewidth=0.9)
        axes.axhspan(baseline["low"], baseline["high"], color=line.colour, alpha=0.12, linewidth=0)
    rows = rows[rows["layer"].notna()].sort_values("layer")
    x = rows["layer"].to_numpy(float) + line.shift
    _draw_intervals(axes, x, rows, line)
    axes.plot(x, rows["value"], color=line.colour, marker=line.marker, label=_label(rows))


def _draw_drop(axes: Axes, rows: pd.DataFrame, line: Line) -> None:
    """One skill in one panel: its drops, filled where the adjusted p-value is small."""
    rows = rows.sort_values("layer")
    x = rows["layer"].to_numpy(float) + line.shift
    axes.axhline(0, color="#606060", linewidth=0.8, zorder=0.9)
    _draw_intervals(axes, x, rows, line)
    axes.plot(x, rows["drop"], color=line.colour, label=_label(rows))
    marker: dict[str, Any] = {"color": line.colour, "marker": line.marker, "linestyle": "none"}
    filled = (rows["p_adjusted"] < tables.ALPHA).to_numpy()
    axes.plot(x[filled], rows["drop"][filled], **marker)
    axes.plot(x[~filled], rows["drop"][~filled], markerfacecolor="white", **marker)


def _draw_intervals(axes: Axes, x: np.ndarray, rows: pd.DataFrame, line: Line) -> None:
    """Bars, or a band where bars would run into each other."""
    low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
    if line.crowded:
        axes.fill_between(x, low, high, color=line.colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(x, low, high, color=line.colour, linewidth=0.9)


def _label(rows: pd.DataFrame) -> str:
    return benchmark_label(rows["benchmark"].iloc[0])


def value_label(panel: pd.DataFrame) -> str:
    """Name and unit of a panel's vertical axis."""
    units = set(panel["unit"])
    if len(units) > 1:
        raise UserError("one panel would mix points and values; choose with metric=")
    if "drop" in panel:
        return "Drop (points)" if units == {"points"} else "Drop"
    names = sorted({metric_label(metric, filtered=False) for metric in panel["metric"]})
    words = " or ".join([names[0], *map(uncapitalised, names[1:])])
    return textwrap.fill(f"{words} (%)" if units == {"points"} else words, 24)


def _words(name: str, models: list[str], protocols: list[str]) -> str:
    return model_label(name) if name in models else protocol_label(name)


def _name_grid(grid: np.ndarray, words: list[list[str]]) -> None:
    """Name the columns above the grid and the rows at its right, where there is a choice."""
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


def _dress_axes(grid: np.ndarray, table: pd.DataFrame, kind: str) -> None:
    """Ticks, limits and axis names; a name is not repeated beside a neighbour that has it."""
    top = int(table["layer"].max())
    for axes in grid.flat:
        axes.set_xlim(-0.5, top + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(16, integer=True, steps=[1, 2, 4, 5, 10]))
        if "drop" not in table and table["unit"].eq("points").all():
            axes.set_ylim(-2, 102)
    for axes in grid[-1]:
        axes.set_xlabel(tables.KINDS[kind])
    for row in grid:
        names = [axes.get_ylabel() for axes in row]
        for axes, name, left in zip(row[1:], names[1:], names, strict=False):
            if name == left:
                axes.set_ylabel("")

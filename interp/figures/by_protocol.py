"""Pruning curves of one benchmark under all protocols: does the curve depend on the protocol?"""

from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from interp.errors import UserError
from interp.figures import palette, style, tables
from interp.labels import (
    PROTOCOLS,
    SKILLS,
    benchmark_label,
    model_label,
    protocol_label,
    renamed,
    split_task,
)

COLOURS = dict(zip(PROTOCOLS, (palette.BLUE, palette.ORANGE, palette.VERMILION), strict=True))
MARKERS = dict(zip(PROTOCOLS, ("o", "s", "^"), strict=True))


def protocol_curves(
    table: pd.DataFrame,
    *,
    counts: pd.DataFrame | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = style.PAGE,
    caption: bool = True,
) -> style.PrintFigure:
    """Score against the number of layers skipped, a line per protocol, a panel per benchmark.

    Args:
        table: from `interp.similarity.pruning_curves` for tasks under several protocols, with one
            order and one metric per task. Several models are drawn as rows.
        counts: from `interp.stats.removable` for the same curves. If given, steps that are shown to
            keep the score have filled markers, and the others empty ones.
        labels: the words that are printed for benchmarks and models, by their names.
        width: width of the figure in inches.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per model and benchmark.

    Raises:
        UserError: there are several orders or metrics per task.
    """
    if table.groupby(["model", "task", "n_removed"]).size().gt(1).any():
        raise UserError("protocol_curves: one order and one metric per task; keep one")
    split = [split_task(task) for task in table["task"]]
    table = table.assign(benchmark=[b for b, _ in split], protocol=[p for _, p in split])
    models = tables.in_order(table["model"])
    benchmarks = tables.in_order(table["benchmark"], SKILLS)
    protocols = tables.in_order(table["protocol"], PROTOCOLS)
    kept_counts = {} if counts is None else counts.set_index(["model", "task"])["kept"].to_dict()
    percent = (table["unit"] == "points").all()
    with matplotlib.rc_context(style.RC), renamed(labels):
        figure = style.new_figure(width, 1.1 + 1.55 * len(models), table)
        grid = figure.subplots(
            len(models), len(benchmarks), sharex="row", sharey=True, squeeze=False
        )
        style.letter_panels(grid.flat)
        for axes_row, model in zip(grid, models, strict=True):
            for axes, benchmark in zip(axes_row, benchmarks, strict=True):
                panel = table[(table["model"] == model) & (table["benchmark"] == benchmark)]
                for place, protocol in enumerate(protocols):
                    rows = panel[panel["protocol"] == protocol].sort_values("n_removed")
                    if rows.empty:
                        continue
                    shown = kept_counts.get((model, rows["task"].iloc[0]))
                    shift = 0.12 * (place - (len(protocols) - 1) / 2)
                    _draw(axes, rows, protocol, shift, shown)
                words = benchmark_label(benchmark)
                axes.set_title(words if len(models) == 1 else f"{words}, {model_label(model)}")
                axes.xaxis.set_major_locator(style.WholeNumbers())
                if percent:
                    axes.set_ylim(*style.PERCENT)
            axes_row[0].set_ylabel("Score (%)" if percent else "Score")
        for axes in grid[-1]:
            axes.set_xlabel("Layers skipped")
        _add_legend(figure, protocols, with_counts=counts is not None)
        notes = [tables.describe_n(table), tables.describe_metrics(table),
                 tables.describe_intervals(table, "Bars")]  # fmt: skip
        if counts is not None:
            margin, test = counts["margin"].iloc[0], counts["test"].iloc[0]
            notes.append(f"Filled: drop shown to be below {margin:g} points ({test}).")
        style.finish(figure, notes, caption=caption)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, protocol: str, shift: float, shown: int | None) -> None:
    """Draw one protocol in one panel; steps not shown to keep the score have empty markers."""
    colour, marker = COLOURS.get(protocol, palette.BLACK), MARKERS.get(protocol, "D")
    x = rows["n_removed"].to_numpy(float) + shift
    axes.vlines(x, rows["low"], rows["high"], color=colour, linewidth=0.7)
    axes.plot(x, rows["value"], color=colour)
    full = (rows["n_removed"] <= (shown if shown is not None else len(rows))).to_numpy()
    points: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "linestyle": "none",
        "markersize": 3.6 if len(rows) <= 16 else 2.0,
    }
    axes.plot(x[full], rows["value"][full], **points)
    axes.plot(x[~full], rows["value"][~full], markerfacecolor="white", **points)


def _add_legend(figure: style.PrintFigure, protocols: list[str], *, with_counts: bool) -> None:
    """The protocols and, where steps were counted, what filled and empty markers mean."""
    series = [
        Line2D([], [], color=COLOURS.get(p, palette.BLACK), marker=MARKERS.get(p, "D"),
               label=protocol_label(p))
        for p in protocols
    ]  # fmt: skip
    grey: dict[str, Any] = {"color": style.GREY, "linestyle": "none", "marker": "o"}
    signs = (
        [
            Line2D([], [], label="Shown to keep the score", **grey),
            Line2D([], [], label="Not shown", markerfacecolor="white", **grey),
        ]
        if with_counts
        else []
    )
    style.add_legend(figure, series, signs)

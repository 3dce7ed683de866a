"""Curves of retrieval: score by depth, accuracy by ablated heads, accuracy by gold position."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd

from interp.figures import palette, style, tables
from interp.labels import metric_label, model_label, renamed, task_label, uncapitalised
from interp.stats import BASELINE

THRESHOLD = 0.1
"""The score from which Wu et al. (arXiv 2404.15574) call a head a retrieval head."""


def depth(
    source: Any, *, labels: Mapping[str, str] | None = None, width: float = style.COLUMN
) -> style.PrintFigure:
    """Retrieval score by layer: a dot per head with its interval, a line through the best heads.

    Args:
        source: `RetrievalHeads`, its `table()`, or several of either.
        labels: the words that are printed for models, by their names.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel per model.
    """
    table = tables.table_from(source, "table")
    with renamed(labels):
        return _depth(table, width)


def _depth(table: pd.DataFrame, width: float) -> style.PrintFigure:
    models = tables.in_order(table["model"])
    looks = palette.model_looks(models)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 2.5, table)
        axes = figure.subplots()
        middle = (len(models) - 1) / 2
        for place, model in enumerate(models):
            rows = table[table["model"] == model]
            best = rows.groupby("layer")["score"].max()
            shift = 0.18 * (place - middle)
            axes.plot(best.index + shift, best, color=looks[model].colour)
            axes.vlines(rows["layer"] + shift, rows["low"], rows["high"], color=looks[model].colour,
                        linewidth=0.6, alpha=0.5)  # fmt: skip
            axes.plot(
                rows["layer"] + shift, rows["score"], color=looks[model].colour,
                linestyle="none", marker=looks[model].marker, markersize=2.8,
                label=model_label(model),
            )  # fmt: skip
        axes.axhline(THRESHOLD, color=style.GREY, linewidth=0.8, linestyle="--")
        axes.set_xlabel("Layer")
        axes.set_ylabel("Retrieval score")
        axes.set_ylim(-0.03, 1.03)
        axes.xaxis.set_major_locator(style.WholeNumbers())
        if len(models) > 1:
            figure.legend(loc="outside upper center", ncols=min(3, len(models)))
        counts = " and ".join(str(n) for n in sorted(set(table["n"])))
        notes = [
            f"n = {counts} rightly answered examples. A mark: one head. Dashed: {THRESHOLD:g}, "
            "from which Wu et al. call it a retrieval head.",
            tables.describe_intervals(table, "Bars"),
            "Line: the best head of each layer.",
        ]
        style.finish(figure, notes)
    return figure


def removal(curve: pd.DataFrame, *, width: float | None = None) -> style.PrintFigure:
    """Accuracy by number of ablated heads, for the best retrieval heads and for random ones.

    Args:
        curve: a table of `interp.attention.contrast.removal_curve`, or several concatenated; there
            is a panel per model and task.
        width: width in inches; by default a column for one panel, otherwise the page.

    Returns:
        A Matplotlib figure of one panel per model and task.
    """
    panels = list(curve.groupby(["model", "task"], sort=False))
    looks = {
        "top": ("Highest retrieval score", palette.VERMILION, "o"),
        "random": ("Random, same layers", palette.BLUE, "s"),
    }
    several = len({task for (_, task), _ in panels}) > 1
    with matplotlib.rc_context(style.RC):
        style.check_width(width)
        size = width or (style.COLUMN if len(panels) == 1 else style.PAGE)
        figure = style.new_figure(size, 2.8, curve)
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for place, (axes, ((model, task), rows)) in enumerate(zip(grid, panels, strict=True)):
            for kind, (label, colour, marker) in looks.items():
                line = rows[rows["kind"] == kind].sort_values("k")
                low, high = line["low"].to_numpy(float), line["high"].to_numpy(float)
                axes.fill_between(line["k"], low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(line["k"], line["value"], color=colour, marker=marker,
                          label=label if place == 0 else None)  # fmt: skip
            title = model_label(str(model))
            title += f", {uncapitalised(task_label(str(task)))}" if several else ""
            if len(panels) > 1:
                axes.set_title(title)
            axes.set_xlabel("Heads removed")
            axes.set_xticks(sorted(set(rows["k"])))
        style.letter_panels(grid)
        unit = " (%)" if curve["unit"].eq("points").all() else ""
        grid[0].set_ylabel(metric_label(curve["metric"].iloc[0], filtered=False) + unit)
        if unit:
            grid[0].set_ylim(*style.PERCENT)
        figure.legend(loc="outside upper center", ncols=2)
        draws = int(curve["draws"].max())
        top = curve[curve["kind"] == "top"]
        style.finish(
            figure,
            [
                tables.describe_n(curve),
                tables.describe_intervals(top, "Band of the highest"),
                f"Line and band of the random ones: mean, lowest and highest of up to {draws} "
                "draws (no band: one draw), as many heads per layer, none of the highest.",
            ],
        )
    return figure


def gold_position(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, width: float = style.COLUMN
) -> style.PrintFigure:
    """Accuracy by the place of the gold pair in the context, a line per ablation.

    Args:
        table: `interp.attention.by_gold_position`: columns `label`, `gold_position`, `value`,
            `low`, `high` (percent), `n` and `interval`.
        labels: the words that are printed for the lines, by their names.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel.
    """
    words = labels or {}
    names = tables.in_order(table["label"], [BASELINE])
    looks = _black_first(names)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 2.7, table)
        axes = figure.subplots()
        for place, name in enumerate(names):
            rows = table[table["label"] == name].sort_values("gold_position")
            # side by side, because the bands of several lines would hide each other
            x = rows["gold_position"].to_numpy(float) + 0.15 * (place - (len(names) - 1) / 2)
            axes.vlines(
                x, rows["low"], rows["high"], color=looks[name].colour, linewidth=0.8, alpha=0.7
            )
            axes.plot(
                x, rows["value"], color=looks[name].colour, marker=looks[name].marker,
                label=words.get(name, "Baseline" if name == BASELINE else name),
            )  # fmt: skip
        axes.set_xlabel("Place of the gold pair in the context (0: first)")
        axes.set_ylabel("Accuracy (%)")
        axes.set_ylim(*style.PERCENT)
        axes.xaxis.set_major_locator(style.WholeNumbers())
        figure.legend(loc="outside upper center", ncols=2)
        low, high = int(table["n"].min()), int(table["n"].max())
        shown = f"{low}" if low == high else f"{low} to {high}"
        style.finish(
            figure,
            [f"n = {shown} examples a place.", tables.describe_intervals(table, "Bars")],
        )
    return figure


def _black_first(names: list[str]) -> dict[str, palette.Look]:
    """The baseline is black; the ablations have the other colours."""
    order = palette.looks(names)
    colours = [palette.BLACK, *(c for c in palette.COLOURS if c != palette.BLACK)]
    return {
        name: palette.Look(colours[place % len(colours)], order[name].marker)
        for place, name in enumerate(names)
    }

"""Curves of retrieval: score by depth, accuracy by heads removed, accuracy by gold position."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from interp.errors import UserError
from interp.figures import style, tables
from interp.labels import metric_label, model_label, task_label, uncapitalised
from interp.stats import wilson


def depth(table: pd.DataFrame) -> style.PrintFigure:
    """Retrieval score by layer: a dot a head with its interval, and the best of each layer joined.

    Args:
        table: `RetrievalHeads.table()`, or several of them concatenated.
    """
    models = tables.in_order(table["model"])
    colours = style.model_colours(models)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(style.COLUMN, 2.5, table)
        axes = figure.subplots()
        middle = (len(models) - 1) / 2
        for place, model in enumerate(models):
            rows = table[table["model"] == model]
            best = rows.groupby("layer")["score"].max()
            shift = 0.18 * (place - middle)
            axes.plot(best.index + shift, best, color=colours[model])
            axes.vlines(rows["layer"] + shift, rows["low"], rows["high"], color=colours[model],
                        linewidth=0.6, alpha=0.5)  # fmt: skip
            axes.plot(
                rows["layer"] + shift, rows["score"], color=colours[model], linestyle="none",
                marker=style.MARKERS[place % len(style.MARKERS)], markersize=2.8,
                label=model_label(model),
            )  # fmt: skip
        axes.set_xlabel("Layer")
        axes.set_ylabel("Retrieval score")
        axes.set_ylim(-0.03, 1.03)
        axes.xaxis.set_major_locator(MaxNLocator(16, integer=True, steps=[1, 2, 4, 5, 10]))
        if len(models) > 1:
            figure.legend(loc="outside upper center", ncols=len(models))
        counts = " and ".join(str(n) for n in sorted(set(table["n"])))
        kind = table["interval"].iloc[0]
        notes = [
            f"n = {counts} rightly answered examples. A mark: one head, bars: {kind} interval."
        ]
        style.finish(figure, [*notes, "Line: the best head of each layer."])
    return figure


def removal(curve: pd.DataFrame, *, width: float | None = None) -> style.PrintFigure:
    """Accuracy against the number of heads removed: the best retrieval heads and random ones.

    Args:
        curve: `interp.attention.contrast.removal_curve`, or several concatenated; a panel a model
            and task.
        width: Inches; by default one column for one panel, else the page.
    """
    panels = list(curve.groupby(["model", "task"], sort=False))
    looks = {
        "top": ("Highest retrieval score", style.VERMILION, "o"),
        "random": ("Random, same layers", style.BLUE, "s"),
    }
    several = len({task for (_, task), _ in panels}) > 1
    with matplotlib.rc_context(style.RC):
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
                axes.set_title(chr(65 + place), loc="left", fontweight="bold")
                axes.set_title(title)
            axes.set_xlabel("Heads removed")
            axes.set_xticks(sorted(set(rows["k"])))
        unit = " (%)" if curve["unit"].eq("points").all() else ""
        grid[0].set_ylabel(metric_label(curve["metric"].iloc[0], filtered=False) + unit)
        if unit:
            grid[0].set_ylim(-3, 103)
        figure.legend(loc="outside upper center", ncols=2)
        draws = int(curve["draws"].max())
        style.finish(
            figure,
            [
                tables.describe_n(curve),
                "Band of the highest: 95% Wilson interval." if unit else "",
                f"Line and band of the random ones: mean, lowest and highest of up to {draws} "
                "draws (no band: one draw), as many heads a layer, none of the highest.",
            ],
        )
    return figure


def gold_position(responses: pd.DataFrame, documents: pd.DataFrame) -> style.PrintFigure:
    """Accuracy by the place of the gold pair, a line an ablation.

    Args:
        responses: one row an example and ablation, with `doc_id`, `ablation` and `correct` (0 or
            1); the baseline among them. Columns `label` name the lines, if there.
        documents: `doc_id` and `gold_position` of every example.

    Raises:
        UserError: examples without a gold position.
    """
    table = responses.merge(documents, on="doc_id", how="left")
    if table["gold_position"].isna().any():
        raise UserError("gold position: some examples have none")
    labels = table["label"] if "label" in table else table["ablation"]
    table = table.assign(label=labels)
    names = tables.in_order(table["label"], ["baseline"])
    colours = [style.BLACK, *[c for c in style.COLOURS if c != style.BLACK]]
    grouped = table.groupby(["label", "gold_position"])["correct"]
    data = grouped.agg(["sum", "count"]).reset_index()
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(style.COLUMN, 2.7, data)
        axes = figure.subplots()
        for place, name in enumerate(names):
            rows = data[data["label"] == name].sort_values("gold_position")
            counts, hits = rows["count"].to_numpy(float), rows["sum"].to_numpy(float)
            bounds = [wilson(np.array([h]), int(c)) for h, c in zip(hits, counts, strict=True)]
            low, high = (np.array([100 * float(b[i][0]) for b in bounds]) for i in (0, 1))
            colour = colours[place % len(colours)]
            # side by side, because bands of several lines would hide each other
            x = rows["gold_position"].to_numpy(float) + 0.15 * (place - (len(names) - 1) / 2)
            axes.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.7)
            axes.plot(
                x,
                100 * hits / counts,
                color=colour,
                marker=style.MARKERS[place % len(style.MARKERS)],
                label="Baseline" if name == "baseline" else name,
            )
        axes.set_xlabel("Place of the gold pair in the context (0: first)")
        axes.set_ylabel("Accuracy (%)")
        axes.set_ylim(-3, 103)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        figure.legend(loc="outside upper center", ncols=2)
        low_n, high_n = int(data["count"].min()), int(data["count"].max())
        shown = f"{low_n}" if low_n == high_n else f"{low_n} to {high_n}"
        style.finish(figure, [f"n = {shown} examples a place. Bars: 95% Wilson interval."])
    return figure

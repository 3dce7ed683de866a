"""Figures of similarity: angular distance, influence, agreement with importance, pruning."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from interp.errors import UserError
from interp.figures import palette, style, tables
from interp.figures.labels import label_points
from interp.labels import model_label, p_words, renamed, source_label, split_task, task_label

RHO = "\N{GREEK SMALL LETTER RHO}"

ORDERS = (
    "measured importance",
    "block influence",
    "angular distance (block)",
    "from the deepest",
    "random",
)
ORDER_COLOURS = dict(
    zip(
        ORDERS,
        (palette.BLUE, palette.VERMILION, palette.GREEN, palette.PURPLE, "#808080"),
        strict=True,
    )
)
ORDER_MARKERS = dict(zip(ORDERS, ("o", "s", "^", "D", None), strict=True))
# greedy removal scores the same sets twice: on the examples that chose, and on others
CHOSEN_ON, HELD_OUT = "on the examples that chose", "on other examples"
ORDER_COLOURS |= {CHOSEN_ON: "#808080", HELD_OUT: palette.VERMILION}
ORDER_MARKERS |= {CHOSEN_ON: "D", HELD_OUT: "o"}


def angular(source: Any, *, width: float | None = None) -> style.PrintFigure:
    """The angular distance of each block of layers, by first layer and size, a panel per series.

    Args:
        source: `Similarity`, its `angular`, or several of either (models or sources); also
            `study_angular_distance`, whose rescaled values get a colour bar of their own.
        width: width in inches; by default a column for one panel, otherwise the page.

    Returns:
        A Matplotlib figure of one panel per series.
    """
    table = tables.table_from(source, "angular")
    keys = ["model", "source"]
    series = list(dict.fromkeys(table[keys].itertuples(index=False, name=None)))
    study = [source.endswith("script") for _, source in series]
    raw = table[~table["source"].str.endswith("script")]["value"]
    top = float(raw.max()) if len(raw) else 1.0
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        style.check_width(width)
        size = width or (style.COLUMN if len(series) == 1 else style.PAGE)
        figure = style.new_figure(size, 1.05 + size / len(series) * 0.72, table)
        panels = figure.subplots(1, len(series), squeeze=False)[0]
        for place, (axes, (model, source)) in enumerate(zip(panels, series, strict=True)):
            rows = table[(table["model"] == model) & (table["source"] == source)]
            cells = rows.pivot(index="block", columns="layer", values="value")  # noqa: PD010
            image = axes.imshow(
                cells, cmap="viridis_r", origin="lower", aspect="equal", vmin=0,
                vmax=1 if study[place] else top,
                extent=(-0.5, cells.columns.max() + 0.5, 0.5, cells.index.max() + 0.5),
            )  # fmt: skip
            _mark_best(axes, rows)
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(style.WholeNumbers())
            axes.set_xlabel("First layer of the block")
            if place == 0:
                axes.set_ylabel("Layers in the block")
            if len(series) > 1:
                axes.set_title(f"{model_label(model)}\n{source_label(source)}")
            bar = figure.colorbar(image, ax=axes, pad=0.02, shrink=0.8, aspect=18)
            bar.outline.set_linewidth(0.6)
            bar.set_label("Rescaled by row" if study[place] else "Angular distance (share of π)")
        style.letter_panels(panels)
        notes = ["Ring: the block of each size that turns the residual stream least."]
        if "n" in table:
            notes.insert(0, tables.describe_n(table[table["n"].notna()]))
        style.finish(figure, notes)
        style.trim(figure, panels)
    return figure


def influence(source: Any, *, width: float = style.COLUMN) -> style.PrintFigure:
    """Block influence by layer with intervals, a line per model or source.

    Args:
        source: `Similarity`, its `influence`, or several of either.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel.
    """
    table = tables.table_from(source, "influence")
    by_model = len(set(table["model"])) > 1
    if by_model and len(set(table["source"])) > 1:
        raise UserError("influence: several models or several sources, not both in one figure")
    key = "model" if by_model else "source"
    names = tables.in_order(table[key]) if by_model else tables.tasks_in_order(table[key])
    looks = palette.model_looks(names) if by_model else _source_looks(names)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 2.1 + 0.16 * len(names), table)
        axes = figure.subplots()
        for name in names:
            rows = table[table[key] == name].sort_values("layer")
            axes.fill_between(
                rows["layer"], rows["low"], rows["high"], color=looks[name].colour, alpha=0.18,
                linewidth=0,
            )  # fmt: skip
            axes.plot(
                rows["layer"], rows["value"], color=looks[name].colour,
                marker=looks[name].marker,
                label=model_label(name) if by_model else source_label(name),
            )  # fmt: skip
        axes.set_xlabel("Layer")
        axes.set_ylabel("Block influence (1 \N{MINUS SIGN} cosine)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(style.WholeNumbers())
        if len(names) > 1:
            figure.legend(loc="outside upper center", ncols=1 if width < 5 else 3)
        style.finish(figure, [tables.describe_n(table), tables.describe_intervals(table, "Shaded")])
    return figure


def agreement(
    points: pd.DataFrame,
    correlations: pd.DataFrame,
    *,
    measure: str = "block influence",
    similarity_n: int | None = None,
    width: float = style.PAGE,
) -> style.PrintFigure:
    """The similarity of each layer by its importance, labelled with its number, a panel per task.

    Args:
        points: the second table of `interp.stats.layer_correlations`, one model and one metric
            per task.
        correlations: the first table of `interp.stats.layer_correlations`.
        measure: the name of the similarity.
        similarity_n: the number of examples or texts on which similarity was measured, for the
            caption.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel per task.
    """
    points = points[points["measure"] == measure]
    if points.empty or len(set(points["model"])) > 1:
        raise UserError(f"agreement: one model, and a measure that it has; {measure!r} was asked")
    tasks = tables.tasks_in_order(points["task"])
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(len(tasks), points, height=(0.6, 1.75), width=width)
        labels: list[tuple[Axes, list[float], list[float], list[str], str]] = []
        for axes, task in zip(panels.flat, tasks, strict=False):
            rows = points[points["task"] == task]
            (colour,) = palette.skill_colours([split_task(task)[0]]).values()
            x, y = rows["similarity"].to_list(), (100 * rows["drop"]).to_list()
            labels.append((axes, x, y, [str(layer) for layer in rows["layer"]], colour))
            axes.axhline(0, color=style.GREY, linewidth=0.8)
            axes.plot(x, y, linestyle="none", marker="o", color=colour, alpha=0.35, markersize=3)
            axes.margins(0.08, 0.16)
            row = correlations[
                (correlations["task"] == task) & (correlations["measure"] == measure)
            ].iloc[0]
            axes.set_title(f"{task_label(task)}\n{_rho(row)}", fontsize=style.SMALL)
        words = f"{measure[:1].upper()}{measure[1:]}"
        style.name_panels(panels, len(tasks), x=words, y="Drop when skipped\n(points)")
        first = correlations.iloc[0]
        style.finish(
            figure,
            [
                "Numbers: layers.",
                tables.describe_n(correlations)
                if similarity_n is None
                else f"Drops: {tables.describe_n(correlations)} Similarity: n = {similarity_n}.",
                f"{RHO}: Spearman over layers; ceiling: an estimate of the highest that the noise "
                f"of n examples allows on average; p: {first['test']}.",
            ],
        )
        for one in labels:
            label_points(*one)
    return figure


def pruning(
    source: Any,
    *,
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = style.PAGE,
    ylim: tuple[float, float] | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Score by number of skipped layers, a line per order, a panel per task.

    Args:
        source: from `pruning_curves`, with one model and one metric per task; or the result of
            `greedy_removal`, whose held-out scores have a band.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks, by their names.
        width: width of the figure in inches.
        ylim: limits of the vertical axes.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per task.

    Raises:
        UserError: there is no curve, or there are several models or metrics.
    """
    table = tables.only_tasks(tables.table_from(source, "curve"), tasks)
    page = style.Page(width, ylim, caption)
    with renamed(labels):
        return _pruning(table, page)


def _pruning(table: pd.DataFrame, page: style.Page) -> style.PrintFigure:
    if table.groupby(["task", "order", "draw", "n_removed"]).size().gt(1).any():
        raise UserError("pruning: one model and one metric per task; keep one")
    tasks = tables.tasks_in_order(table["task"])
    orders = tables.in_order(table["order"], ORDERS)
    percent = (table["unit"] == "points").all()
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(len(tasks), table, height=(1.0, 1.45), width=page.width)
        for axes, task in zip(panels.flat, tasks, strict=False):
            for name in orders:
                rows = table[(table["task"] == task) & (table["order"] == name)]
                _draw_order(axes, rows, name)
            axes.set_title(task_label(task))
            axes.xaxis.set_major_locator(style.WholeNumbers())
            if percent or page.ylim is not None:
                axes.set_ylim(*(page.ylim or style.PERCENT))
        score = "Score (%)" if percent else "Score"
        style.name_panels(panels, len(tasks), x="Layers skipped", y=score)
        handles = [
            Line2D([], [], color=_order_colour(n), marker=ORDER_MARKERS.get(n, "o"),
                   label=f"{n[:1].upper()}{n[1:]}")
            for n in orders
        ]  # fmt: skip
        style.add_legend(figure, handles, [])
        split = table.assign(protocol=[split_task(t)[1] for t in table["task"]])
        shaded = "Shaded" if HELD_OUT in orders else "Bars"
        notes = [
            tables.describe_n(table),
            tables.describe_metrics(split),
            tables.describe_intervals(table, shaded),
        ]
        draws = (
            int(table[table["order"] == "random"]["draw"].max() + 1) if "random" in orders else 0
        )
        if draws:
            notes.append(f"Random: mean and range of {draws} draws.")
        if HELD_OUT in orders:
            notes.append("Scores on the examples that chose flatter what was chosen.")
        style.finish(figure, notes, caption=page.caption)
    return figure


def _mark_best(axes: Axes, rows: pd.DataFrame) -> None:
    best = rows.loc[rows.groupby("block")["value"].idxmin()]
    axes.plot(
        best["layer"], best["block"], linestyle="none", marker="o", markersize=4,
        markerfacecolor="none", color=palette.VERMILION, markeredgewidth=1.0,
    )  # fmt: skip


def _rho(row: Any) -> str:
    rho, ceiling, p = (float(row[name]) for name in ("rho", "ceiling", "p"))
    if np.isnan(rho):
        return "no spread"
    most = "no ceiling" if np.isnan(ceiling) else f"ceiling {ceiling:.2f}"
    words = f"{RHO} = {rho:.2f} ({most}), {p_words(p, row.get('least_p', 0.0))}"
    return words.replace("-", "\N{MINUS SIGN}")


def _draw_order(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    colour = _order_colour(name)
    if name == "random":
        by_number = rows.groupby("n_removed")["value"].agg(["mean", "min", "max"])
        axes.fill_between(
            by_number.index, by_number["min"], by_number["max"], color=colour, alpha=0.22,
            linewidth=0,
        )  # fmt: skip
        axes.plot(by_number.index, by_number["mean"], color=colour)
        return
    rows = rows.sort_values("n_removed")
    if name == HELD_OUT:
        axes.fill_between(
            rows["n_removed"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0
        )
    elif name != CHOSEN_ON:
        axes.vlines(rows["n_removed"], rows["low"], rows["high"], color=colour, linewidth=0.7)
    size = 2.2 if len(rows) > 20 else 3.6
    axes.plot(
        rows["n_removed"], rows["value"], color=colour, marker=ORDER_MARKERS.get(name, "o"),
        markersize=size,
    )  # fmt: skip


def _order_colour(name: str) -> str:
    return ORDER_COLOURS.get(name, palette.ORANGE)


def _source_looks(names: list[str]) -> dict[str, palette.Look]:
    benchmarks = [split_task(name)[0] for name in names]
    if len(set(benchmarks)) == len(names):
        by_benchmark = palette.skill_looks(benchmarks)
        return dict(zip(names, (by_benchmark[b] for b in benchmarks), strict=True))
    return palette.looks(names)

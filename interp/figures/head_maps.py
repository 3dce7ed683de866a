"""Maps over two numbers: heads by layer, blocks by first layer and size, pairs of layers."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import UserError, check_whole
from interp.figures import drop_scales, style, tables
from interp.figures.families import kinds
from interp.labels import model_label, renamed, series_titles
from interp.results import MetricChoice, choose_metric

CELL, LEAST_CELL = 0.16, 0.045
"""The height of a cell in inches, and the smallest height in a map with many rows."""

HIGHEST = 8.0
"""The largest height of the panels of a figure, in inches: a page with its caption."""

LEAST_PANEL = 0.65
"""The smallest height, in inches, of a panel with named rows: room for the names of its axes."""

LETTER = 0.125
"""The height of a line of text, in inches."""

RING = 5.0
"""The smallest cell, in points, that can hold a ring; smaller ones get a dot."""

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"


class Map(NamedTuple):
    """One panel: its cells, its title, and the cells that are marked (columns `x` and `y`)."""

    cells: pd.DataFrame
    title: str
    marked: pd.DataFrame


class Scale(NamedTuple):
    """The colour bar, the names of the axes, and the names of rows without numbers."""

    label: str
    low: float
    high: float
    x: str = "Head"
    y: str = "Layer"
    rows: tuple[str, ...] = ()
    """The names of the rows from the bottom; if empty, rows are numbered."""


def retrieval_map(
    source: Any,
    *,
    mark: int = 0,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Retrieval score of every head, a panel per model.

    Args:
        source: `RetrievalHeads`, its `table()`, or several of either.
        mark: the number of best heads of each model that get a ring.
        labels: the words that are printed for models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per model, layers by heads.

    Raises:
        UserError: `mark` is no whole number from 0 on, or there is no table of heads.
    """
    check_whole("mark", mark, 0)
    table = tables.table_from(source, "table")
    table = table.assign(x=table["head"], y=table["layer"])
    models = tables.in_order(table["model"])
    counts = sorted({int(table.loc[table["model"] == model, "n"].iloc[0]) for model in models})
    notes = [
        f"n = {' and '.join(map(str, counts))} rightly answered examples.",
        "Score: share of the answer's tokens on which the head's strongest attention lies while "
        "they are copied.",
    ]
    if mark:
        notes.append(f"{{mark}}: the {mark} best heads.")
    with renamed(labels):
        panels = []
        for model in models:
            rows = table[table["model"] == model]
            best = rows.nlargest(mark, "score", keep="first")
            panels.append(Map(cells_of(rows, "score"), model_label(model), best))
        page = style.Page(width=width, caption=caption)
        return printed(draw_maps(table, panels, Scale("Retrieval score", 0.0, 1.0), notes, page))


def importance_map(
    source: tables.Source,
    *,
    metric: MetricChoice = None,
    kind: str | None = None,
    tasks: str | list[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
    ax: Axes | None = None,
    drop: str = "points",
) -> Figure:
    """The drop of every head's ablation, a panel per task (and model), significant cells marked.

    Args:
        source: a sweep of all heads (or of key/value groups, blocks or pairs of layers), its table
            of importance, or several of either.
        metric: a metric for all tasks, or a mapping from tasks to metrics; see `choose_metric`.
        kind: the kind of ablations: `head`, `head@mean`, `head@resample`, `kvgroup`, ...; by
            default heads replaced by their mean if there are any, otherwise the first kind in the
            table.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.
        ax: your own axes, for a figure of one panel.
        drop: scale of the drops: `points`, `floor-aware` or `relative` (`interp.figures.drops`).

    Returns:
        A Matplotlib figure; the one of `ax` where axes are given.

    Raises:
        UserError: there is no such ablation, or `ax` is given and there are several panels.
    """
    table = choose_metric(tables.only_tasks(tables.table_of(source, "importance"), tasks), metric)
    page = style.Page(width=width, caption=caption, ax=ax)
    table = drop_scales.on_scale(table, drop)
    with renamed(labels):
        return draw_map(table, kind=kind, page=page)


def draw_map(
    table: pd.DataFrame, *, kind: str | None = None, page: style.Page = style.PLAIN
) -> Figure:
    """Drops as cells of a map; see `importance_map`.

    Args:
        table: drops of one metric per task.
        kind: the kind of ablations.
        page: the size and the limits of the figure.

    Returns:
        A Matplotlib figure of one panel per task and model.
    """
    table, chosen = tables.of_kind(table, kind or _preferred(table))
    if chosen.shape != "map":
        raise UserError(f"kind {chosen.name}: it is drawn as a {chosen.shape}, not as a map")
    if len(set(table["unit"])) > 1:
        raise UserError("the map would mix points and values; choose with metric= or tasks=")
    table = table[table["place"].notna()]
    table = table.assign(x=table["place"].astype(int), y=table["row"].astype(int))
    panels = {
        (str(model), task): rows[rows["task"] == task]
        for model, rows in table.groupby("model", sort=False)
        for task in tables.tasks_in_order(rows["task"])
    }
    limit = tables.colour_limit(table)
    titles = series_titles(panels)
    label = drop_scales.drop_label(table)
    replaced = chosen.name.partition("@")[2]
    notes = [
        f"Heads replaced: {replaced}." if chosen.name.startswith("head@") else "",
        tables.describe_n(table),
        tables.describe_metrics(table),
        f"{{mark}}: {tables.p_name(table)} < {tables.ALPHA:g}.",
        tables.describe_tests(table),
        *tables.describe_untestable(table),
        *tables.describe_choice(table),
        *tables.describe_truncation(table),
        *tables.describe_failures(table),
    ]
    maps = [
        Map(cells_of(rows, "drop"), titles[name], rows[rows["p_adjusted"] < tables.ALPHA])
        for name, rows in panels.items()
    ]
    return draw_maps(table, maps, Scale(label, -limit, limit, *chosen.axes), notes, page)


def _preferred(table: pd.DataFrame) -> str:
    map_kinds = [kind.name for kind in kinds(table["ablation"]).values() if kind.shape == "map"]
    if not map_kinds:
        raise UserError("no ablation head:N.M to draw; sweep all heads (--ablate heads)")
    return "head@mean" if "head@mean" in map_kinds else map_kinds[0]


def cells_of(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """The cells of a map; NaN where there is no row.

    Args:
        rows: rows with columns `x` and `y`, whole numbers from 0 on, and the value.
        value: the name of the column that is drawn.

    Returns:
        One column per `x` and one row per `y`.
    """
    # pivot_table would average what pivot refuses
    grid = rows.pivot(index="y", columns="x", values=value)  # noqa: PD010
    size = range(int(rows["y"].max()) + 1), range(int(rows["x"].max()) + 1)
    return grid.reindex(index=size[0], columns=size[1]).astype(float)


def draw_maps(
    table: pd.DataFrame, maps: list[Map], scale: Scale, notes: list[str], page: style.Page
) -> Figure:
    """Draw panels of cells with one colour bar and a caption.

    Args:
        table: all rows that are drawn, with the cell of each in `x` and `y`.
        maps: the panels. Marked rows have their value in `drop` if the colour scale diverges,
            otherwise in `score`.
        scale: the scale of all panels.
        notes: sentences of the caption; `{mark}` is replaced by the name of the marks.
        page: the size and the limits of the figure.

    Returns:
        The figure; the one of `page.ax` where axes are given.

    Raises:
        UserError: axes are given and there are several panels.
    """
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        named = bool(scale.rows)
        height = _height(maps, page, square=scale.y != "Layer", named=named)
        figure, panels = _panels(table, len(maps), height, page)
        image = None
        for axes, head_map in zip(panels.flat, maps, strict=False):
            if len(maps) > 1 or page.ax is None:
                axes.set_title(head_map.title)
            axes.set_facecolor("#d8d8d8")
            image = axes.imshow(
                np.ma.masked_invalid(head_map.cells.to_numpy(float)), origin="lower", aspect="auto",
                vmin=scale.low, vmax=scale.high, cmap=DIVERGING if scale.low < 0 else SEQUENTIAL,
            )  # fmt: skip
            if scale.y != "Layer" and not scale.rows:
                # blocks have one layer at least: no empty row below them
                first = int(head_map.cells.notna().any(axis=1).to_numpy().argmax())
                axes.set_ylim(first - 0.5, len(head_map.cells) - 0.5)
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(style.WholeNumbers())
            if scale.rows:
                _name_rows(axes, scale.rows, height)
        style.name_panels(panels, len(maps), x=scale.x, y=scale.y)
        assert image is not None
        rows = max(len(head_map.cells) for head_map in maps)
        inches = height * rows * len(panels)
        style.add_colour_bar(figure, image, list(panels.flat), label=scale.label, inches=inches)
        figure.draw_without_rendering()
        drawn = list(panels.flat[: len(maps)])
        small = min(min(style.cell_points(axes)[0] for axes in drawn), 72 * height) < RING
        if isinstance(figure, style.PrintFigure):
            words = [note.format(mark="Dots" if small else "Rings") for note in notes]
            style.finish(figure, words, caption=page.caption)
            style.fit_height(figure, panels[:, 0], height * rows)
        for axes, head_map in zip(drawn, maps, strict=True):
            _mark(axes, head_map.marked, small=small, dark=scale.low < 0, limit=scale.high)
    return figure


def _name_rows(axes: Axes, names: tuple[str, ...], inches: float) -> None:
    """Write names beside the rows, as many as there is room for."""
    step = max(1, math.ceil(LETTER / inches))
    chosen = range(0, len(names), step)
    axes.set_yticks(list(chosen), [names[n] for n in chosen])


def _height(maps: list[Map], page: style.Page, *, square: bool, named: bool) -> float:
    """The height of a cell in inches: smaller if the panels would not fit on a page.

    Maps of layers by layers have square cells. A few rows with names are higher, to leave room for
    the names of the axis and of the colour bar. Cells of heads by layers are as wide as there is
    room.
    """
    size = page.width or (style.COLUMN if len(maps) == 1 else style.PAGE)
    lines = -(-len(maps) // style.columns_of(len(maps), size))
    rows = max(len(head_map.cells) for head_map in maps)
    if named:
        most = max(CELL, LEAST_PANEL / rows)
        return float(np.clip(HIGHEST / (lines * rows), LEAST_CELL, most))
    if not square:
        return float(np.clip(HIGHEST / (lines * rows), LEAST_CELL, CELL))
    # the part of a panel's width that axes, names and the colour bar take
    wide = (size - 1.0) / style.columns_of(len(maps), size) - 0.15
    columns = max(head_map.cells.shape[1] for head_map in maps)
    return float(np.clip(min(HIGHEST / (lines * rows), wide / columns), LEAST_CELL / 2, 2 * CELL))


def _panels(
    table: pd.DataFrame, count: int, cell: float, page: style.Page
) -> tuple[Figure, np.ndarray]:
    if page.ax is None:
        rows = int(table["y"].max()) + 1
        return style.new_panels(
            count, table, height=(0.75, 0.4 + cell * rows), width=page.width, sharey=True
        )
    if count > 1:
        raise UserError(
            f"ax: the figure has {count} panels, one per task and model; choose one with "
            "tasks=, or leave ax out"
        )
    figure = page.ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure, np.array([[page.ax]])


def _mark(axes: Axes, marked: pd.DataFrame, *, small: bool, dark: bool, limit: float) -> None:
    """Draw rings inside cells, or dots where cells are too small for a ring."""
    cell = min(style.cell_points(axes))
    values = marked["drop"] if dark else marked["score"]
    strong = (values.abs() > 0.6 * limit).to_numpy()
    sizes: dict[str, Any] = (
        {"markersize": 0.5 * cell, "markeredgewidth": 0}
        if small
        else {"markersize": min(5.5, 0.7 * cell), "markeredgewidth": min(0.9, 0.12 * cell),
              "markerfacecolor": "none"}
    )  # fmt: skip
    for chosen, colour in ((strong, "white"), (~strong, "black")):
        axes.plot(
            marked["x"][chosen], marked["y"][chosen], linestyle="none", marker="o",
            color=colour if dark else "#E00000", **sizes,
        )  # fmt: skip


def printed(figure: Figure) -> style.PrintFigure:
    """The same figure, typed as a `PrintFigure`, which it is if no axes were given."""
    assert isinstance(figure, style.PrintFigure)
    return figure

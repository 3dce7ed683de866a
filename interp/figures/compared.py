"""Scores by skipped layer, with a line per model or per metric."""

from collections.abc import Mapping, Sequence
from typing import Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from interp.errors import UserError
from interp.figures import curves, palette, style, tables
from interp.figures.families import Kind
from interp.labels import metric_label, model_label, renamed, series_titles
from interp.results import MetricChoice, choose_metric
from interp.stats import BASELINE


def by_model(
    source: tables.Source,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Score by ablated layer, a line per model with its baseline dashed, a panel per task.

    For models of different depth the horizontal axis is the share of the depth.

    Args:
        source: sweeps of several models, or their tables of scores.
        metric: a metric for all tasks, or a mapping from tasks to metrics; see `choose_metric`.
        kind: the kind of ablations of one layer; as for `interp.figures.layers`.
        tasks: the tasks that are drawn; all by default.
        labels: the words that are printed for tasks, metrics and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per task.

    Raises:
        UserError: there is no such ablation, task or metric.
    """
    scores = tables.only_tasks(tables.table_of(source, "scores"), tasks)
    table, chosen = tables.of_kind(choose_metric(scores, metric), kind)
    with renamed(labels):
        return _panels(table, "model", chosen, style.Page(width=width, caption=caption))


def by_metric(
    source: tables.Source,
    *,
    metrics: tuple[str, ...] = ("acc", "acc_norm", "acc_ce"),
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Score by ablated layer: a line per metric, its baseline dashed; a panel per task and model.

    Args:
        source: a sweep, its table of scores, or several of either.
        metrics: the metrics that are drawn; a task may lack some.
        kind: as for `by_model`.
        tasks: as for `by_model`.
        labels: as for `by_model`.
        width: as for `by_model`.
        caption: as for `by_model`.

    Returns:
        A Matplotlib figure of one panel per task and model.

    Raises:
        UserError: no task has any of the metrics, or they have several units.
    """
    scores = tables.only_tasks(tables.table_of(source, "scores"), tasks)
    selected = scores[scores["metric"].isin(metrics)]
    if selected.empty:
        raise UserError(f"metrics {', '.join(metrics)}: the table has none of them")
    if len(set(selected["unit"])) > 1:
        raise UserError(f"metrics {', '.join(metrics)}: some are percentages, others are not")
    place = {name: number for number, name in enumerate(metrics)}
    selected = selected.sort_values("metric", key=lambda names: names.map(place), kind="stable")
    table, chosen = tables.of_kind(selected, kind)
    with renamed(labels):
        return _panels(table, "metric", chosen, style.Page(width=width, caption=caption))


def _panels(
    table: pd.DataFrame, what: Literal["model", "metric"], chosen: Kind, page: style.Page
) -> style.PrintFigure:
    names = tables.in_order(table[what])
    looks = palette.model_looks(names) if what == "model" else palette.metric_looks(names)
    tasks = tables.tasks_in_order(table["task"])
    # a panel holds all models or one
    models = [None] if what == "model" else tables.in_order(table["model"])
    panels = [(model, task) for model in models for task in tasks]
    titles = series_titles((model or "", task) for model, task in panels)
    deepest = table.groupby("model")["place"].max()
    relative = what == "model" and len(set(deepest)) > 1
    crowded = int(deepest.max()) >= curves.MANY
    with matplotlib.rc_context(style.RC):
        figure, grid = style.new_panels(
            len(panels), table, height=(1.0, 1.55), width=page.width, sharey=True
        )
        for axes, (model, task) in zip(grid.flat, panels, strict=False):
            of_panel = table[table["task"] == task]
            of_panel = of_panel if model is None else of_panel[of_panel["model"] == model]
            drawn = [name for name in names if (of_panel[what] == name).any()]
            for place, name in enumerate(drawn):
                rows = of_panel[of_panel[what] == name]
                shift = (
                    0.0 if crowded else curves.dodge(len(drawn)) * (place - (len(drawn) - 1) / 2)
                )
                line = curves.Line(*looks[name], shift, crowded)
                _draw(axes, rows, line, float(deepest[rows["model"].iloc[0]]) * relative)
            axes.set_title(titles[model or "", task])
            axes.xaxis.set_major_locator(MaxNLocator(8) if relative else style.WholeNumbers())
            if table["unit"].eq("points").all():
                axes.set_ylim(*style.PERCENT)
        x = f"{chosen.axes[0]}, share of the depth" if relative else chosen.axes[0]
        percent = table["unit"].eq("points").all()
        y = curves.value_label(table) if what == "model" else "Score (%)" if percent else "Score"
        style.name_panels(grid, len(panels), x=x, y=y)
        words = model_label if what == "model" else metric_label
        handles = [
            Line2D([], [], color=looks[n].colour, label=words(n), marker=looks[n].marker)
            for n in names
        ]  # fmt: skip
        handles.append(Line2D([], [], color=style.GREY, linestyle="--", label="Baseline"))
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=style.legend_columns(handles, figure.get_figwidth()),
        )
        notes = [tables.describe_n(table)]
        notes += [tables.describe_metrics(table)] if what == "model" else []
        notes += [
            tables.describe_intervals(table, "Shaded" if crowded else "Bars"),
            "Dashed with band: baseline, nothing ablated.",
            *tables.describe_truncation(table),
            *tables.describe_failures(table),
        ]
        style.finish(figure, notes, caption=page.caption)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, line: curves.Line, deepest: float) -> None:
    """Draw one line; if `deepest` is given, layers are placed from 0 to 1."""
    if deepest:
        place = rows["place"].astype("Float64") / deepest
        rows = rows.assign(place=place.where(rows["ablation"] != BASELINE))
        line = line._replace(shift=line.shift / deepest)
    curves.draw_score(axes, rows, line)

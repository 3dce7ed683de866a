"""The same layers skipped in several models, or read by several metrics: a line each."""

from typing import Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from interp.errors import UserError
from interp.figures import curves, style, tables
from interp.labels import metric_label, model_label, series_titles
from interp.results import MetricChoice, choose_metric
from interp.stats import BASELINE


def by_model(
    scores: pd.DataFrame,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float | None = None,
) -> style.PrintFigure:
    """Score by ablated layer, a line a model with its baseline dashed, a panel a task.

    Models of different depth are laid over each other by the share of their layers.

    Args:
        scores: The table of `interp.stats.scores`, of several models.
        metric: A metric for all tasks or a mapping task to metric; see `choose_metric`.
        kind: Which ablations of one layer; see `interp.figures.tables.KINDS`.
        width: Inches; by default one column for one panel, else the page.
    """
    table = tables.by_layer(choose_metric(scores, metric), kind)
    return _panels(table, "model", kind=kind, width=width)


def by_metric(
    scores: pd.DataFrame,
    *,
    metrics: tuple[str, ...] = ("acc", "acc_norm", "acc_ce"),
    kind: str = "layer",
    width: float | None = None,
) -> style.PrintFigure:
    """Score by ablated layer, a line a metric with its baseline dashed, a panel a task and model.

    Args:
        scores: The table of `interp.stats.scores`.
        metrics: Those that are drawn; a task may lack some.
        kind: As for `by_model`.
        width: As for `by_model`.

    Raises:
        UserError: no task has one of the metrics.
    """
    chosen = scores[scores["metric"].isin(metrics)]
    if chosen.empty:
        raise UserError(f"metrics {', '.join(metrics)}: the table has none of them")
    place = {name: number for number, name in enumerate(metrics)}
    chosen = chosen.sort_values("metric", key=lambda names: names.map(place), kind="stable")
    table = tables.by_layer(chosen, kind)
    return _panels(table, "metric", kind=kind, width=width)


def _panels(
    table: pd.DataFrame, what: Literal["model", "metric"], *, kind: str, width: float | None
) -> style.PrintFigure:
    names = tables.in_order(table[what])
    colours = style.model_colours(names) if what == "model" else style.metric_colours(names)
    tasks = tables.tasks_in_order(table["task"])
    # a panel holds all models or one
    models = [None] if what == "model" else tables.in_order(table["model"])
    panels = [(model, task) for model in models for task in tasks]
    titles = series_titles((model or "", task) for model, task in panels)
    deepest = table.groupby("model")["layer"].max()
    relative = what == "model" and len(set(deepest)) > 1
    crowded = int(deepest.max()) >= curves.MANY
    with matplotlib.rc_context(style.RC):
        figure, grid = style.new_panels(
            len(panels), table, height=(1.0, 1.55), width=width or style.PAGE, sharey=True
        )
        for axes, (model, task) in zip(grid.flat, panels, strict=False):
            here = table[table["task"] == task]
            here = here if model is None else here[here["model"] == model]
            for place, name in enumerate(names):
                rows = here[here[what] == name]
                shift = 0.0 if crowded else curves.DODGE * (place - (len(names) - 1) / 2)
                marker = style.MARKERS[place % len(style.MARKERS)]
                look = curves.Line(colours[name], marker, shift, crowded)
                if len(rows):
                    _draw(axes, rows, look, float(deepest[rows["model"].iloc[0]]) * relative)
            axes.set_title(titles[model or "", task])
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=not relative))
            if table["unit"].eq("points").all():
                axes.set_ylim(-2, 102)
        x = f"{tables.KINDS[kind]}, share of the depth" if relative else tables.KINDS[kind]
        y = curves.value_label(table) if what == "model" else "Score (%)"
        style.name_panels(grid, len(panels), x=x, y=y)
        words = model_label if what == "model" else metric_label
        handles = [
            Line2D([], [], color=colours[n], label=words(n),
                   marker=style.MARKERS[place % len(style.MARKERS)])
            for place, n in enumerate(names)
        ]  # fmt: skip
        handles.append(Line2D([], [], color="#606060", linestyle="--", label="Baseline"))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)))
        notes = [tables.describe_n(table)]
        notes += [tables.describe_metrics(table)] if what == "model" else []
        notes += [
            tables.describe_intervals(table, "Shaded" if crowded else "Bars"),
            "Dashed with band: baseline, nothing ablated.",
        ]
        style.finish(figure, notes)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, look: curves.Line, deepest: float) -> None:
    """One line; with a depth the layers are laid out from 0 to 1."""
    if deepest:
        layer = rows["layer"].astype("Float64") / deepest
        rows = rows.assign(layer=layer.where(rows["ablation"] != BASELINE))
        look = look._replace(shift=look.shift / deepest)
    curves.draw_score(axes, rows, look)

"""Models side by side: profiles, differences of drops, swap curves, weight distances."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from interp.errors import UserError
from interp.figures import drop_scales, palette, style, tables
from interp.labels import metric_label, model_label, p_words, renamed, task_label, uncapitalised
from interp.results import MetricChoice, choose_metric
from interp.stats import BASELINE

PARTS = {"layer": "Whole layer", "attention": "Attention only", "mlp": "MLP only"}
PART_COLOURS = {"layer": palette.BLACK, "attention": palette.SKY, "mlp": palette.ORANGE}
PART_MARKERS = {"layer": "o", "attention": "s", "mlp": "^"}
CURVES = {
    "single": ("One layer at a time", "Swapped layer"),
    "up": ("From the first layer up", "Layers swapped"),
    "down": ("From the last layer down", "Layers swapped"),
}


def profiles(
    source: Any,
    n_layers: Mapping[str, int] | None = None,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
    drop: str = "points",
) -> style.PrintFigure:
    """Drop over relative depth with intervals, a line per model, a panel per task.

    Args:
        source: a `Comparison`, or its table of importance.
        n_layers: the number of layers of each model; by default that in the comparison.
        metric: a metric for all tasks, or a mapping from tasks to metrics.
        kind: the kind of ablations of one layer; as for `interp.figures.layers`.
        tasks: the tasks that are drawn; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.
        drop: scale of drops: `points`, or the shares `floor-aware` and `relative` (see `drops`).

    Returns:
        A Matplotlib figure of one panel per task.

    Raises:
        UserError: a table is given without `n_layers`; there is no such ablation or task.
    """
    depths: Mapping[str, int] | None = n_layers or getattr(source, "n_layers", None)
    if depths is None:
        raise UserError("profiles: give n_layers, the number of layers of each model")
    importance = tables.only_tasks(tables.table_from(source, "importance"), tasks)
    importance = drop_scales.on_scale(choose_metric(importance, metric), drop)
    table, _ = tables.of_kind(importance, kind)
    table = table[table["place"].notna()]
    depth = [
        float(layer) / max(1, depths[model] - 1)
        for layer, model in zip(table["place"], table["model"], strict=True)
    ]
    table = table.assign(x=depth)
    looks = palette.model_looks(tables.in_order(table["model"]))
    step = 0.014 * (8 / max(depths[model] for model in looks))
    with renamed(labels):
        words = {model: model_label(model) for model in looks}
        panel = _Panel("model", "drop", step, line=True)
        axes = ("Relative depth (0 first layer, 1 last)", drop_scales.drop_label(table))
        page = style.Page(width=width, caption=caption)
        return _by_series(table, panel, looks, words, axes, _notes(table), page)


def differences(
    source: Any,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Drop of one model minus that of another by ablated layer: a panel per task, a line per pair.

    In points only, because a difference of shares is one of two ratios and has another interval.
    `profiles(drop="floor-aware")` shows the shares of each model.

    Args:
        source: a `Comparison`, or its `differences()`.
        metric: as for `profiles`.
        kind: as for `profiles`.
        tasks: as for `profiles`.
        labels: as for `profiles`.
        width: as for `profiles`.
        caption: as for `profiles`.

    Returns:
        A Matplotlib figure of one panel per task.

    Raises:
        UserError: there is no such ablation or task.
    """
    table = tables.only_tasks(tables.table_from(source, "differences"), tasks)
    table, chosen = tables.of_kind(choose_metric(table, metric), kind)
    table = table[table["place"].notna()]
    table = table.assign(x=table["place"].astype(float), pair=table["a"] + "\n" + table["b"])
    looks = palette.looks(table["pair"])
    unit = " (points)" if set(table["unit"]) == {"points"} else ""
    notes = ["Above 0: the first model is harmed more.", *_notes(table)]
    with renamed(labels):
        words = {
            pair: " \N{MINUS SIGN} ".join(map(model_label, pair.split("\n"))) for pair in looks
        }
        panel = _Panel("pair", "difference", 0.16, line=False)
        axes = (chosen.axes[0], f"Difference of drops{unit}")
        page = style.Page(width=width, caption=caption)
        return _by_series(table, panel, looks, words, axes, notes, page)


class _Panel(NamedTuple):
    """How the lines of a panel are distinguished and drawn."""

    series: str
    value: str
    step: float
    """The horizontal shift between two lines."""
    line: bool
    """Whether the values are joined by a line."""


def _by_series(
    table: pd.DataFrame,
    panel: _Panel,
    looks: Mapping[Any, palette.Look],
    words: Mapping[Any, str],
    names: tuple[str, str],
    notes: Sequence[str],
    page: style.Page,
) -> style.PrintFigure:
    """A panel per task, with a line per model or pair of models."""
    tasks = tables.tasks_in_order(table["task"])
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(
            len(tasks), table, height=(1.0, 1.75), width=page.width,
            sharey=len(set(table["unit"])) == 1,
        )  # fmt: skip
        for axes, task in zip(panels.flat, tasks, strict=False):
            axes.set_title(task_label(task))
            axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=0.9)
            of_task = table[table["task"] == task]
            drawn = [name for name in looks if (of_task[panel.series] == name).any()]
            for place, name in enumerate(drawn):
                rows = of_task[of_task[panel.series] == name].sort_values("place")
                x = rows["x"].to_numpy(float) + panel.step * (place - (len(drawn) - 1) / 2)
                look = {"color": looks[name].colour, "marker": looks[name].marker}
                columns = (panel.value, "low", "high")
                _with_bars(axes, x, rows, columns, look, line=panel.line)
                _fill(axes, x, rows, panel.value, look)
            if panel.series == "pair":
                axes.xaxis.set_major_locator(style.WholeNumbers())
        style.name_panels(panels, len(tasks), x=names[0], y=names[1])
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, label=words[name],
                   linestyle="-" if panel.line else "none")
            for name, look in looks.items()
        ]  # fmt: skip
        handles += _significance(table)
        figure.legend(
            handles=handles, loc="outside upper center",
            ncols=style.legend_columns(handles, figure.get_figwidth()),
        )  # fmt: skip
        style.finish(figure, notes, caption=page.caption)
    return figure


def swap_curves(
    table: pd.DataFrame, *, metric: MetricChoice = None, width: float = style.PAGE
) -> style.PrintFigure:
    """Score by swapped layer and by number of swapped layers, a row per recipient.

    Args:
        table: `interp.comparison.swap_curves` of one task, of one recipient or several.
        metric: as for `profiles`.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure, a row of panels per recipient.

    Raises:
        UserError: there are several tasks.
    """
    table = choose_metric(table, metric)
    if len(set(table["task"])) > 1:
        named = ", ".join(set(table["task"]))
        raise UserError(f"swap curves: one task per figure; here are {named}")
    recipients = tables.in_order(table["recipient"])
    curves = [name for name in CURVES if (table["curve"] == name).any()]
    parts = [part for part in PARTS if (table["part"] == part).any()]
    of_panel = {
        name: table[(table["recipient"] == name) & (table["n_swapped"] == 0)].iloc[0]
        for name in recipients
    }
    colours = palette.model_colours([*recipients, *table["donor"]])
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 1.15 + 1.6 * len(recipients), table)
        grid = figure.subplots(
            len(recipients), len(curves), sharex="col", sharey=True, squeeze=False
        )
        for number, (recipient, row) in enumerate(zip(recipients, grid, strict=True)):
            rows = table[table["recipient"] == recipient]
            donor = str(rows["donor"].iloc[0])
            for curve, axes in zip(curves, row, strict=True):
                if number == 0:
                    axes.set_title(CURVES[curve][0])
                for name in (recipient, donor):
                    if name in of_panel:
                        _level(axes, of_panel[name], colours[name])
                for place, part in enumerate(parts):
                    chosen = rows[(rows["curve"] == curve) & (rows["part"] == part)]
                    _swap_line(axes, chosen, curve, part, place - (len(parts) - 1) / 2)
                axes.xaxis.set_major_locator(style.WholeNumbers())
            words = _score_label(rows)
            row[0].set_ylabel(f"{model_label(recipient)}\n{words}")
        style.letter_panels(grid.flat)
        if set(table["unit"]) == {"points"}:
            grid[0][0].set_ylim(*style.PERCENT)  # a change of a point or two should not look large
        for curve, axes in zip(curves, grid[-1], strict=True):
            axes.set_xlabel(CURVES[curve][1])
        figure.legend(
            handles=_swap_legend(parts, list(of_panel), colours),
            loc="outside upper center",
            ncols=5,
        )
        note = f"Task: {uncapitalised(task_label(str(table['task'].iloc[0])))}."
        bars = tables.describe_intervals(table, "Bars and bands")
        ends = "Each recipient keeps its own embedding, final norm and unembedding."
        style.finish(figure, [note, tables.describe_n(table), bars, ends])
    return figure


def weights(
    distances: pd.DataFrame,
    effects: pd.DataFrame,
    correlations: pd.DataFrame,
    *,
    width: float = style.COLUMN,
) -> style.PrintFigure:
    """The weight distance of each layer, above the drop when it is swapped into each recipient.

    Args:
        distances: the table of `interp.comparison.layer_distances`.
        effects: the table of `interp.comparison.swap_curves`, of one task and metric.
        correlations: the table of `interp.comparison.distance_and_effect` for these, for the
            caption.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure, the distances above and the drops below.
    """
    single = effects[(effects["curve"] == "single") & (effects["part"] == "layer")]
    single = single[single["n_swapped"] == 1]
    recipients = tables.in_order(single["recipient"])
    looks = palette.model_looks(recipients)
    data = distances.merge(
        single[["recipient", "first", "drop", "drop_low", "drop_high", "n"]],
        left_on="layer",
        right_on="first",
    )
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 3.9, data)
        above, below = figure.subplots(2, 1, sharex=True)
        for part in (part for part in PARTS if (distances["part"] == part).any()):
            rows = distances[distances["part"] == part].sort_values("layer")
            look: dict[str, Any] = {"color": PART_COLOURS[part], "marker": PART_MARKERS[part]}
            above.plot(
                rows["layer"],
                100 * rows["frobenius"],
                label=PARTS[part].removesuffix(" only"),
                **look,
            )
        above.set_ylabel("Weights moved by (%)")
        above.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=0.8)
        below.axhline(0, color=style.GREY, linewidth=0.8, zorder=0.9)
        for place, name in enumerate(recipients):
            rows = single[single["recipient"] == name].sort_values("first")
            x = rows["first"].to_numpy(float) + 0.14 * (place - (len(recipients) - 1) / 2)
            look = {"color": looks[name].colour, "marker": looks[name].marker}
            _with_bars(below, x, rows, ("drop", "drop_low", "drop_high"), look)
            donor = model_label(str(rows["donor"].iloc[0]))
            label = f"{model_label(name)} with a layer of {donor}"
            below.plot([], [], label=label, **look)
        below.set_ylabel(drop_scales.drop_label(single))
        below.set_xlabel("Swapped layer")
        below.xaxis.set_major_locator(style.WholeNumbers())
        below.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
        notes = [
            "Above: relative Frobenius distance.",
            tables.describe_n(single),
            tables.describe_intervals(single.assign(interval=single["interval_of_drop"]), "Bars"),
            *_agreement(correlations),
        ]
        style.finish(figure, notes)
    return figure


def _agreement(correlations: pd.DataFrame) -> list[str]:
    """Sentences with Spearman's correlations of distance and effect."""
    rows = correlations[correlations["measure"] == "Frobenius distance"]
    return [
        f"Spearman, {model_label(str(row['model']))}: {row['rho']:.2f}, "
        f"{p_words(row['p'], row.get('least_p', 0.0))} over "
        f"{row['n_layers']} layers (reliability of the drops {row['reliability']:.2f})."
        for row in rows.to_dict("records")
    ]


def _with_bars(
    axes: Axes,
    x: np.ndarray,
    rows: pd.DataFrame,
    columns: tuple[str, str, str],
    look: Mapping[str, Any],
    *,
    line: bool = True,
) -> None:
    """Draw intervals, and a line through the values."""
    value, low, high = (rows[name].to_numpy(float) for name in columns)
    axes.vlines(x, low, high, color=look["color"], linewidth=0.9)
    axes.plot(x, value, color=look["color"], marker=look["marker"], linestyle="-" if line else "")


def _fill(
    axes: Axes, x: np.ndarray, rows: pd.DataFrame, column: str, look: Mapping[str, Any]
) -> None:
    """Draw white markers where the adjusted p-value is not below `ALPHA`."""
    open_ = ~(rows["p_adjusted"] < tables.ALPHA).to_numpy()
    axes.plot(x[open_], rows[column][open_], linestyle="none", markerfacecolor="white", **look)


def _significance(table: pd.DataFrame) -> list[Line2D]:
    look: dict[str, Any] = {"color": style.GREY, "linestyle": "none", "marker": "o"}
    p = tables.p_name(table)
    return [
        Line2D([], [], label=f"{p} < {tables.ALPHA:g}", **look),
        Line2D([], [], label=f"{p} ≥ {tables.ALPHA:g}", markerfacecolor="white", **look),
    ]


def _notes(table: pd.DataFrame) -> list[str]:
    return [
        tables.describe_n(table),
        tables.describe_metrics(table),
        tables.describe_intervals(table, "Bars"),
        tables.describe_tests(table),
    ]


def _score_label(table: pd.DataFrame) -> str:
    words = metric_label(str(table["metric"].iloc[0]), filtered=False)
    return f"{words} (%)" if set(table["unit"]) == {"points"} else words


def _level(axes: Axes, row: "pd.Series[Any]", colour: str) -> None:
    """Draw a model's own score, dashed, with its interval as a band."""
    axes.axhline(row["value"], color=colour, linestyle="--", linewidth=0.9)
    axes.axhspan(row["low"], row["high"], color=colour, alpha=0.12, linewidth=0)


def _swap_line(axes: Axes, rows: pd.DataFrame, curve: str, part: str, place: float) -> None:
    """Draw the curve of one part in one panel."""
    column = "first" if curve == "single" else "n_swapped"
    rows = rows[rows["ablation"] != BASELINE] if curve == "single" else rows
    rows = rows.sort_values(column)
    x = rows[column].to_numpy(float) + 0.14 * place
    look = {"color": PART_COLOURS[part], "marker": PART_MARKERS[part]}
    _with_bars(axes, x, rows, ("value", "low", "high"), look)


def _swap_legend(parts: list[str], models: list[str], colours: Mapping[str, str]) -> list[Line2D]:
    return [
        *(
            Line2D([], [], color=PART_COLOURS[p], marker=PART_MARKERS[p], label=PARTS[p])
            for p in parts
        ),
        *(
            Line2D(
                [], [], color=colours[name], linestyle="--",
                label=f"{model_label(name)}, unchanged",
            )
            for name in models
        ),
    ]  # fmt: skip

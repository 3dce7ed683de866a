"""Models side by side: profiles, differences of drops, swap curves, distance of weights."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from interp.errors import UserError
from interp.figures import style, tables
from interp.labels import metric_label, model_label, task_label, uncapitalised
from interp.results import MetricChoice, choose_metric
from interp.stats import BASELINE

PARTS = {"layer": "Whole layer", "attention": "Attention only", "mlp": "MLP only"}
PART_COLOURS = {"layer": style.BLACK, "attention": style.SKY, "mlp": style.ORANGE}
PART_MARKERS = {"layer": "o", "attention": "s", "mlp": "^"}
CURVES = {
    "single": ("One layer at a time", "Swapped layer"),
    "up": ("From the first layer up", "Layers swapped"),
    "down": ("From the last layer down", "Layers swapped"),
}
GREY = "#606060"


def profiles(
    importance: pd.DataFrame,
    n_layers: Mapping[str, int],
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float = style.PAGE,
) -> style.PrintFigure:
    """Drop over relative depth with intervals, a line a model, a panel a task.

    Args:
        importance: Of two or three models (`Comparison.importance`).
        n_layers: Layers of each model.
        metric: A metric for all tasks or a mapping task to metric.
        kind: Which ablations of one layer to draw (`interp.figures.tables.KINDS`).
        width: Inches.
    """
    table = tables.by_layer(choose_metric(importance, metric), kind)
    depth = [
        float(layer) / max(1, n_layers[model] - 1)
        for layer, model in zip(table["layer"], table["model"], strict=True)
    ]
    table = table.assign(depth=depth)
    models, names = tables.in_order(table["model"]), tables.tasks_in_order(table["task"])
    colours = style.model_colours(models)
    shift = 0.014 * (8 / max(n_layers[model] for model in models))
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(
            len(names), table, height=(0.9, 1.75), width=width, sharey=len(set(table["unit"])) == 1
        )
        for letter, axes, name in zip("ABCDEFGHIJKL", panels.flat, names, strict=False):
            _name_panel(axes, letter if len(names) > 1 else "", task_label(name))
            axes.axhline(0, color=GREY, linewidth=0.8, zorder=0.9)
            for place, model in enumerate(models):
                rows = table[(table["task"] == name) & (table["model"] == model)]
                rows = rows.sort_values("layer")
                x = rows["depth"].to_numpy(float) + shift * (place - (len(models) - 1) / 2)
                look = {"color": colours[model], "marker": style.MARKERS[place]}
                _with_bars(axes, x, rows, ("drop", "low", "high"), look)
                _fill(axes, x, rows, "drop", look)
        style.name_panels(
            panels, len(names), x="Relative depth (0 first layer, 1 last)", y=_drop_label(table)
        )
        lines = [
            Line2D([], [], color=colours[m], marker=style.MARKERS[i], label=model_label(m))
            for i, m in enumerate(models)
        ]
        figure.legend(
            handles=[*lines, *_significance(table)],
            loc="outside upper center",
            ncols=5 if len(names) > 1 else 3,
        )
        style.finish(figure, _notes(table))
    return figure


def differences(
    table: pd.DataFrame,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float = style.PAGE,
) -> style.PrintFigure:
    """Drop of one model minus drop of the other by ablated layer, a panel a task, a line a pair.

    Args:
        table: `Comparison.differences()`.
        metric: As for `profiles`.
        kind: As for `profiles`.
        width: Inches.
    """
    table = tables.by_layer(choose_metric(table, metric), kind)
    names = tables.tasks_in_order(table["task"])
    pairs = list(dict.fromkeys(table[["a", "b"]].itertuples(index=False, name=None)))
    colours = dict(zip(pairs, style.COLOURS, strict=False))
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(
            len(names), table, height=(1.0, 1.75), width=width, sharey=len(set(table["unit"])) == 1
        )
        for letter, axes, name in zip("ABCDEFGHIJKL", panels.flat, names, strict=False):
            _name_panel(axes, letter if len(names) > 1 else "", task_label(name))
            axes.axhline(0, color=GREY, linewidth=0.8, zorder=0.9)
            for place, (a, b) in enumerate(pairs):
                rows = table[(table["task"] == name) & (table["a"] == a) & (table["b"] == b)]
                rows = rows.sort_values("layer")
                x = rows["layer"].to_numpy(float) + 0.16 * (place - (len(pairs) - 1) / 2)
                look = {"color": colours[a, b], "marker": style.MARKERS[place]}
                _with_bars(axes, x, rows, ("difference", "low", "high"), look, line=False)
                _fill(axes, x, rows, "difference", look)
            axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
        unit = " (points)" if set(table["unit"]) == {"points"} else ""
        style.name_panels(panels, len(names), x=tables.KINDS[kind], y=f"Difference of drops{unit}")
        lines = [
            Line2D(
                [], [], color=colours[a, b], marker=style.MARKERS[i], linestyle="none",
                label=f"{model_label(a)} \N{MINUS SIGN} {model_label(b)}",
            )
            for i, (a, b) in enumerate(pairs)
        ]  # fmt: skip
        figure.legend(
            handles=[*lines, *_significance(table)],
            loc="outside upper center",
            ncols=3 if len(names) > 1 else 2,
        )
        style.finish(figure, ["Above 0: the first model is harmed more.", *_notes(table)])
    return figure


def swap_curves(
    table: pd.DataFrame, *, metric: MetricChoice = None, width: float = style.PAGE
) -> style.PrintFigure:
    """Score by swapped layer and by number of swapped layers, a row a recipient.

    Args:
        table: `interp.comparison.swap_curves` of one task, of one recipient or several.
        metric: As for `profiles`.
        width: Inches.

    Raises:
        UserError: Several tasks.
    """
    table = choose_metric(table, metric)
    if len(set(table["task"])) > 1:
        raise UserError(f"swap curves: one task a figure; here are {', '.join(set(table['task']))}")
    recipients = tables.in_order(table["recipient"])
    curves = [name for name in CURVES if (table["curve"] == name).any()]
    parts = [part for part in PARTS if (table["part"] == part).any()]
    own = {
        name: table[(table["recipient"] == name) & (table["n_swapped"] == 0)].iloc[0]
        for name in recipients
    }
    colours = style.model_colours([*recipients, *table["donor"]])
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 1.15 + 1.6 * len(recipients), table)
        grid = figure.subplots(
            len(recipients), len(curves), sharex="col", sharey=True, squeeze=False
        )
        letters = iter("ABCDEFGHIJKL")
        for number, (recipient, row) in enumerate(zip(recipients, grid, strict=True)):
            rows = table[table["recipient"] == recipient]
            donor = str(rows["donor"].iloc[0])
            for curve, axes in zip(curves, row, strict=True):
                title = CURVES[curve][0] if number == 0 else ""
                _name_panel(axes, next(letters), title)
                for name in (recipient, donor):
                    if name in own:
                        _level(axes, own[name], colours[name])
                for place, part in enumerate(parts):
                    chosen = rows[(rows["curve"] == curve) & (rows["part"] == part)]
                    _swap_line(axes, chosen, curve, part, place - (len(parts) - 1) / 2)
                axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
            words = _score_label(rows)
            row[0].set_ylabel(f"{model_label(recipient)}\n{words}")
        if set(table["unit"]) == {"points"}:
            grid[0][0].set_ylim(-5, 105)  # a point or two must not look like a fall
        for curve, axes in zip(curves, grid[-1], strict=True):
            axes.set_xlabel(CURVES[curve][1])
        figure.legend(
            handles=_swap_legend(parts, list(own), colours),
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
    """How far each layer's weights moved, above what its swap does to each recipient.

    Args:
        distances: `interp.comparison.layer_distances`.
        effects: `interp.comparison.swap_curves` of one task and metric.
        correlations: `interp.comparison.distance_and_effect` of the same, for the small print.
        width: Inches.
    """
    single = effects[(effects["curve"] == "single") & (effects["part"] == "layer")]
    single = single[single["n_swapped"] == 1]
    recipients = tables.in_order(single["recipient"])
    colours = style.model_colours(recipients)
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
        below.axhline(0, color=GREY, linewidth=0.8, zorder=0.9)
        for place, name in enumerate(recipients):
            rows = single[single["recipient"] == name].sort_values("first")
            x = rows["first"].to_numpy(float) + 0.14 * (place - (len(recipients) - 1) / 2)
            look = {"color": colours[name], "marker": style.MARKERS[place]}
            _with_bars(below, x, rows, ("drop", "drop_low", "drop_high"), look)
            donor = model_label(str(rows["donor"].iloc[0]))
            label = f"{model_label(name)} with a layer of {donor}"
            below.plot([], [], label=label, **look)
        below.set_ylabel(_drop_label(single))
        below.set_xlabel("Swapped layer")
        below.xaxis.set_major_locator(MaxNLocator(9, integer=True))
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
        f"Spearman, {model_label(str(row['model']))}: {row['rho']:.2f}, p = {row['p']:.2g} over "
        f"{row['n_layers']} layers (reliability of the drops {row['reliability']:.2f})."
        for row in rows.to_dict("records")
    ]


def _name_panel(axes: Axes, letter: str, title: str) -> None:
    axes.set_title(title)
    if letter:
        axes.set_title(letter, loc="left", fontweight="bold")


def _with_bars(
    axes: Axes,
    x: np.ndarray,
    rows: pd.DataFrame,
    columns: tuple[str, str, str],
    look: Mapping[str, Any],
    *,
    line: bool = True,
) -> None:
    """Intervals, and a line through the values."""
    value, low, high = (rows[name].to_numpy(float) for name in columns)
    axes.vlines(x, low, high, color=look["color"], linewidth=0.9)
    axes.plot(x, value, color=look["color"], marker=look["marker"], linestyle="-" if line else "")


def _fill(
    axes: Axes, x: np.ndarray, rows: pd.DataFrame, column: str, look: Mapping[str, Any]
) -> None:
    """White markers where the adjusted p-value is not small."""
    open_ = ~(rows["p_adjusted"] < tables.ALPHA).to_numpy()
    axes.plot(x[open_], rows[column][open_], linestyle="none", markerfacecolor="white", **look)


def _significance(table: pd.DataFrame) -> list[Line2D]:
    look: dict[str, Any] = {"color": GREY, "linestyle": "none", "marker": "o"}
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


def _drop_label(table: pd.DataFrame) -> str:
    return "Drop (points)" if set(table["unit"]) == {"points"} else "Drop"


def _score_label(table: pd.DataFrame) -> str:
    words = metric_label(str(table["metric"].iloc[0]), filtered=False)
    return f"{words} (%)" if set(table["unit"]) == {"points"} else words


def _level(axes: Axes, row: "pd.Series[Any]", colour: str) -> None:
    """A model's own score, dashed with its interval as a band."""
    axes.axhline(row["value"], color=colour, linestyle="--", linewidth=0.9)
    axes.axhspan(row["low"], row["high"], color=colour, alpha=0.12, linewidth=0)


def _swap_line(axes: Axes, rows: pd.DataFrame, curve: str, part: str, place: float) -> None:
    """One part's curve in one panel."""
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

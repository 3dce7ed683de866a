"""Figures of a lens: the grid of one prompt, curves by depth, decision depths."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

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
    task_label,
    uncapitalised,
)

CELL = (0.46, 0.17)
"""Width and height of a cell of the grid in inches, with room for seven letters of 6 points."""

ROWS = {
    "right_logrank": "Rank of the right\nanswer (1 = first)",
    "right_probability": "Probability of the\nright answer",
    "kl": "Divergence from the\nlast layer (nats)",
}
"""The quantities that `by_depth` draws, and the names of their axes."""

MOST_COLUMNS = 4

LENSES: dict[str, Any] = {"logit lens": "-", "tuned lens": "--"}


class Line(NamedTuple):
    """How one line is drawn."""

    colour: str
    marker: str
    label: str


def grid(table: pd.DataFrame, *, width: float | None = None) -> style.PrintFigure:
    """A grid of tokens x layers, with the top token in each cell shaded by its probability.

    Args:
        table: from `interp.lens.prompt_grid`, one prompt under one ablation.
        width: width of the figure in inches; by default one column if the tokens fit, otherwise the
            page. Of a longer prompt the last tokens are drawn.

    Returns:
        A Matplotlib figure of one panel.
    """
    if table.groupby(["position", "depth"]).size().gt(1).any():
        raise UserError("the grid draws one prompt of one model under one ablation")
    style.check_width(width)
    most = int(((width or style.PAGE) - 1.5) / CELL[0])
    first = max(0, int(table["position"].max()) + 1 - most)
    table = table[table["position"] >= first].reset_index(drop=True)
    # pivot_table would average what pivot refuses
    wide = {
        name: table.pivot(index="depth", columns="position", values=name)  # noqa: PD010
        for name in ("top_token", "probability")
    }
    depths, positions = wide["probability"].index, wide["probability"].columns
    tokens = table.drop_duplicates("position").set_index("position")["token"]
    size = (1.5 + CELL[0] * len(positions), 1.25 + CELL[1] * len(depths))
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        fitting = style.COLUMN if size[0] <= style.COLUMN else style.PAGE
        figure = style.new_figure(width or fitting, size[1], table)
        axes = figure.subplots()
        image = axes.imshow(
            wide["probability"], cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower"
        )
        for (row, column), token in np.ndenumerate(wide["top_token"].to_numpy()):
            strong = wide["probability"].to_numpy()[row, column] > 0.55
            axes.text(
                column, row, shown_token(token, 7), color="white" if strong else "black",
                fontsize=6, ha="center", va="center_baseline",
            )  # fmt: skip
        labels = [shown_token(tokens[p], 9) for p in positions]
        axes.set_xticks(range(len(positions)), labels, rotation=90)
        for text, label in zip(axes.get_xticklabels(), labels, strict=True):
            # a colon or an arrow turned by 90 degrees looks like another character
            text.set_rotation(0 if len(label) <= 2 else 90)
        axes.set_yticks(range(len(depths)), _depth_names(table, depths))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("Token read")
        axes.set_ylabel("After layer")
        bar = figure.colorbar(image, ax=axes, pad=0.015, aspect=24)
        bar.outline.set_linewidth(0.6)
        bar.set_label("Probability of the top token")
        row = table.iloc[0]
        notes = [f"{row['lens'].capitalize()} of {model_label(row['model'])}.",
                 "Cells: the token that would come next."]  # fmt: skip
        if row["ablation"] != "baseline":
            notes.append(f"Ablated: {row['ablation']}.")
        if first:
            notes.append(f"The last {len(positions)} tokens of the prompt.")
        style.finish(figure, notes)
    return figure


def by_depth(
    source: Any,
    *,
    quantities: Sequence[str] = ("right_logrank", "right_probability"),
    step: str = "answer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float = style.PAGE,
    caption: bool = True,
) -> style.PrintFigure:
    """Rank and probability of the right answer by depth with intervals, a column per protocol.

    Each line is a skill. With several models (or ablations) each line is one of these, and each
    column is a task. Tuned lenses are dashed.

    Args:
        source: a `Lens`, its `table()`, or several of either.
        quantities: the rows of panels; some of `right_logrank`, `right_probability` and `kl`.
        step: the step of the answers that is drawn.
        tasks: the tasks that are drawn; all by default.
        labels: the words that are printed for tasks, protocols and models, by their names.
        width: width of the figure in inches.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure, a row of panels per quantity.

    Raises:
        UserError: a quantity, step or task is unknown.
    """
    unknown = [name for name in quantities if name not in ROWS]
    if unknown:
        raise UserError(f"quantity {unknown[0]}: allowed are {', '.join(ROWS)}")
    table = tables.only_tasks(tables.table_from(source, "table"), tasks)
    rows = table[
        (table["step"] == step)
        & table["quantity"].isin(quantities)
        & (table["after"] != "attention")
    ]
    if rows.empty:
        raise UserError(f"step {step!r}: the table has {', '.join(table['step'].unique())}")
    with renamed(labels):
        return _by_depth(rows, quantities, style.Page(width=width, caption=caption))


def _by_depth(rows: pd.DataFrame, quantities: Sequence[str], page: style.Page) -> style.PrintFigure:
    rows, names = _with_series(rows, quantities)
    looks = _looks(rows, names)
    lines = tables.in_order(rows["line"], [*quantities, *SKILLS])
    columns = tables.in_order(rows["panel"], PROTOCOLS)
    relative = len(set(rows.groupby("model")["depth"].max())) > 1
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(page.width or style.PAGE, 1.1 + 1.35 * len(lines), rows)
        panels = figure.subplots(len(lines), len(columns), sharex=True, sharey="row", squeeze=False)
        for (row, column), axes in np.ndenumerate(panels):
            of_panel = rows[(rows["line"] == lines[row]) & (rows["panel"] == columns[column])]
            for (series, kind), line in of_panel.groupby(["series", "lens"], sort=False):
                _draw_line(axes, line, looks[str(series)], LENSES[str(kind)], relative)
            _dress(axes, of_panel)
            if row == 0 and len(columns) > 1:
                axes.set_title(_panel_words(columns[column]))
        style.letter_panels([axes for axes in panels.flat if axes.axison])
        _name_axes(panels, [_line_words(line, quantities[0]) for line in lines], relative)
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, label=look.label)
            for look in looks.values()
        ]
        if len(set(rows["lens"])) > 1:
            handles += [
                Line2D([], [], color=style.GREY, linestyle=dash, label=kind.capitalize())
                for kind, dash in LENSES.items()
            ]
        columns_ = style.legend_columns(handles, figure.get_figwidth())
        figure.legend(handles=handles, loc="outside upper center", ncols=columns_)
        notes = [tables.describe_n(rows), tables.describe_intervals(rows, "Shaded")]
        if "right_logrank" in set(rows["quantity"]):
            notes.append("Ranks: geometric mean over examples and the answer's tokens.")
        style.finish(figure, notes, caption=page.caption)
    return figure


def decision_depths(
    source: Any, *, answer: str = "right", width: float | None = None
) -> style.PrintFigure:
    """The depth from which an answer leads to the end, by task and step, a colour per model.

    Args:
        source: a `Lens`, its `decision_depth()`, or several of either.
        answer: `right` or `chosen`.
        width: width of the figure in inches; by default one column.

    Returns:
        A Matplotlib figure of one panel.
    """
    table = tables.table_from(source, "decision_depth")
    rows = table[(table["answer"] == answer)].copy()
    if rows.empty:
        raise UserError(f"answer {answer!r}: allowed are right and chosen")
    rows["series"] = (
        rows["model"] + _unless_constant(rows, "ablation") + _unless_constant(rows, "lens")
    )
    rows["name"] = [f"{task} {step}" for task, step in zip(rows["task"], rows["step"], strict=True)]
    words = {r["name"]: _step_words(r["task"], r["step"]) for r in rows.to_dict("records")}
    rows["place"] = [tables.task_place(task) for task in rows["task"]]
    names = tables.in_order(rows.sort_values("place", kind="stable")["name"])
    series = tables.in_order(rows["series"])
    looks = _series_looks(rows, series)
    with matplotlib.rc_context(style.RC):
        height = 0.95 + 0.07 * len(names) + 0.12 * len(names) * len(series)
        figure = style.new_figure(width or style.COLUMN, max(height, 1.8), rows)
        axes = figure.subplots()
        for place, one in enumerate(series):
            shift = 0.62 * (place - (len(series) - 1) / 2) / len(series)
            of_series = rows[rows["series"] == one]
            y = np.array([names.index(name) + shift for name in of_series["name"]])
            axes.hlines(
                y, of_series["relative_low"], of_series["relative_high"], color=looks[one].colour
            )
            # hollow markers: in fewer than half of the examples this answer leads at the end
            few = (of_series["share_decided"] < 0.5).to_numpy()
            for mask, face in ((~few, looks[one].colour), (few, "white")):
                axes.plot(
                    of_series["relative"][mask], y[mask], color=looks[one].colour, linestyle="none",
                    marker=looks[one].marker, markerfacecolor=face,
                    label=_series_words(one) if face != "white" else None,
                )  # fmt: skip
        axes.set_yticks(range(len(names)), [words[name] for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-0.03, 1.06)
        axes.set_xlabel("Share of the layers passed")
        if len(series) > 1:
            handles = [
                Line2D([], [], color=looks[one].colour, linestyle="none", marker=looks[one].marker,
                       label=_series_words(one))
                for one in series
            ]  # fmt: skip
            figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(series)))
        notes = [
            tables.describe_n(rows),
            f"The depth from which the {answer} answer leads to the end, mean over the examples "
            "where it does; hollow where these are fewer than half.",
            tables.describe_intervals(rows, "Bars"),
        ]
        style.finish(figure, notes)
    return figure


def shown_token(token: str, longest: int) -> str:
    """A token as text for a cell: spaces and line ends are visible, and long ones are cut."""
    shown = token.replace("\n", "↵").replace("\t", "⇥")
    shown = shown.replace(" ", "·") if shown.strip() == "" else shown.strip()
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _depth_names(table: pd.DataFrame, depths: pd.Index) -> list[str]:
    named = table.drop_duplicates("depth").set_index("depth")
    words = {"embedding": "embedding", "attention": "attention {}", "layer": "{}"}
    return [words[named.loc[d, "after"]].format(named.loc[d, "layer"]) for d in depths]


def _with_series(rows: pd.DataFrame, quantities: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The rows with their line (`series`), column (`panel`) and row (`line`), and all lines."""
    split = [split_task(task) for task in rows["task"]]
    benchmarks, protocols = [b for b, _ in split], [p for _, p in split]
    series = rows["model"] + _unless_constant(rows, "ablation")
    if len(set(series)) == 1:
        labelled = rows.assign(series=benchmarks, panel=protocols, line=rows["quantity"])
        return labelled, tables.in_order(labelled["series"], SKILLS)
    if len(set(rows["task"])) <= MOST_COLUMNS:
        labelled = rows.assign(series=series, panel=rows["task"], line=rows["quantity"])
    else:
        # too many tasks for one column each: a row per skill, and only the first quantity
        labelled = rows.assign(series=series, panel=protocols, line=benchmarks)
        labelled = labelled[labelled["quantity"] == quantities[0]]
    return labelled, tables.in_order(labelled["series"])


def _looks(rows: pd.DataFrame, names: list[str]) -> dict[str, Line]:
    if set(names) <= set(rows["task"].map(lambda task: split_task(task)[0])):
        return {
            n: Line(*look, benchmark_label(n)) for n, look in palette.skill_looks(names).items()
        }
    looks = _series_looks(rows, names)
    return {n: Line(*looks[n], _series_words(n)) for n in names}


def _series_looks(rows: pd.DataFrame, names: list[str]) -> dict[str, palette.Look]:
    """The model's own colour if a line is a model, otherwise one colour after the other."""
    if set(names) == set(rows["model"]):
        return palette.model_looks(names)
    return palette.looks(names)


def _unless_constant(rows: pd.DataFrame, column: str) -> "pd.Series[str]":
    """The column as the end of a name, or nothing if it is constant."""
    if len(set(rows[column])) == 1:
        return pd.Series("", index=rows.index)
    return ", " + rows[column].astype(str)


def _series_words(series: str) -> str:
    model, _, rest = series.partition(", ")
    return model_label(model) + (f", {rest}" if rest else "")


def _panel_words(panel: str) -> str:
    if panel in PROTOCOLS or not panel:
        return protocol_label(panel)
    benchmark, protocol = split_task(panel)
    words = benchmark_label(benchmark)
    return f"{words}\n{uncapitalised(protocol_label(protocol))}" if protocol else words


def _step_words(task: str, step: str) -> str:
    if step == "answer":
        return task_label(task)
    return f"{benchmark_label(split_task(task)[0])}, {step}"


def _draw_line(axes: Axes, line: pd.DataFrame, look: Line, dash: str, relative: bool) -> None:
    line = line.sort_values("depth")
    x = line["relative_depth" if relative else "depth"]
    ranks = (line["quantity"] == "right_logrank").all()
    values = {n: np.exp(line[n]) if ranks else line[n] for n in ("value", "low", "high")}
    axes.fill_between(x, values["low"], values["high"], color=look.colour, alpha=0.15, linewidth=0)
    axes.plot(x, values["value"], color=look.colour, marker=look.marker, linestyle=dash)


def _line_words(line: str, quantity: str) -> str:
    """The name of a row of panels: its quantity, and its skill if the row is of one skill."""
    if line in ROWS:
        return ROWS[line]
    return f"{benchmark_label(line)}:\n{uncapitalised(ROWS[quantity])}"


def _name_axes(panels: np.ndarray, names: list[str], relative: bool) -> None:
    """Name the axes at the left and at the bottom, at the first panel that is drawn there."""
    for row, name in zip(panels, names, strict=True):
        first = next(axes for axes in row if axes.axison)
        first.set_ylabel(name)
        first.tick_params(labelleft=True)
    for column in panels.T:
        last = [axes for axes in column if axes.axison][-1]
        last.set_xlabel("Share of the layers passed" if relative else "Layers passed")
        last.tick_params(labelbottom=True)
        last.xaxis.set_major_locator(MaxNLocator(8, integer=not relative))


def _dress(axes: Axes, rows: pd.DataFrame) -> None:
    """Set the axes: ranks downwards and logarithmic, probabilities from 0 to 1; hide empty ones."""
    if rows.empty:
        axes.set_axis_off()
        return
    if (rows["quantity"] == "right_probability").all():
        axes.set_ylim(-0.03, 1.03)
    if not (rows["quantity"] == "right_logrank").all():
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.minorticks_off()
    if not axes.yaxis_inverted():
        axes.invert_yaxis()

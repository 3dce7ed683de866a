"""Maps of heads, layers x heads: retrieval scores, or the drop of each head's ablation by skill."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from interp.ablations import AblateHead, parsed_or_none
from interp.errors import UserError
from interp.figures import style, tables
from interp.labels import model_label, series_titles, split_task
from interp.results import MetricChoice, choose_metric

CELL = 0.16
"""Height of a head's cell, inches."""

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"


def retrieval_map(table: pd.DataFrame, *, mark: int = 0) -> style.PrintFigure:
    """Retrieval score of every head, a panel a model.

    Args:
        table: `RetrievalHeads.table()`, or several of them concatenated.
        mark: how many of the best heads of each model get a ring.
    """
    models = tables.in_order(table["model"])
    panels = {model: table[table["model"] == model] for model in models}
    best = {name: rows.nlargest(mark, "score", keep="first") for name, rows in panels.items()}
    lows = sorted({int(rows["n"].iloc[0]) for rows in panels.values()})
    notes = [
        f"n = {' and '.join(map(str, lows))} rightly answered examples.",
        "Score: share of the answer's tokens on which the head's strongest attention lies while "
        "they are copied.",
    ]
    if mark:
        notes.append(f"Rings: the {mark} best heads.")
    titles = {model: model_label(model) for model in models}
    values = {name: _grid(rows, "score") for name, rows in panels.items()}
    return _maps(
        table, values, titles=titles, label="Retrieval score", limits=(0.0, 1.0), rings=best,
        notes=notes,
    )  # fmt: skip


def importance_map(importance: pd.DataFrame, *, metric: MetricChoice = None) -> style.PrintFigure:
    """Drop of every head's ablation, a panel a task (and model); rings are significant.

    Args:
        importance: the table of all-head sweeps.
        metric: A metric for all tasks or a mapping task to metric; see `choose_metric`.
    """
    table = by_head(choose_metric(importance, metric))
    panels = {
        (str(model), task): rows[rows["task"] == task]
        for model, rows in table.groupby("model", sort=False)
        for task in tables.tasks_in_order(rows["task"])
    }
    limit = float(table["drop"].abs().max()) or 1.0
    rings = {name: rows[rows["p_adjusted"] < tables.ALPHA] for name, rows in panels.items()}
    points = table["unit"].eq("points").all()
    notes = [
        tables.describe_n(table),
        tables.describe_metrics(table),
        f"Rings: {tables.p_name(table)} < {tables.ALPHA:g}.",
        tables.describe_tests(table),
    ]
    return _maps(
        table,
        {name: _grid(rows, "drop") for name, rows in panels.items()},
        titles=series_titles(panels),
        label="Drop (points)" if points else "Drop",
        limits=(-limit, limit),
        rings=rings,
        notes=notes,
    )


def by_head(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that ablate one head, with its layer and number; zeroed ones where there are more.

    Raises:
        UserError: there are none.
    """
    places: list[tuple[int, int]] = []
    chosen = []
    for text in table["ablation"]:
        one = parsed_or_none(text)
        single = isinstance(one, AblateHead) and one.by == "zero"
        chosen.append(single)
        if isinstance(one, AblateHead) and single:
            places.append((one.layer, one.head))
    if not places:
        raise UserError("no ablation head:N.M to draw; sweep all heads (--ablate heads)")
    rows = table[np.array(chosen)]
    return rows.assign(
        layer=[n for n, _ in places],
        head=[h for _, h in places],
        protocol=[split_task(task)[1] for task in rows["task"]],
    )


def _grid(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    grid = rows.pivot(index="layer", columns="head", values=value)  # noqa: PD010
    size = range(int(rows["layer"].max()) + 1), range(int(rows["head"].max()) + 1)
    return grid.reindex(index=size[0], columns=size[1]).astype(float)


def _maps(
    table: pd.DataFrame,
    values: dict[Any, pd.DataFrame],
    *,
    titles: dict[Any, str],
    label: str,
    limits: tuple[float, float],
    rings: dict[Any, pd.DataFrame],
    notes: list[str],
) -> style.PrintFigure:
    n_layers = max(len(grid) for grid in values.values())
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        height = 0.75, 0.55 + CELL * n_layers
        figure, panels = style.new_panels(len(values), table, height=height, sharey=True)
        image = None
        for axes, name in zip(panels.flat, values, strict=False):
            axes.set_title(titles[name])
            image = axes.imshow(
                values[name], origin="lower", aspect="auto", vmin=limits[0], vmax=limits[1],
                cmap=DIVERGING if limits[0] < 0 else SEQUENTIAL,
            )  # fmt: skip
            _dress(axes, rings[name], dark=limits[0] < 0)
        style.name_panels(panels, len(values), x="Head", y="Layer")
        assert image is not None
        bar = figure.colorbar(image, ax=list(panels.flat), pad=0.015, aspect=14 * len(panels))
        bar.outline.set_linewidth(0.6)
        bar.set_label(label)
        style.finish(figure, notes)
    return figure


def _dress(axes: Axes, marked: pd.DataFrame, *, dark: bool) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(16, integer=True, steps=[1, 2, 4, 5, 10]))
    axes.plot(
        marked["head"], marked["layer"], linestyle="none", marker="o", markersize=5.5,
        markerfacecolor="none", markeredgewidth=0.9, color="black" if dark else "#FF4F00",
    )  # fmt: skip

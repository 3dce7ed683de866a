"""A map of pairs of layers: what two cost together beyond the sum of both."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import UserError
from interp.figures import style, tables
from interp.figures.families import kinds
from interp.figures.from_values import GainsSource, of_gains
from interp.figures.head_maps import Map, Scale, cells_of, draw_maps
from interp.labels import renamed, series_titles
from interp.results import MetricChoice, interactions


def pairs(
    source: GainsSource,
    *,
    metric: MetricChoice = None,
    kind: str | None = None,
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """The interaction of every pair of layers, a panel per task (and model).

    Args:
        source: a sweep of `layers pairs:layers`, its table of `interp.results.interactions`, or
            several of either.
        metric: a metric for all tasks, or a mapping from tasks to metrics; see `choose_metric`.
        kind: the kind of pairs: `layer+layer`, `mlp@mean+mlp@mean`, ...; by default the first in
            the table.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.
        ax: your own axes, for a figure of one panel.

    Returns:
        A Matplotlib figure; the one of `ax` where axes are given.

    Raises:
        UserError: there are no pairs of layers of which both were also ablated alone. Pairs of
            heads are refused, because they have no place on two axes.
    """
    interaction = of_gains(source, interactions, "interaction", metric)
    table = tables.only_tasks(interaction, tasks)
    map_kinds = [name for name, one in kinds(table["ablation"]).items() if one.shape == "map"]
    if not map_kinds:
        raise UserError(
            "pairs: no three or more pairs of layers, attentions or MLPs; sweep layers and "
            "pairs:layers together (pairs of heads are in the table alone)"
        )
    table, chosen = tables.of_kind(table, kind or map_kinds[0])
    table = table.assign(
        x=table["place"].astype(int), y=table["row"].astype(int), drop=table["interaction"]
    )
    panels = {
        (str(model), task): rows[rows["task"] == task]
        for model, rows in table.groupby("model", sort=False)
        for task in tables.tasks_in_order(rows["task"])
    }
    with renamed(labels):
        titles = series_titles(panels)
        maps = [
            Map(
                cells_of(rows, "interaction"), titles[name], rows[rows["p_adjusted"] < tables.ALPHA]
            )
            for name, rows in panels.items()
        ]
        limit = tables.colour_limit(table)
        points = table["unit"].eq("points").all()
        label = "Interaction (points)" if points else "Interaction"
        scale = Scale(label, -limit, limit, *chosen.axes)
        page = style.Page(width=width, caption=caption, ax=ax)
        return draw_maps(table, maps, scale, _notes(table), page)


def _notes(table: pd.DataFrame) -> list[str]:
    widest = float((table["high"] - table["low"]).max())
    return [
        tables.describe_n(table),
        tables.describe_metrics(table),
        "{mark}: adjusted p < " + f"{tables.ALPHA:g} (Holm over the pairs of a task).",
        "Red: together they cost more than the sum of both; blue: less, as near a floor they must.",
        f"Intervals in the table: at most {widest:.2g} wide." if widest == widest else "",
    ]

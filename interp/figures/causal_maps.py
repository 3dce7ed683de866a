"""Maps of causal tracing: recovery by patched activations, and drops by attention knockout.

Layers are on the horizontal axis if the other axis is a class of positions or the size of a window,
as in Meng et al. (arXiv 2202.05262, figure 2) and Geva et al. (arXiv 2304.14767, figure 3). Maps of
heads look like those of other sweeps.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from interp.errors import UserError
from interp.figures import style, tables
from interp.figures.drop_scales import drop_label
from interp.figures.head_maps import Map, Scale, cells_of, draw_maps, printed
from interp.labels import renamed, series_titles
from interp.position_labels import class_label, cut_label, site_label
from interp.results import MetricChoice, choose_metric

PATCH = re.compile(r"patch:(?P<site>[a-z]+):(?P<layer>\d+)(?:\.(?P<head>\d+))?@(?P<positions>.+)")
CUT = re.compile(r"cut:(?P<first>\d+)-(?P<last>\d+)@(?P<classes>.+)")

HIGHEST = 1.5
"""The colour scale ends here at most, so that one noisy cell does not make all others pale."""


def recovery_map(
    source: Any,
    *,
    over: Literal["positions", "heads"] | None = None,
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """Normalised recovery of every patch, a panel for each direction and activation.

    Args:
        source: a sweep over pairs of prompts (`interp.twins`), its table of recovery, or several of
            these.
        over: `"positions"`: layer by class of positions, for the residual stream, attention and
            MLPs. `"heads"`: layer by head, a panel for each class of positions. By default
            positions, where there are such patches.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure. In marked cells the interval for all patches together excludes 0.

    Raises:
        UserError: there are no such patches.
    """
    if over not in (None, "positions", "heads"):
        raise UserError(f"over {over!r:.80}: allowed are positions, heads")
    table = _patches(tables.only_tasks(tables.table_from(source, "recovery"), tasks))
    has_heads = table["head"].notna()
    chosen = over or ("heads" if has_heads.all() else "positions")
    table = table[has_heads if chosen == "heads" else ~has_heads]
    if table.empty:
        raise UserError(f"no patches of {chosen} to draw; sweep patches:{_example(chosen)}")
    page = style.Page(width=width, caption=caption)
    with renamed(labels):
        draw = _of_heads if chosen == "heads" else _of_positions
        return draw(table, page)


def held(table: pd.DataFrame) -> list[Literal["positions", "heads"]]:
    """Which maps of recovery a table allows.

    Args:
        table: the table of recovery.

    Returns:
        Values of `over` of `recovery_map`.
    """
    has_heads = _patches(table)["head"].notna()
    kinds: list[Literal["positions", "heads"]] = []
    if not has_heads.all():
        kinds.append("positions")
    if has_heads.any():
        kinds.append("heads")
    return kinds


def _example(over: str) -> str:
    return "heads@last" if over == "heads" else "resid@last"


def _patches(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of single patches, with columns for site, layer, head and positions."""
    fields = table["ablation"].str.extract(rf"^{PATCH.pattern}$")
    has_site = fields["site"].notna()
    named = fields[has_site].astype({"layer": int}).astype({"head": "float"})
    return table[has_site].assign(**{str(name): named[name] for name in named})


def _of_positions(table: pd.DataFrame, page: style.Page) -> style.PrintFigure:
    classes = sorted(tables.in_order(table["positions"]), key=_place)
    # the first class is at the top, in reading order
    rows = {name: number for number, name in enumerate(reversed(classes))}
    table = table.assign(x=table["layer"], y=table["positions"].map(rows))
    names = tuple(class_label(name) for name in rows)
    return _drawn(table, "site", Scale("", 0, 0, "Layer", "Positions", names), page)


def _of_heads(table: pd.DataFrame, page: style.Page) -> style.PrintFigure:
    table = table.assign(x=table["head"].astype(int), y=table["layer"])
    return _drawn(table, "positions", Scale("", 0, 0), page)


def _place(name: str) -> tuple[int, str]:
    """A sort key: classes with numbers in the order of the prompt, after classes with names."""
    number = re.match(r"\d+", name)
    return (int(number[0]) + 1, "") if number else (0, "")


def _drawn(table: pd.DataFrame, by: str, scale: Scale, page: style.Page) -> style.PrintFigure:
    """A panel for each model, task, direction, and value of a column."""
    keys = ["model", "task", "direction", by]
    words = series_titles({(str(m), str(t)) for m, t in zip(table["model"], table["task"],
                                                            strict=True)})  # fmt: skip
    limit = _limit(table)
    maps = []
    for (model, task, direction, value), rows in table.groupby(keys, sort=False):
        label = site_label(str(value)) if by == "site" else class_label(str(value))
        title = f"{label[:1].upper()}{label[1:]}, {direction}"
        if len(words) > 1:
            title = f"{words[(str(model), str(task))]}\n{title}"
        marked = rows[(rows["low_all"] > 0) | (rows["high_all"] < 0)]
        maps.append(Map(cells_of(rows, "recovery"), title, marked.assign(drop=marked["recovery"])))
    maps = sorted(maps, key=lambda one: not one.title.endswith("denoising"))
    scale = scale._replace(label="Recovery", low=-limit, high=limit)
    return printed(draw_maps(table, maps, scale, _notes(table, by, limit), page))


def _limit(table: pd.DataFrame) -> float:
    return min(HIGHEST, tables.colour_limit(table.assign(drop=table["recovery"])))


def _notes(table: pd.DataFrame, by: str, limit: float) -> list[str]:
    low, high = int(table["n"].min()), int(table["n"].max())
    beyond = int((table["recovery"].abs() > limit).sum())
    return [
        f"n = {low if low == high else f'{low} to {high}'} pairs.",
        "Heads: z at the positions over each panel." if by == "positions" else "",
        "Normalised recovery of the difference of the two answers' log-probabilities: 0, as the "
        "own prompt; 1, as the twin's.",
        "{mark}: Fieller's 95% interval, Bonferroni over the patches of a task and direction, "
        "excludes 0.",
        f"{beyond} cells are beyond the scale." if beyond else "",
        "Grey: not patched, or twins that do not differ clearly."
        if table["recovery"].isna().any() else "",
    ]  # fmt: skip


def knockout_map(
    source: tables.Source,
    *,
    metric: MetricChoice = None,
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """The drop when attention between two classes of positions is cut, by window of layers.

    Args:
        source: a sweep of cuts (`cuts:5@answering/gold`), its table of importance, or several of
            either.
        metric: a metric for all tasks, or a mapping from tasks to metrics; see `choose_metric`.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks and models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per model, task and pair of classes.

    Raises:
        UserError: there are no cuts, or drops have several units.
    """
    table = choose_metric(tables.only_tasks(tables.table_of(source, "importance"), tasks), metric)
    fields = table["ablation"].str.extract(rf"^{CUT.pattern}$")
    has_classes = fields["classes"].notna()
    if not has_classes.any():
        raise UserError("no cut:A-B@... to draw; sweep windows (--ablate cuts:2@answering/gold)")
    first, last = (fields[name][has_classes].astype(int) for name in ("first", "last"))
    sizes = sorted(set(last - first + 1))
    table = table[has_classes].assign(
        x=first, y=(last - first + 1).map(sizes.index), classes=fields["classes"][has_classes]
    )
    if len(set(table["unit"])) > 1:
        raise UserError("the map would mix points and values; choose with metric= or tasks=")
    table = tables.with_protocols(table)
    limit = tables.colour_limit(table)
    scale = Scale(drop_label(table), -limit, limit, "First layer of the window", "Layers in it",
                  tuple(map(str, sizes)))  # fmt: skip
    with renamed(labels):
        maps = _cut_maps(table)
        page = style.Page(width=width, caption=caption)
        return printed(draw_maps(table, maps, scale, _cut_notes(table), page))


def _cut_maps(table: pd.DataFrame) -> list[Map]:
    series = {(str(m), str(t)) for m, t in zip(table["model"], table["task"], strict=True)}
    words = series_titles(series)
    maps = []
    for (model, task, classes), rows in table.groupby(["model", "task", "classes"], sort=False):
        title = cut_label(str(classes))
        if len(words) > 1:
            title = f"{words[(str(model), str(task))]}\n{title}"
        maps.append(Map(cells_of(rows, "drop"), title, rows[rows["p_adjusted"] < tables.ALPHA]))
    return maps


def _cut_notes(table: pd.DataFrame) -> list[str]:
    return [
        "Over each panel: which positions cannot attend to which.",
        tables.describe_n(table),
        tables.describe_metrics(table),
        f"{{mark}}: {tables.p_name(table)} < {tables.ALPHA:g}.",
        tables.describe_tests(table),
        *tables.describe_untestable(table),
        *tables.describe_choice(table),
        *tables.describe_truncation(table),
        *tables.describe_failures(table),
    ]

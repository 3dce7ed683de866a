"""The figures of sweeps: scores and drops by layer, heatmaps, and all figures of a sweep."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import folder_given
from interp.figures import causal_maps, curves, heatmaps, listed
from interp.figures.drop_scales import on_scale
from interp.figures.export import save
from interp.figures.families import Kind, kinds
from interp.figures.head_maps import draw_map
from interp.figures.joined import depth_figures
from interp.figures.style import Page, PrintFigure
from interp.figures.tables import Results, Source, only_tasks, table_of
from interp.labels import file_names, model_name, renamed
from interp.results import MetricChoice, choose_metric


def layers(
    source: Source,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    ylim: tuple[float, float] | None = None,
    caption: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """The score by ablated layer with intervals, the baseline dashed, one panel per protocol.

    Args:
        source: a sweep, its table of scores, or several of either (a row of panels per model).
        metric: a metric for all tasks, or a mapping from tasks to metrics. By default accuracy
            where there is one, else exact match.
        kind: the kind of ablations: the text form without its number, such as `layer`, `attn`,
            `mlp`, `swap` or `layer@mean`; also `layers` for blocks, and `cumulative`.
        tasks: the tasks that are drawn, in this order; all by default.
        labels: the words that are printed for tasks, benchmarks, protocols, metrics and models, by
            their names.
        width: width of the figure in inches; by default 3.5 for one panel and 7.2 for more.
        ylim: limits of the vertical axis.
        caption: whether the caption (n, interval, test) is printed under the figure; it is in the
            figure's `footnote` in any case.
        ax: your own axes, for a figure of one panel; the caption is then left to you.

    Returns:
        The figure, a `PrintFigure` unless `ax` is given.

    Raises:
        UserError: there is no such ablation, task or metric, or `ax` is given and there are
            several panels.
    """
    table = choose_metric(only_tasks(table_of(source, "scores"), tasks), metric)
    with renamed(labels):
        return curves.draw_layers(table, kind=kind, page=Page(width, ylim, caption, ax))


def drops(
    source: Source,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    ylim: tuple[float, float] | None = None,
    caption: bool = True,
    ax: Axes | None = None,
    drop: str = "points",
) -> Figure:
    """The drop by ablated layer with intervals; markers are filled where it is significant.

    Args:
        source: a sweep, its table of importance, or several of either.
        metric: as for `layers`.
        kind: as for `layers`.
        tasks: as for `layers`.
        labels: as for `layers`.
        width: as for `layers`.
        ylim: as for `layers`.
        caption: as for `layers`.
        ax: as for `layers`.
        drop: the unit of drops: `points`; `floor-aware`, the lost share of baseline minus floor; or
            `relative`, the lost share of the baseline, as the study plots it. Shares have Fieller's
            intervals, and none where a baseline is not clearly above its floor.

    Returns:
        As for `layers`.

    Raises:
        UserError: as for `layers`; or no baseline is above its floor.
    """
    table = choose_metric(only_tasks(table_of(source, "importance"), tasks), metric)
    table = on_scale(table, drop)
    with renamed(labels):
        return curves.draw_drops(table, kind=kind, page=Page(width, ylim, caption, ax))


def heatmap(
    source: Source,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
    ax: Axes | None = None,
    drop: str = "points",
) -> Figure:
    """The drop by task and ablated layer, one panel per model, with significant cells marked.

    Args:
        source: a sweep, its table of importance, or several of either.
        metric: as for `layers`.
        kind: as for `layers`.
        tasks: the tasks that are drawn; all by default.
        labels: as for `layers`.
        width: width of the figure in inches; by default 7.2.
        caption: as for `layers`.
        ax: as for `layers`.
        drop: as for `drops`.

    Returns:
        As for `layers`.

    Raises:
        UserError: as for `drops`; or the tasks' metrics have several units.
    """
    table = choose_metric(only_tasks(table_of(source, "importance"), tasks), metric)
    table = on_scale(table, drop)
    with renamed(labels):
        return heatmaps.draw_heatmap(table, kind=kind, page=Page(width, None, caption, ax))


def save_all(
    source: Results | Sequence[Results],
    folder: str | Path,
    *,
    metric: MetricChoice = None,
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
    formats: Sequence[str] = ("pdf", "svg", "png"),
    drop: str = "points",
) -> list[Path]:
    """Draw and save every figure that the sweeps allow.

    Args:
        source: a sweep or several.
        folder: the folder for `layers.pdf`, `drops.pdf`, `heatmap.pdf`, ...; the names are those of
            `drawings`.
        metric: as for `layers`.
        tasks: as for `layers`.
        labels: as for `layers`.
        width: as for `layers`.
        caption: as for `layers`.
        formats: as for `save`.
        drop: as for `drops`; drops of metrics that are not percentages are not changed.

    Returns:
        The paths that were written.

    Raises:
        UserError: as for `drops`, or nothing can be written in the folder.
    """
    place = folder_given("folder", folder)
    figures = drawings(
        source, metric=metric, tasks=tasks, labels=labels, width=width, caption=caption, drop=drop
    )
    written: list[Path] = []
    for name, draw in figures.items():
        written += save(draw(), place / name, formats=formats)
    return written


def drawings(
    source: Results | Sequence[Results],
    *,
    metric: MetricChoice = None,
    tasks: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
    drop: str = "points",
) -> dict[str, Callable[[], PrintFigure]]:
    """Every figure that the sweeps allow: by name, a function that draws it.

    Every ablation and task of the sweeps is in at least one of them.

    Args:
        source: a sweep or several.
        metric: as for `layers`.
        tasks: as for `layers`.
        labels: as for `layers`.
        width: as for `layers`.
        caption: as for `layers`.
        drop: as for `save_all`.

    Returns:
        For whole layers `layers`, `drops` and `heatmap`. For other kinds over one axis the same,
        after the name of the kind (`attn-drops`, `cumulative-layers`). For kinds of two numbers a
        map of drops (`heads`, `heads-mean`, `kvgroups`, `blocks-map` for blocks of several sizes),
        followed by the model's name if there are several. `others` for ablations without a place on
        an axis. `scopes`, `replacements` and `pairs` if a sweep holds what they combine: both
        scopes of an ablation, several replacements, pairs and their parts. `recovery-positions` and
        `recovery-heads` for patches over pairs of prompts. Metrics that are not percentages have
        figures of their own, with the metric's name at the end.
    """
    scores, drops_ = (
        choose_metric(only_tasks(table_of(source, name), tasks), metric)
        for name in ("scores", "importance")
    )
    drops_ = on_scale(drops_, drop)
    page = Page(width=width, caption=caption)
    figures: dict[str, Callable[[], PrintFigure]] = {}
    for suffix, chosen in _units(drops_):
        same = scores["task"].isin(set(chosen["task"]))
        for name, draw in _of_unit(scores[same], chosen, page):
            figures[f"{name}{suffix}"] = partial(_drawn, draw, labels)
        for name, draw in depth_figures(source, chosen, page):
            figures[f"{name}{suffix}"] = partial(_drawn, draw, labels)
    for name, draw in _of_patches(source, tasks, page):
        figures[name] = partial(_drawn, draw, labels)
    return figures


Draw = Callable[[], Figure]


def _drawn(draw: Draw, labels: Mapping[str, str] | None) -> PrintFigure:
    with renamed(labels):
        figure = draw()
    assert isinstance(figure, PrintFigure)
    return figure


def _of_patches(
    source: Any, tasks: str | Sequence[str] | None, page: Page
) -> Iterator[tuple[str, Draw]]:
    """Maps of recovery, for the sweeps that patch activations of pairs of prompts."""
    several = source if isinstance(source, list | tuple) else [source]
    patched = [sweep for sweep in several if getattr(sweep, "patched_tasks", ())]
    if not patched:
        return
    table = pd.concat([sweep.recovery() for sweep in patched], ignore_index=True)
    if tasks is not None:
        table = table[table["task"].isin([tasks] if isinstance(tasks, str) else list(tasks))]
    for over in causal_maps.held(table):
        draw = partial(
            causal_maps.recovery_map, table, over=over, width=page.width, caption=page.caption
        )
        yield f"recovery-{over}", draw


def _units(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows with a common axis: all percentages together, any other metric by itself."""
    points = table["unit"].eq("points")
    if points.any():
        yield "", table[points]
    groups_by_metric = list(table[~points].groupby("metric", sort=False))
    names = file_names(str(metric) for metric, _ in groups_by_metric)
    for metric, rows in groups_by_metric:
        yield (
            ("" if len(groups_by_metric) == 1 and not points.any() else f"-{names[str(metric)]}"),
            rows,
        )


def _of_unit(scores: pd.DataFrame, drops_: pd.DataFrame, page: Page) -> Iterator[tuple[str, Draw]]:
    kinds_of_table = kinds(drops_["ablation"])
    names = file_names(kinds_of_table)
    for kind in kinds_of_table.values():
        if kind.shape == "curve":
            prefix = {"layer": "", "layers": "blocks-"}.get(kind.name, f"{names[kind.name]}-")
            for name, draw, table in (
                ("layers", curves.draw_layers, scores),
                ("drops", curves.draw_drops, drops_),
                ("heatmap", heatmaps.draw_heatmap, drops_),
            ):
                yield f"{prefix}{name}", partial(draw, table, kind=kind.name, page=page)
        elif kind.shape == "map":
            yield from _of_models(kind, names[kind.name], drops_, page)
        else:
            yield kind.name, partial(listed.draw_listed, drops_, kind=kind.name, page=page)


def _of_models(
    kind: Kind, name: str, table: pd.DataFrame, page: Page
) -> Iterator[tuple[str, Draw]]:
    """A map for each model."""
    form, _, suffix = name.replace("layers", "blocks", 1).partition("-")
    plural = f"{form}s" if form in ("head", "kvgroup") else f"{form}-map"
    plural += f"-{suffix}" if suffix else ""
    rows = table[table["ablation"].isin(set(kind.places))]
    models = [str(model) for model in dict.fromkeys(rows["model"])]
    short = {model: model_name(model) for model in models}
    unique = len(set(short.values())) == len(models)
    names = file_names(short.values() if unique else models)
    for model in models:
        of_model = rows[rows["model"] == model]
        ending = names[short[model] if unique else model]
        yield (
            plural if len(models) == 1 else f"{plural}-{ending}",
            partial(draw_map, of_model, kind=kind.name, page=page),
        )

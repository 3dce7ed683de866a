"""Figures fit for print: each takes a sweep or its tables and returns a matplotlib ``Figure``.

    fig = interp.figures.layers(sweep)          # accuracy by ablated layer
    fig = interp.figures.drops([base, other])   # drop by ablated layer, two sweeps
    fig = interp.figures.heatmap(sweep)         # tasks x layers
    interp.figures.save(fig, "figures/layers")  # PDF, SVG, PNG and the data as CSV

A sweep is anything with ``scores()`` and ``importance()``; the tables themselves, of
`interp.stats`, do as well. No model is loaded and no global setting of matplotlib is changed.
"""

from interp.figures import curves, heatmaps
from interp.figures.export import save
from interp.figures.style import COLUMN, PAGE, PrintFigure
from interp.figures.tables import MetricChoice, Results, Source, table_of

__all__ = ["COLUMN", "PAGE", "PrintFigure", "Results", "drops", "heatmap", "layers", "save"]


def layers(
    source: Source,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float | None = None,
) -> PrintFigure:
    """Accuracy by ablated layer with intervals, the baseline dashed, one panel a protocol.

    Args:
        source: A sweep, its table of scores, or several of either (a row of panels each model).
        metric: A metric for all tasks, or a mapping task to metric. By default accuracy where
            there is one, else exact match.
        kind: Which ablations to draw: ``"layer"``, ``"attn"``, ``"mlp"`` or ``"swap"``.
        width: Inches; by default 3.5 for one panel and 7.2 for more.
    """
    return curves.layers(table_of(source, "scores"), metric=metric, kind=kind, width=width)


def drops(
    source: Source,
    *,
    metric: MetricChoice = None,
    kind: str = "layer",
    width: float | None = None,
) -> PrintFigure:
    """Drop by ablated layer with intervals; markers are filled where it is significant.

    Args:
        source: A sweep, its table of importance, or several of either.
        metric: As for `layers`.
        kind: As for `layers`.
        width: As for `layers`.
    """
    return curves.drops(table_of(source, "importance"), metric=metric, kind=kind, width=width)


def heatmap(
    source: Source, *, metric: MetricChoice = None, kind: str = "layer", width: float = PAGE
) -> PrintFigure:
    """Drop by task and ablated layer, one panel a model.

    Args:
        source: A sweep, its table of importance, or several of either.
        metric: As for `layers`.
        kind: As for `layers`.
        width: Inches.
    """
    return heatmaps.heatmap(table_of(source, "importance"), metric=metric, kind=kind, width=width)

"""The figures of sweeps: accuracy and drops by layer, heatmaps, and all that a sweep allows."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from interp.ablations import AblateHead, parsed_or_none
from interp.errors import UserError
from interp.figures import curves, heatmaps
from interp.figures.export import save
from interp.figures.head_maps import importance_map
from interp.figures.style import PAGE, PrintFigure
from interp.figures.tables import Results, Source, kinds_of, table_of
from interp.labels import model_label
from interp.results import MetricChoice


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
        kind: Which ablations to draw: ``"layer"``, ``"attn"``, ``"mlp"``, ``"swap"``,
            ``"swap-attn"`` or ``"swap-mlp"``.
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


def save_all(
    source: Results | Sequence[Results], folder: str | Path, *, metric: MetricChoice = None
) -> list[Path]:
    """Draw and save every figure that the sweeps allow.

    Args:
        source: A sweep or several.
        folder: Where to write ``layers.pdf``, ``drops.pdf``, ``heatmap.pdf``, ... ; figures of
            attention, MLPs and swaps have that name in front (``attn-drops.pdf``).
        metric: As for `layers`.

    Returns:
        The paths that were written.
    """
    written: list[Path] = []
    for name, draw in drawings(source, metric=metric).items():
        written += save(draw(), Path(folder) / name)
    return written


def drawings(
    source: Results | Sequence[Results], *, metric: MetricChoice = None
) -> dict[str, Callable[[], PrintFigure]]:
    """Every figure that the sweeps allow, by name, drawn when it is called.

    Args:
        source: A sweep or several.
        metric: As for `layers`.

    Returns:
        ``layers``, ``drops`` and ``heatmap`` of whole layers; the same of attention, MLPs and swaps
        with that name in front (``attn-drops``); ``heads``, where single heads were put to zero,
        with the model's name behind where there are several.

    Raises:
        UserError: nothing was ablated that a figure could draw.
    """
    scores, importance = (table_of(source, name) for name in ("scores", "importance"))
    found: dict[str, Callable[[], PrintFigure]] = {}
    by_head = _models_with_heads(importance)
    try:
        kinds = kinds_of(importance)
    except UserError:
        if not by_head:
            raise
        kinds = []
    for kind in kinds:
        prefix = "" if kind == "layer" else f"{kind}-"
        for name, draw, table in (
            ("layers", curves.layers, scores),
            ("drops", curves.drops, importance),
            ("heatmap", heatmaps.heatmap, importance),
        ):
            found[f"{prefix}{name}"] = partial(draw, table, metric=metric, kind=kind)
    for model in by_head:
        own = importance[importance["model"] == model]
        name = f"heads-{model_label(model)}" if len(by_head) > 1 else "heads"
        found[name] = partial(importance_map, own, metric=metric)
    return found


def _models_with_heads(importance: pd.DataFrame) -> list[str]:
    """The models of which single heads were put to zero."""
    chosen = []
    for model, rows in importance.groupby("model", sort=False):
        parsed = map(parsed_or_none, rows["ablation"].unique())
        if any(isinstance(one, AblateHead) and one.by == "zero" for one in parsed):
            chosen.append(str(model))
    return chosen

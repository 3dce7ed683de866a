"""How skipping a layer changes every later layer: a matrix of skipped by later layers."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from interp.errors import UserError
from interp.figures import style
from interp.labels import model_label, renamed

NEEDED = ["skipped", "layer", "value", "low", "high", "n", "interval"]


def downstream(
    source: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    caption: bool = True,
) -> style.PrintFigure:
    """The relative change of each later layer's contribution, by skipped layer.

    Args:
        source: the table of `interp.similarity.downstream_effects`, or a mapping of titles
            (models, `"later positions"`) to such tables: a panel each.
        labels: the words that are printed for models, by their names.
        width: width in inches; by default a column for one panel, otherwise the page.
        caption: whether the caption is printed under the figure.

    Returns:
        A Matplotlib figure of one panel per table.

    Raises:
        UserError: a table lacks a column.
    """
    given: dict[str, Any] = dict(source) if isinstance(source, Mapping) else {"": source}
    for name, table in given.items():
        missing = [c for c in NEEDED if not isinstance(table, pd.DataFrame) or c not in table]
        if missing:
            raise UserError(
                f"downstream{f' {name!r}' if name else ''}: it lacks {', '.join(missing)}; give "
                "the table of interp.similarity.downstream_effects"
            )
    table = pd.concat(
        [effects.assign(panel=name) for name, effects in given.items()], ignore_index=True
    )
    limit = float(np.nanmax(table["value"]))
    size = width or (style.COLUMN if len(given) == 1 else style.PAGE)
    style.check_width(size)
    with renamed(labels), matplotlib.rc_context(style.RC | {"axes.grid": False}):
        columns = min(len(given), max(1, int(size // 2)))
        lines = -(-len(given) // columns)
        side = (size - 1.1) / columns
        figure = style.new_figure(size, 0.9 + lines * (side + 0.35), table)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        image = None
        for axes in grid.flat[len(given) :]:
            axes.set_axis_off()
        for axes, (name, rows) in zip(grid.flat, given.items(), strict=False):
            cells = rows.pivot(index="skipped", columns="layer", values="value")  # noqa: PD010
            top = int(cells.columns.max())
            cells = cells.reindex(index=range(top + 1), columns=range(top + 1)).astype(float)
            axes.set_facecolor("white")
            image = axes.imshow(
                np.ma.masked_invalid(cells.to_numpy()), origin="lower", aspect="equal",
                vmin=0.0, vmax=limit, cmap="viridis_r",
            )  # fmt: skip
            axes.plot([-0.5, top + 0.5], [-0.5, top + 0.5], color="#c8c8c8", linewidth=0.6)
            axes.set_title(model_label(name) if name else "")
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(style.WholeNumbers())
        style.letter_panels(grid.flat[: len(given)])
        style.name_panels(grid, len(given), x="Later layer", y="Skipped layer")
        assert image is not None
        style.add_colour_bar(
            figure, image, list(grid.flat), label="Relative change", inches=side * lines
        )
        style.finish(figure, _notes(table), caption=caption)
        style.trim(figure, grid.flat[: len(given)])
    return figure


def _notes(table: pd.DataFrame) -> list[str]:
    low, high = int(table["n"].min()), int(table["n"].max())
    widest = float((table["high"] - table["low"]).max())
    kinds = [kind for kind in dict.fromkeys(table["interval"]) if kind[:1].isdigit()]
    return [
        f"n = {low} texts." if low == high else f"n = {low} to {high} texts.",
        "Colour: the norm of the change of what a layer adds, over the norm of what it adds in "
        "the whole model; mean over positions and texts.",
        f"Intervals in the table ({kinds[0]}): at most {widest:.2g} wide."
        if kinds and widest == widest
        else "No intervals: one text.",
    ]

"""Linear CKA of every pair of depths of one model or of two, and of the same depth of two."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from interp.errors import UserError
from interp.figures import palette, style, tables
from interp.labels import model_label, source_label

DEPTH = "Layers passed"
SQUARE = 0.72
"""The height of a panel divided by its width, with everything beside it."""


def heatmap(source: Any, *, width: float | None = None) -> style.PrintFigure:
    """CKA of every depth with every depth, a panel per series; grey where it is not defined.

    Args:
        source: `Similarity`, its `cka`, `cka_between`, or several of these (models, sources).
        width: width in inches; by default a column for one panel, otherwise the page.

    Returns:
        A Matplotlib figure of one panel per series.
    """
    table = _with_other(tables.table_from(source, "cka"))
    keys = ["model", "other_model", "source"]
    by_series = table.groupby(keys, sort=False)
    series = list(dict.fromkeys(table[keys].itertuples(index=False, name=None)))
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        columns = min(3, len(series))
        lines = -(-len(series) // columns)
        style.check_width(width)
        size = width or (style.COLUMN if columns == 1 else style.PAGE)
        figure = style.new_figure(size, 0.55 + lines * (0.35 + SQUARE * size / columns), table)
        panels = figure.subplots(lines, columns, squeeze=False)
        for axes in panels.flat[len(series) :]:
            axes.set_axis_off()
        image = None
        for axes, (model, other, source) in zip(panels.flat, series, strict=False):
            rows = by_series.get_group((model, other, source))
            cells = rows.pivot(index="other", columns="depth", values="value")  # noqa: PD010
            image = axes.imshow(
                np.ma.masked_invalid(cells.to_numpy(float)), origin="lower", aspect="equal",
                cmap="viridis", vmin=0, vmax=1,
            )  # fmt: skip
            axes.set_facecolor("#d0d0d0")
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(style.WholeNumbers())
            axes.set_xlabel(f"{DEPTH}, {model_label(model)}")
            axes.set_ylabel(f"{DEPTH}, {model_label(other)}")
            if len(series) > 1:
                axes.set_title(source_label(source))
        style.letter_panels(panels.flat[: len(series)])
        assert image is not None
        # squares leave room above them: the bar beside a single row of squares is as high as they
        # are
        beside = panels[0, -1].inset_axes((1.05, 0, 0.06, 1)) if lines == 1 else None
        bar = figure.colorbar(
            image, cax=beside, ax=None if beside else list(panels.flat), pad=0.02,
            aspect=20 * len(panels),
        )  # fmt: skip
        bar.outline.set_linewidth(0.6)
        bar.set_label("Linear CKA")
        notes = [
            tables.describe_n(table[table["n"] > 0]),
            "Unbiased estimate by groups of at most 256 examples, at the last token; no interval.",
        ]
        if table["value"].isna().any():
            notes.append("Grey: all examples have the same state there.")
        style.finish(figure, notes)
    return figure


def same_depth(source: Any, *, width: float = style.COLUMN) -> style.PrintFigure:
    """CKA of the same depth of two models, a line per pair of models or a source.

    Args:
        source: from `cka_between`, or several of them.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel.

    Raises:
        UserError: the table does not compare two models, or has both several pairs and several
            sources.
    """
    table = _with_other(tables.table_from(source, "cka"))
    rows = table[(table["model"] != table["other_model"]) & (table["depth"] == table["other"])]
    if rows.empty:
        raise UserError("CKA by depth: the table compares no two models; take `cka_between`")
    pairs = rows["model"].map(model_label) + " and " + rows["other_model"].map(model_label)
    if len(set(pairs)) > 1 and len(set(rows["source"])) > 1:
        raise UserError("CKA by depth: several pairs of models or several sources, not both")
    by_pair = len(set(pairs)) > 1
    rows = rows.assign(series=pairs if by_pair else rows["source"])
    names = tables.in_order(pairs) if by_pair else tables.tasks_in_order(rows["series"])
    # a pair has the colour of its second model
    others = tables.in_order(rows["other_model"])
    distinct = by_pair and len(others) == len(names)
    looks = list((palette.model_looks(others) if distinct else palette.looks(names)).values())
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 2.1 + 0.16 * len(names), table)
        axes = figure.subplots()
        for place, name in enumerate(names):
            line = rows[rows["series"] == name].sort_values("depth")
            axes.plot(
                line["depth"], line["value"], color=looks[place].colour,
                marker=looks[place].marker,
                label=name if by_pair else source_label(name),
            )  # fmt: skip
            if "low" in line:
                axes.fill_between(
                    line["depth"].to_numpy(float), line["low"].to_numpy(float),
                    line["high"].to_numpy(float), color=looks[place].colour, alpha=0.2,
                    linewidth=0,
                )  # fmt: skip
        axes.set_xlabel(DEPTH)
        axes.set_ylabel("Linear CKA of the same depth")
        axes.set_ylim(min(0.0, float(rows["value"].min())) - 0.02, 1.02)
        axes.xaxis.set_major_locator(style.WholeNumbers())
        if len(names) > 1:
            figure.legend(loc="outside upper center", ncols=1 if width < 5 else 3)
        notes = [tables.describe_n(rows), "At the last token.", _interval_words(rows)]
        if not by_pair:
            notes.insert(0, f"{pairs.iloc[0][:1].upper()}{pairs.iloc[0][1:]}.")
        if rows["value"].isna().any():
            notes.append("No point: all examples have the same state there.")
        style.finish(figure, notes)
    return figure


def _interval_words(rows: pd.DataFrame) -> str:
    """A sentence on what the band is; tables of older runs have no interval."""
    kinds = set(rows.get("interval", pd.Series(dtype=object))) - {"none"}
    return f"Bands: {', '.join(sorted(kinds))} over examples." if kinds else "No interval."


def _with_other(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `other_model`: a single model is compared with itself."""
    if "other_model" not in table:
        return table.assign(other_model=table["model"])
    return table.assign(other_model=table["other_model"].fillna(table["model"]))

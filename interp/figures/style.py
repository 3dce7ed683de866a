"""The style of every figure: sizes, fonts, panels and captions.

Sizes are those of a two-column journal. Nothing here changes matplotlib's global
settings: a figure is drawn inside `with matplotlib.rc_context(RC)`.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from interp.errors import UserError
from interp.figures.print_figure import RC as RC, PrintFigure as PrintFigure
from interp.labels import letters

COLUMN = 3.5


"""The width of one column, in inches."""


PAGE = 7.2


"""The width of a page of two columns, in inches."""


SMALL = 7


"""The font size of numbers in cells and of captions, in points; all other text has 8."""


PERCENT = (-4.0, 104.0)


"""The limits of an axis from 0 to 100, with room for whole marks at both ends."""


GREY = "#606060"


"""The colour of lines and words that belong to no series."""


WIDEST = 100.0
"""The largest width of a figure, in inches."""


@dataclass(frozen=True)
class Page:
    """The caller's choices for a figure, whatever its content.

    Attributes:
        width: the width in inches; None for the default.
        ylim: the limits of the vertical axis; None for the default.
        caption: whether the caption is printed.
        ax: the caller's own axes; None for a new figure.
    """

    width: float | None = None
    ylim: tuple[float, float] | None = None
    caption: bool = True
    ax: Axes | None = None

    def __post_init__(self) -> None:
        check_width(self.width)
        limits = self.ylim
        if limits is not None and not (
            isinstance(limits, tuple | list)
            and len(limits) == 2
            and all(isinstance(end, Real) and math.isfinite(end) for end in limits)
            and limits[0] != limits[1]
        ):
            raise UserError(f"ylim {limits!r:.80}: allowed are two different finite numbers")
        if self.ax is not None and not isinstance(self.ax, Axes):
            raise UserError(f"ax {self.ax!r:.80}: allowed are the axes of a Matplotlib figure")


def check_width(width: object) -> None:
    """Raise UserError unless a width is None or a number of inches that can be drawn."""
    if width is None:
        return
    real = isinstance(width, Real) and not isinstance(width, bool)
    if not real or not 0.5 <= float(width) <= WIDEST:  # type: ignore[arg-type]
        raise UserError(f"width {width!r:.80}: allowed are 0.5 to {WIDEST:g} inches")


PLAIN = Page()


def new_figure(width: float, height: float, data: pd.DataFrame) -> PrintFigure:
    """An empty figure of a given size in inches; call it inside `rc_context(RC)`."""
    check_width(width)
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.04)
    figure = PrintFigure(figsize=(width, height), layout=layout)
    figure.data = data
    return figure


def new_panels(
    count: int,
    data: pd.DataFrame,
    *,
    height: tuple[float, float],
    width: float | None = None,
    sharey: bool = False,
) -> tuple[PrintFigure, np.ndarray]:
    """A figure of `count` panels with letters; the last row may not be full.

    Args:
        count: the number of panels, three per row (two if there are four), fewer if the figure is
            narrow.
        data: the rows that are drawn.
        height: the height in inches of the figure without its panels, and of each row of panels.
        width: width in inches; by default a column for one panel, otherwise the page.
        sharey: whether the panels share their vertical axis.

    Returns:
        The figure and its panels, `[row, column]`.
    """
    check_width(width)
    size = width or (COLUMN if count == 1 else PAGE)
    columns = columns_of(count, size)
    rows = -(-count // columns)
    figure = new_figure(size, height[0] + rows * height[1], data)
    panels = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    letter_panels(panels.flat[:count])
    return figure, panels


def columns_of(count: int, width: float) -> int:
    """The number of panels side by side: at most three, none narrower than two inches."""
    return max(1, min(2 if count == 4 else 3, count, int(width // 2)))


def letter_panels(panels: Iterable[Axes]) -> None:
    """Write a bold letter at the upper left of each panel, if there are several."""
    drawn = list(panels)
    for letter, axes in zip(letters(), drawn, strict=False):
        if len(drawn) > 1:
            axes.set_title(letter, loc="left", fontweight="bold")


def name_panels(panels: np.ndarray, count: int, *, x: str, y: str) -> None:
    """Name the axes of `new_panels` at the left, and under the last panel of each column."""
    for axes in panels[:, 0]:
        axes.set_ylabel(y)
    for axes in panels.flat[max(0, count - panels.shape[1]) : count]:
        axes.set_xlabel(x)
        axes.tick_params(labelbottom=True)


class WholeNumbers(MaxNLocator):
    """Ticks at whole numbers, as many as there is room for at the size of their labels."""

    def __init__(self) -> None:
        super().__init__(16, integer=True, steps=[1, 2, 4, 5, 10])

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The ticks between two limits."""
        axis: Any = self.axis
        box, dpi = axis.axes.get_window_extent(), axis.axes.get_figure(root=True).dpi
        points = 72 / dpi * (box.width if axis.axis_name == "x" else box.height)
        digits = len(str(int(max(abs(vmin), abs(vmax)))))
        # digits of 8 points are 5.1 points wide
        room = 5.1 * digits + 5 if axis.axis_name == "x" else 13
        self.set_params(nbins=int(min(40, max(1, points // room))))
        return super().tick_values(vmin, vmax)


def finish(figure: PrintFigure, sentences: Iterable[str], *, caption: bool = True) -> None:
    """Write the caption under the figure, wrapped to its width, and compute the layout.

    Args:
        figure: the figure.
        sentences: the sentences of the caption, which are kept in `footnote` in any case.
        caption: whether the caption is printed.
    """
    figure.footnote = " ".join(sentence for sentence in sentences if sentence)
    if caption:
        # DejaVu Sans at 7 points has at least 18 characters per inch.
        wrapped = textwrap.fill(
            figure.footnote, int(18 * figure.get_figwidth()), break_on_hyphens=False
        )
        figure.supxlabel(
            wrapped, x=0.01, ha="left", fontsize=SMALL, color="#404040", linespacing=1.25
        )
    # Matplotlib makes tick labels when it first draws, with the settings at that time.
    figure.draw_without_rendering()
    if _break_titles(figure):
        figure.draw_without_rendering()


def _break_titles(figure: PrintFigure) -> bool:
    """Break titles that overlap the letter of their panel, and return whether there were any."""
    broken = False
    for axes in figure.axes:
        letter, title = axes.get_title(loc="left"), axes.get_title()
        if not letter or not title or "\n" in title:
            continue
        text, width = axes.title.get_window_extent(), axes.get_window_extent().width
        if text.width > width - 2 * 8 * figure.dpi / 72 * len(letter):
            axes.set_title(textwrap.fill(title, max(10, -(-len(title) // 2) + 3)))
            broken = True
    return broken


def add_colour_bar(
    figure: Figure, image: AxesImage, panels: Sequence[Axes], *, label: str, inches: float
) -> None:
    """Add a colour bar of fixed width at the right of some panels.

    Args:
        figure: the figure of the panels.
        image: the image that the colours belong to.
        panels: the panels beside the bar.
        label: the name and unit of the values.
        inches: the height of the panels together.
    """
    bar = figure.colorbar(image, ax=panels, pad=0.015, aspect=max(6.0, inches / 0.11))
    bar.outline.set_linewidth(0.6)
    # beside few rows, ticks at every step would overlap
    if inches < 0.5:
        bar.set_ticks([_rounded_inwards(end) for end in image.get_clim()])
    else:
        bar.locator = MaxNLocator(nbins=int(min(9, inches / 0.2)))
        bar.update_ticks()
    # a label that is longer than the bar would extend beyond the figure
    bar.set_label(label if inches > 0.075 * len(label) else label.replace(" (", "\n("))


def _rounded_inwards(value: float) -> float:
    """The value rounded towards zero to one digit."""
    if not value or not np.isfinite(value):
        return 0.0
    step = 10.0 ** np.floor(np.log10(abs(value)))
    return float(np.trunc(value / step) * step)


def add_legend(figure: Figure, series: Sequence[Artist], signs: Sequence[Artist]) -> None:
    """Add a legend above the figure: the series, and then the meaning of signs.

    In two columns, the signs are in the second one, beside the series.
    """
    entries = [*series, *signs]
    columns = legend_columns(entries, figure.get_figwidth())
    if columns == 2 and abs(len(series) - len(signs)) <= 2:
        blank = Line2D([], [], linestyle="none", label=" ")
        longest = max(len(series), len(signs))
        entries = [
            *series, *[blank] * (longest - len(series)), *signs, *[blank] * (longest - len(signs)),
        ]  # fmt: skip
    figure.legend(handles=entries, loc="outside upper center", ncols=columns)


def legend_columns(entries: Sequence[Artist], width: float) -> int:
    """The number of columns of a legend as wide as the figure, with rows as even as possible.

    Args:
        entries: the entries of the legend.
        width: the width of the figure in inches.

    Returns:
        A number of columns, at least 1.
    """
    # a letter of 8 points is 0.06 inches wide on average, a mark with its gaps 0.44
    longest = max((len(str(entry.get_label())) for entry in entries), default=1)
    most = max(1, min(6, int(width / (0.44 + 0.06 * longest)), len(entries)))
    return -(-len(entries) // -(-len(entries) // most))


def fit_height(figure: PrintFigure, axes: Iterable[Axes], inches: float) -> None:
    """Make the figure as high as its panels, names, legend and caption need.

    Args:
        figure: a figure on which `finish` was called.
        axes: the panels of one column of the figure, from top to bottom.
        inches: the height that each panel should have.
    """
    for _ in range(2):
        missing = sum(
            inches - panel.get_position().height * figure.get_figheight() for panel in axes
        )
        figure.set_figheight(max(1.0, figure.get_figheight() + missing))
        figure.draw_without_rendering()


def trim(figure: PrintFigure, panels: Iterable[Axes]) -> None:
    """Remove the height that panels of a fixed shape leave empty.

    Args:
        figure: a figure on which `finish` was called.
        panels: all of its panels, in one row.
    """
    drawn = list(panels)
    for _ in range(3):
        blank = min(
            panel.get_position(original=True).height - panel.get_position().height
            for panel in drawn
        )
        if blank * figure.get_figheight() < 0.02:
            return
        figure.set_figheight(figure.get_figheight() * (1 - blank))
        figure.draw_without_rendering()


def cell_points(axes: Axes) -> tuple[float, float]:
    """The width and height in points of a cell of an image, after the layout is computed."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_window_extent()
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    scale = 72 / figure.dpi
    width, height = box.width / abs(right - left), box.height / abs(high - low)
    return float(scale * width), float(scale * height)

"""One look for every figure: sizes, type, colours and the words for names.

Sizes are those of a two-column journal; colours are those of Okabe & Ito (2008), which remain
distinct for colour-blind readers. Nothing here changes matplotlib's global settings: a figure is
drawn inside ``with matplotlib.rc_context(RC)``.
"""

import io
import string
import textwrap
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from interp.labels import PAIRS, SKILLS, model_label, plain_benchmark

COLUMN = 3.5


"""Width of one column, inches."""


PAGE = 7.2


"""Width of a page of two columns, inches."""


SMALL = 7


"""Points: the numbers in cells and the small print under a figure; everything else is 8."""


RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so all machines draw the same
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlepad": 4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "pdf.fonttype": 42,  # TrueType, as journals ask; matplotlib's own default is Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",  # the reader's machine may lack the font
    "svg.hashsalt": "interp",  # the same figure gives the same file
    "savefig.dpi": 300,
}


BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"


YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"


COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)


"""Yellow is left out: it is too pale for a line on white paper."""


MARKERS = ("o", "s", "^", "D", "v", "<", ">")


"""As many as `COLOURS`, so that a figure can be read without colour."""


SKILL_COLOURS = {
    **dict(zip(SKILLS, (BLUE, VERMILION, GREEN), strict=True)),
    "mmlu": BLUE,
    "kv": VERMILION,
    "gsm8k": GREEN,
    "mathqa": PURPLE,
    "hellaswag": ORANGE,
    "openbookqa": BLUE,
    "qasc": BLUE,
    "nq-open": BLUE,
    **dict.fromkeys(
        ("world-facts-passage", "openbookqa-fact", "qasc-facts", "nq-open-gold"), ORANGE
    ),
}


"""A public benchmark has the colour of the skill that it stands for; a passage changes it."""


MODEL_COLOURS = {
    "base": BLUE,
    "teacher": ORANGE,
    "distilled": PURPLE,
    "Llama-3.1-8B": BLUE,
    "Qwen3-8B": GREEN,
    "DeepSeek-R1-Distill-Llama-8B": PURPLE,
}


METRIC_COLOURS = {
    "acc": BLACK,
    "acc_ce": VERMILION,
    "acc_norm": SKY,
    "gold_prob": GREEN,
}


class PrintFigure(Figure):
    """A figure that holds its data and shows itself in a notebook, without pyplot's state."""

    data: pd.DataFrame
    """The rows that are drawn."""
    footnote: str = ""
    """The line under the figure: n, interval, test and correction."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context(RC):
            self.savefig(buffer, format="png", dpi=144)
        # a palette takes a third of the bytes, and notebooks are committed with their figures
        image, small = Image.open(buffer).convert("RGB"), io.BytesIO()
        image.quantize(256).save(small, format="png", optimize=True)
        return small.getvalue()


def new_figure(width: float, height: float, data: pd.DataFrame) -> PrintFigure:
    """An empty figure of a printed size in inches; call inside ``rc_context(RC)``."""
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.04)
    figure = PrintFigure(figsize=(width, height), layout=layout)
    figure.data = data
    return figure


def new_panels(
    count: int,
    data: pd.DataFrame,
    *,
    height: tuple[float, float],
    width: float = PAGE,
    sharey: bool = False,
) -> tuple[PrintFigure, np.ndarray]:
    """A figure of ``count`` panels, three a row (four: two); the last row may not be full.

    Args:
        count: Panels; a single one is one column wide.
        data: The rows that are drawn.
        height: Inches of the figure without its panels, and of each row of panels.
        width: Inches.
        sharey: Whether the panels share their vertical axis.

    Returns:
        The figure and its panels, ``[row, column]``.
    """
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    size = width if columns > 1 else COLUMN
    figure = new_figure(size, height[0] + rows * height[1], data)
    panels = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    letter_panels(panels.flat[:count])
    return figure, panels


def letter_panels(panels: Iterable[Axes]) -> None:
    """A bold letter at the upper left of each panel, where there are several."""
    drawn = list(panels)
    for letter, axes in zip(string.ascii_uppercase, drawn, strict=False):
        if len(drawn) > 1:
            axes.set_title(letter, loc="left", fontweight="bold")


def name_panels(panels: np.ndarray, count: int, *, x: str, y: str) -> None:
    """Name the axes of `new_panels`: at the left, and under the last panel of each column."""
    for axes in panels[:, 0]:
        axes.set_ylabel(y)
    for axes in panels.flat[count - panels.shape[1] : count]:
        axes.set_xlabel(x)
        axes.tick_params(labelbottom=True)


def finish(figure: PrintFigure, sentences: Iterable[str]) -> None:
    """Write the small print under the figure, wrapped to its width, and lay everything out."""
    figure.footnote = " ".join(sentences)
    # DejaVu Sans at 7 points sets about 19 characters an inch.
    wrapped = textwrap.fill(
        figure.footnote, int(19 * figure.get_figwidth()), break_on_hyphens=False
    )
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=SMALL, color="#404040", linespacing=1.25)
    # Matplotlib makes tick labels when it first draws, with the settings of that moment.
    figure.draw_without_rendering()


def skill_colours(benchmarks: Iterable[str]) -> dict[str, str]:
    """Colour of each benchmark, the same in every figure."""
    names = list(benchmarks)
    plain = {name: PAIRS.sub("kv", plain_benchmark(name)) for name in names}
    return _assign(names, {n: SKILL_COLOURS.get(plain[n], "") for n in names})


def metric_colours(metrics: Iterable[str]) -> dict[str, str]:
    """Colour of each metric, the same in every figure."""
    return _assign(metrics, METRIC_COLOURS)


def skill_markers(benchmarks: Iterable[str]) -> dict[str, str]:
    """Marker of each benchmark; it goes with the colour."""
    marker = dict(zip(COLOURS, MARKERS, strict=True))
    return {name: marker[colour] for name, colour in skill_colours(benchmarks).items()}


def model_colours(models: Iterable[str]) -> dict[str, str]:
    """Colour of each model, the same in every figure."""
    names = list(models)
    return _assign(names, {name: MODEL_COLOURS.get(model_label(name), "") for name in names})


def _assign(names: Iterable[str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Fixed colours for known names, one from the name's own hash for others.

    Only where two names of one figure would share a colour does the later one take the next free.
    """
    chosen: dict[str, str] = {}
    distinct = list(dict.fromkeys(names))
    reserved = {fixed[name] for name in distinct if fixed.get(name)}
    for name in sorted(distinct, key=lambda name: not fixed.get(name)):
        start = zlib.crc32(name.encode())
        order = [COLOURS[(start + step) % len(COLOURS)] for step in range(len(COLOURS))]
        wished = [fixed[name]] if fixed.get(name) else [c for c in order if c not in reserved]
        free = [colour for colour in [*wished, *order] if colour not in chosen.values()]
        chosen[name] = [*free, *order][0]
    return chosen

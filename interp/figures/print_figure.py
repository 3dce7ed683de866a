"""A figure for print: fonts, sizes, and one layout for every format."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on all machines
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
    "pdf.fonttype": 42,  # TrueType, which journals require; matplotlib's default is Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",  # the reader's machine may lack the font
    "svg.hashsalt": "interp",  # the same figure gives the same file
    "savefig.dpi": 300,
    # names of tasks and models are data, in which a "$" does not begin a formula
    "text.parse_math": False,
}
"""Matplotlib's settings for every figure: sizes at the printed size, fonts and lines."""


class PrintFigure(Figure):
    """A figure that holds its data and is displayed in a notebook, without pyplot's state."""

    data: pd.DataFrame
    """The rows that are drawn."""
    footnote: str = ""
    """The caption under the figure: n, interval, test and correction."""
    _is_laid_out: bool = False

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Write the figure as matplotlib does, with fonts that journals accept (TrueType)."""
        with matplotlib.rc_context(RC):
            super().savefig(*args, **kwargs)

    def get_layout_engine(self) -> Any:
        """The layout engine; None inside `laid_out_once`, where the layout is already done."""
        return None if self._is_laid_out else super().get_layout_engine()

    @contextmanager
    def laid_out_once(self, dpi: int) -> Iterator[None]:
        """A context in which the figure is written in every format with one layout.

        Matplotlib would compute the layout again for each, which takes longer than drawing.

        Args:
            dpi: dots per inch, for which the text is measured.

        Yields:
            None. Afterwards the layout is computed again whenever the figure is shown.
        """
        engine, before = self.get_layout_engine(), self.dpi
        self.dpi = dpi
        self.draw_without_rendering()
        self.dpi, self._is_laid_out = before, True
        try:
            yield
        finally:
            self._is_laid_out = False
            self.set_layout_engine(engine)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context(RC):
            self.savefig(buffer, format="png", dpi=144)
        # a palette needs a third of the bytes, and notebooks are committed with their figures
        image, small = Image.open(buffer).convert("RGB"), io.BytesIO()
        image.quantize(256).save(small, format="png", optimize=True)
        return small.getvalue()

"""Figures as SVG elements of the page."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup

from interp.errors import UserError
from interp.figures import COLUMN, RC, PrintFigure
from interp.labels import uncapitalised

CAPTIONS = {
    "layers": "Score by {x}; the dashed lines are the whole model.",
    "drops": "Drop by {x}: the whole model's score minus the ablated model's.",
    "heatmap": "Drop by task and {x}.",
    "others": "Drop by ablation.",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Vector:
    """A figure of the page.

    Attributes:
        svg: the drawing; None where the tables do not allow it.
        caption: what it shows.
        words: its small print, or why it is not there.
        inches: its width as it is drawn.
        narrow: the same for a phone, where the drawing is wider than a column.
    """

    svg: Markup | None
    caption: str
    words: str
    inches: float = 0.0
    narrow: Markup | None = None


def draw(
    drawings: Mapping[str, Callable[[], PrintFigure]],
    prefix: str,
    *,
    narrow: Mapping[str, Callable[[], PrintFigure]] | None = None,
    several: bool = False,
) -> list[Vector]:
    """Draw figures; one that the tables do not allow leaves its reason.

    Args:
        drawings: from `interp.figures.drawings`.
        prefix: what all names begin with inside the SVGs, distinct on a page.
        narrow: the same figures, one column wide.
        several: only those that show several models.

    Returns:
        One entry per figure, in the order of `drawings`.
    """
    elements = []
    for name, figure in drawings.items():
        try:
            drawn = figure()
        except UserError as error:
            elements.append(Vector(None, f"{name}:", f"not drawn: {error}"))
            continue
        if several and len(set(drawn.data["model"])) < 2:
            continue
        caption = _caption(name, drawn)
        svg = inline_svg(drawn, f"{prefix}-{name}-")
        inches = drawn.get_figwidth()
        column = None
        if narrow is not None and inches > COLUMN:
            column = inline_svg(narrow[name](), f"{prefix}-narrow-{name}-")
        elements.append(Vector(svg, caption, drawn.footnote, inches, column))
    return elements


def inline_svg(figure: PrintFigure, prefix: str) -> Markup:
    """A figure as an SVG element: no prologue, and names that are distinct on a page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(RC):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="|href="#|url\(#', lambda found: found[0] + prefix, text)
    # the figure element around it names it
    return Markup(text.replace("<svg ", '<svg aria-hidden="true" ', 1).strip())


def _caption(name: str, figure: PrintFigure) -> str:
    """What a figure shows, by its name and the name of its horizontal axis."""
    axes = [uncapitalised(panel.get_xlabel()) for panel in figure.axes if panel.get_xlabel()]
    x = axes[-1] if axes else "ablation"
    for key, caption in CAPTIONS.items():
        if key == name or f"-{key}-" in f"-{name}-":
            return caption.format(x=x)
    return f"Drop by {x}, a map."

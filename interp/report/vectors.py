"""Figures as vectors inside a page."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup

from interp.errors import UserError
from interp.figures import RC, PrintFigure

CAPTIONS = {
    "layers": "Score by ablated layer; the dashed lines are the whole model.",
    "drops": "Drop by ablated layer: the whole model's score minus the ablated model's.",
    "heatmap": "Drop by task and ablated layer.",
    "heads": "Drop by ablated head.",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Vector:
    """A figure of the page: its SVG, what it shows, or why it could not be drawn; its width."""

    svg: Markup | None
    caption: str
    words: str
    inches: float = 0.0


def draw(drawings: Mapping[str, Callable[[], PrintFigure]], prefix: str) -> list[Vector]:
    """Draw figures; one that the tables do not allow leaves its reason.

    Args:
        drawings: from `interp.figures.drawings`.
        prefix: of all names inside the SVGs, distinct on a page.
    """
    found = []
    for name, figure in drawings.items():
        caption = _caption(name)
        try:
            drawn = figure()
        except UserError as error:
            found.append(Vector(None, caption, f"not drawn: {error}"))
            continue
        svg = inline_svg(drawn, f"{prefix}-{name}-")
        found.append(Vector(svg, caption, drawn.footnote, drawn.get_figwidth()))
    return found


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


def _caption(name: str) -> str:
    kind, _, plain = name.rpartition("-")
    words = {"attn": " (attention skipped)", "mlp": " (MLP skipped)", "swap": " (layer swapped)"}
    for key, caption in CAPTIONS.items():
        if plain == key or name.startswith(key):
            return caption.removesuffix(".") + words.get(kind, "") + "."
    return name

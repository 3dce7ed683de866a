"""The trace of one example: its tokens, and lines from the answer to the attended tokens."""

import math
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from interp.figures import palette, style, tables

LEAST = 0.05
"""The attention below which no line is drawn."""

CHARACTER, LINE = 0.062, 0.27
"""The width of a character of 6.5 points and the distance between lines, in inches."""

ROLES = {"gold value": "#FFD9A8", "gold key": "#CDE6F7", "answer": "#D5F0E2"}


def example(source: Any, *, width: float = style.PAGE) -> style.PrintFigure:
    """The tokens of one example, with lines from each answer token to the tokens heads attend to.

    Args:
        source: `ExampleTrace`, or its `table()`.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel.
    """
    table = tables.table_from(source, "table")
    tokens = table.drop_duplicates("position").sort_values("position")
    texts = [_shown(text) for text in tokens["text"]]
    places, n_lines = _lay_out(texts, width - 0.2)
    heads = list(dict.fromkeys(zip(table["layer"], table["head"], strict=True)))
    colours = [c for c in palette.COLOURS if c != palette.BLACK]
    middles = {
        position: (x + CHARACTER * len(text) / 2, y)
        for position, text, (x, y) in zip(tokens["position"], texts, places, strict=True)
    }
    drawn = table[table["attention"] >= LEAST]
    # room above the text is needed only for lines within the first row
    above = [
        heads.index((row["layer"], row["head"]))
        for row in drawn.to_dict("records")
        if middles[row["answer_token"]][1] == middles[row["position"]][1] == 0
    ]
    room = 0.24 + 0.06 * max(above) if above else 0.14
    with matplotlib.rc_context(style.RC | {"axes.grid": False}):
        figure = style.new_figure(width, 0.7 + room + LINE * n_lines, table)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, width - 0.2)
        axes.set_ylim(-(n_lines - 0.3) * LINE, room)
        _write(axes, texts, list(tokens["role"]), places)
        for number, head in enumerate(heads):
            rows = table[(table["layer"] == head[0]) & (table["head"] == head[1])]
            # the arcs of different heads have different heights, which keeps them apart
            height = 0.13 + 0.06 * number
            for row in rows[rows["attention"] >= LEAST].to_dict("records"):
                begin, end = middles[row["answer_token"]], middles[row["position"]]
                bend = 2 * height / max(math.dist(begin, end), 4 * height)
                axes.add_patch(
                    FancyArrowPatch(
                        begin, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
                        mutation_scale=5,
                        color=colours[number % len(colours)], alpha=0.25 + 0.7 * row["attention"],
                        linewidth=0.4 + 1.4 * row["attention"], shrinkA=5, shrinkB=5,
                    )
                )  # fmt: skip
        handles = [
            Line2D([], [], color=colours[number % len(colours)], label=f"L{layer}H{head}")
            for number, (layer, head) in enumerate(heads)
        ]
        handles += [
            Line2D([], [], color=colour, linewidth=6, label=role.capitalize())
            for role, colour in ROLES.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(8, len(handles)))
        style.finish(
            figure,
            [
                "Lines: attention of the position that predicts an answer token, drawn from that "
                f"token; width and strength grow with attention, none is drawn below {LEAST}."
            ],
        )
    return figure


def _shown(text: str) -> str:
    """A token as text, with spaces and line ends made visible."""
    return text.strip(" ").replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}") or "\u2423"


def _lay_out(texts: list[str], width: float) -> tuple[list[tuple[float, float]], int]:
    """The left end and the line of each token, and the number of lines."""
    places, x, line = [], 0.05, 0
    for text in texts:
        long = CHARACTER * (len(text) + 1.2)
        if x + long > width:
            x, line = 0.05, line + 1
        places.append((x, -line * LINE))
        x += long
    return places, line + 1


def _write(
    axes: Axes, texts: list[str], roles: list[str], places: list[tuple[float, float]]
) -> None:
    for text, role, (x, y) in zip(texts, roles, places, strict=True):
        box = {"boxstyle": "round,pad=0.15", "facecolor": ROLES.get(role, "none"), "linewidth": 0}
        axes.text(x, y, text, fontsize=6.5, family="DejaVu Sans Mono", va="center", bbox=box)

"""Labels beside points, which do not overlap each other or the points."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from interp.figures import style

# points (1/72 inch): a digit of DejaVu Sans at `style.SMALL`, and what a mark covers
DIGIT, HEIGHT, MARK = 4.6, 6.0, 2.2
NEAR = 6.5
"""Points from a mark to the middle of its label; farther away, with a line, if that is taken."""


def label_points(
    axes: Axes, x: Sequence[float], y: Sequence[float], labels: Sequence[str], colour: str
) -> None:
    """Write a short label beside each point; in a crowd farther away, with a thin line.

    Call it after the limits of the axes and the layout of the figure are set, because free space is
    searched for in inches.

    Args:
        axes: the axes in which the points are drawn.
        x: horizontal place, in data units.
        y: vertical place, in data units.
        labels: one per point.
        colour: the colour of labels and lines.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    marks = scale * axes.transData.transform(np.column_stack([x, y]))
    inside = scale * axes.transAxes.transform([[0, 0], [1, 1]])
    taken = [_box(mark, 2 * MARK, 2 * MARK) for mark in marks]
    # points in a crowd choose first: the others have room in any case
    crowd = np.linalg.norm(marks[:, None] - marks[None], axis=-1).clip(max=30).sum(axis=1)
    for place in np.argsort(crowd, kind="stable"):
        width = DIGIT * len(labels[place])
        boxes = [(offset, _box(marks[place] + offset, width, HEIGHT)) for offset in _offsets()]
        fitting = [box for box in boxes if _within(box[1], inside)] or boxes
        offset, box = min(fitting, key=lambda one: sum(_overlap(one[1], other) for other in taken))
        taken.append(box)
        far = np.hypot(*offset) > NEAR + 1
        axes.annotate(
            labels[place], (x[place], y[place]), xytext=tuple(offset),
            textcoords="offset points", ha="center", va="center_baseline", fontsize=style.SMALL,
            color=colour, in_layout=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkA": 3,
                        "shrinkB": 1.5} if far else None,
        )  # fmt: skip


def _offsets() -> Iterator[Float[np.ndarray, "2"]]:
    """The places for a label, best first: above, below, beside, then farther away."""
    for radius in (NEAR, 12.0, 17.0, 22.0, 28.0):
        for degrees in (90, 270, 0, 180, 45, 135, 315, 225, 67, 113, 23, 157, 293, 247):
            angle = np.deg2rad(degrees)
            yield radius * np.array([np.cos(angle), np.sin(angle)])


def _box(middle: Float[np.ndarray, "2"], width: float, height: float) -> Float[np.ndarray, "2 2"]:
    half = np.array([width, height]) / 2
    return np.stack([middle - half, middle + half])


def _within(box: Float[np.ndarray, "2 2"], outer: Float[np.ndarray, "2 2"]) -> bool:
    return bool((box[0] >= outer[0]).all() and (box[1] <= outer[1]).all())


def _overlap(one: Float[np.ndarray, "2 2"], other: Float[np.ndarray, "2 2"]) -> float:
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    return float(sides.prod()) if (sides > 0).all() else 0.0

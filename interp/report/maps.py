"""Maps to click: layers or heads in rows and columns, each cell a drop that opens its examples."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.colors import to_hex

from interp.figures import ALPHA, Kind, colour_limit, kinds
from interp.labels import kind_label, task_label
from interp.report.tables import measured, signed

COLOURS = "RdBu_r"


@dataclass(frozen=True)
class Cell:
    """A drop: its text, what a screen reader says, its colours, and the examples it opens."""

    text: str
    words: str
    colour: str
    ink: str
    significant: bool
    target: str | None


@dataclass(frozen=True)
class Map:
    """A table of drops.

    Attributes:
        caption: what is in it.
        corner: what its rows and columns are.
        columns: their names.
        rows: name and cells of each; None where nothing was run.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def families(ablations: Iterable[str]) -> dict[str, list[str]]:
    """Ablations by what they are called; each is counted once."""
    by_family: dict[str, list[str]] = {}
    counted: set[str] = set()
    for kind in kinds(ablations).values():
        texts_of_kind = [text for text in kind.places if text not in counted]
        counted |= set(texts_of_kind)
        if texts_of_kind:
            by_family.setdefault(kind_label(kind.name), []).extend(texts_of_kind)
    return by_family


def maps(importance: pd.DataFrame, targets: Mapping[tuple[str, str], str]) -> list[Map]:
    """The maps of one run: tasks by layers, layers by heads, or a list of anything else.

    Args:
        importance: one metric per task.
        targets: (task, ablation) to the name of its examples on the page.

    Returns:
        Maps in the order in which the page shows them.
    """
    limits = {
        str(unit): colour_limit(rows) for unit, rows in importance.groupby("unit", sort=False)
    }
    cells = {
        (row["task"], row["ablation"]): _cell(row, limits[row["unit"]], targets)
        for row in importance.to_dict("records")
    }
    tasks = list(dict.fromkeys(importance["task"]))
    drawn_maps = []
    for kind in kinds(importance["ablation"]).values():
        if kind.shape == "map":
            drawn_maps += [_by_head(kind, task, cells) for task in tasks]
        elif kind.shape == "curve":
            drawn_maps.append(_by_layer(kind, tasks, cells))
        else:
            drawn_maps.append(_listed(kind, tasks, cells))
    return drawn_maps


Cells = Mapping[tuple[str, str], Cell]


def _by_layer(kind: Kind, tasks: Sequence[str], cells: Cells) -> Map:
    layers = {place: text for text, (place, _) in kind.places.items()}
    chain = kind.axes[0].startswith(("Layers", "First"))
    corner = kind.axes[0].lower() if chain else "layer"
    return Map(
        _capitalised(kind_label(kind.name)),
        f"Task \\ {corner}",
        tuple(map(str, sorted(layers))),
        tuple(
            (task_label(task), tuple(cells.get((task, layers[i])) for i in sorted(layers)))
            for task in tasks
        ),
    )


def _by_head(kind: Kind, task: str, cells: Cells) -> Map:
    places = {(row, column): text for text, (column, row) in kind.places.items()}
    columns = sorted({column for _, column in places})
    # layer 0 at the bottom, as in the figures
    numbers = sorted({row for row, _ in places}, reverse=True)
    rows = [
        (str(row), tuple(cells.get((task, places.get((row, column), ""))) for column in columns))
        for row in numbers
    ]
    x, y = kind.axes
    return Map(
        f"{_capitalised(kind_label(kind.name))}: {task_label(task)}",
        f"{y} \\ {x.rpartition('/')[2].removeprefix('value ').lower()}",
        tuple(map(str, columns)),
        tuple(rows),
    )


def _listed(kind: Kind, tasks: Sequence[str], cells: Cells) -> Map:
    rows = tuple((text, tuple(cells.get((task, text)) for task in tasks)) for text in kind.places)
    name = _capitalised(kind_label(kind.name))
    return Map(name, "Ablation \\ task", tuple(map(task_label, tasks)), rows)


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def _cell(row: Mapping[Any, Any], limit: float, targets: Mapping[tuple[str, str], str]) -> Cell:
    drop, significant = float(row["drop"]), bool(row["p_adjusted"] < ALPHA)
    target = targets.get((row["task"], row["ablation"]))
    if math.isnan(drop):
        words = f"{row['ablation']}, {task_label(row['task'])}: no drop, the output was not finite"
        return Cell("failed", words, "#d8d8d8", "#1a1a1a", False, target)
    shade = matplotlib.colormaps[COLOURS]((drop / limit + 1) / 2)
    points = row["unit"] == "points"
    words = (
        f"{row['ablation']}, {task_label(row['task'])}: drop {measured(row)}, n = {row['n']}"
        f"{', significant' if significant else ''}{'; its examples' if target else ''}"
    )
    return Cell(
        signed(drop, places=0 if points else None) + ("*" if significant else ""),
        words,
        to_hex(shade),
        "#ffffff" if abs(drop) > 0.6 * limit else "#1a1a1a",
        significant,
        target,
    )

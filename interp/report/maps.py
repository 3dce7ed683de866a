"""Maps to click: layers or heads in rows and columns, each cell a drop that opens its examples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.colors import to_hex

from interp.ablations import (
    AblateHead,
    AblateKVGroup,
    SkipAttention,
    SkipLayer,
    SkipLayers,
    SkipMLP,
    SwapLayer,
    SwapLayers,
    parsed_or_none,
)
from interp.figures import ALPHA
from interp.labels import task_label
from interp.report.tables import measured, signed

COLOURS = "RdBu_r"
FAMILIES: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("layers skipped", lambda one: isinstance(one, SkipLayer)),
    ("attentions skipped", lambda one: isinstance(one, SkipAttention)),
    ("MLPs skipped", lambda one: isinstance(one, SkipMLP)),
    ("layers swapped", lambda one: isinstance(one, SwapLayer) and one.part == "layer"),
    ("attentions swapped", lambda one: isinstance(one, SwapLayer) and one.part == "attention"),
    ("MLPs swapped", lambda one: isinstance(one, SwapLayer)),
    ("blocks of layers skipped", lambda one: isinstance(one, SkipLayers)),
    ("blocks of layers swapped", lambda one: isinstance(one, SwapLayers)),
    ("heads put to zero", lambda one: isinstance(one, AblateHead) and one.by == "zero"),
    ("heads put to their mean", lambda one: isinstance(one, AblateHead) and one.by == "mean"),
    (
        "heads given their value on another example",
        lambda one: isinstance(one, AblateHead) and one.by == "resample",
    ),
    (
        "heads put to zero with their groups",
        lambda one: isinstance(one, AblateHead) and one.by == "group",
    ),
    ("key/value groups put to zero", lambda one: isinstance(one, AblateKVGroup)),
    ("other ablations", lambda one: True),
)
"""What ablations of a kind are called, and how they are told; the first that fits counts."""


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
    """Ablations by what they are called, in the order of `FAMILIES`; kinds that are there."""
    found: dict[str, list[str]] = {name: [] for name, _ in FAMILIES}
    for text in ablations:
        one = parsed_or_none(text)
        found[next(name for name, fits in FAMILIES if fits(one))].append(text)
    return {name: texts for name, texts in found.items() if texts}


def maps(importance: pd.DataFrame, targets: Mapping[tuple[str, str], str]) -> list[Map]:
    """The maps of one run: tasks by layers, layers by heads, or a list of anything else.

    Args:
        importance: one metric a task.
        targets: (task, ablation) to the name of its examples on the page.
    """
    limits = importance.groupby("unit")["drop"].agg(lambda drops: drops.abs().max() or 1.0)
    cells = {
        (row["task"], row["ablation"]): _cell(row, float(limits[row["unit"]]), targets)
        for row in importance.to_dict("records")
    }
    tasks = list(dict.fromkeys(importance["task"]))
    found = []
    for name, texts in families(dict.fromkeys(importance["ablation"])).items():
        parsed = [parsed_or_none(text) for text in texts]
        if all(isinstance(one, AblateHead | AblateKVGroup) for one in parsed):
            found += [_by_head(name, task, texts, cells) for task in tasks]
        elif all(hasattr(one, "layer") for one in parsed):
            found.append(_by_layer(name, tasks, texts, cells))
        else:
            found.append(_listed(name, tasks, texts, cells))
    return found


Cells = Mapping[tuple[str, str], Cell]


def _by_layer(name: str, tasks: Sequence[str], texts: Sequence[str], cells: Cells) -> Map:
    layers = {_number(text, "layer"): text for text in texts}
    return Map(
        _capitalised(name),
        "Task \\ layer",
        tuple(map(str, sorted(layers))),
        tuple(
            (task_label(task), tuple(cells.get((task, layers[i])) for i in sorted(layers)))
            for task in tasks
        ),
    )


def _by_head(name: str, task: str, texts: Sequence[str], cells: Cells) -> Map:
    groups = hasattr(parsed_or_none(texts[0]), "group")
    column = "group" if groups else "head"
    places = {(_number(text, "layer"), _number(text, column)): text for text in texts}
    heads = sorted({head for _, head in places})
    # layer 0 at the bottom, as in the figures
    layers = sorted({layer for layer, _ in places}, reverse=True)
    rows = [
        (str(layer), tuple(cells.get((task, places.get((layer, head), ""))) for head in heads))
        for layer in layers
    ]
    return Map(
        f"{_capitalised(name)}: {task_label(task)}",
        f"Layer \\ {column}",
        tuple(map(str, heads)),
        tuple(rows),
    )


def _listed(name: str, tasks: Sequence[str], texts: Sequence[str], cells: Cells) -> Map:
    rows = tuple((text, tuple(cells.get((task, text)) for task in tasks)) for text in texts)
    return Map(_capitalised(name), "Ablation \\ task", tuple(map(task_label, tasks)), rows)


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def _number(text: str, name: str) -> int:
    return int(getattr(parsed_or_none(text), name))


def _cell(row: Mapping[Any, Any], limit: float, targets: Mapping[tuple[str, str], str]) -> Cell:
    drop, significant = float(row["drop"]), bool(row["p_adjusted"] < ALPHA)
    shade = matplotlib.colormaps[COLOURS]((drop / limit + 1) / 2)
    points = row["unit"] == "points"
    target = targets.get((row["task"], row["ablation"]))
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

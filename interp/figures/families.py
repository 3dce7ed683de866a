"""The kinds of ablations in a table, and the place of each ablation in a figure.

The kind of an ablation follows from its text form alone (`layer:7`, `head:7.3@mean`, `layers:2-5`),
so that a new kind of ablation is drawn without changes here. One number is a place on an axis, two
numbers are a cell of a map, and any other ablation is listed by name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from interp.labels import block_axis, count_axis, layer_axis
from interp.stats import BASELINE

Shape = Literal["curve", "map", "list"]

LISTED = "others"
"""The kind of ablations that have no place on an axis: hooks, combinations, orders of layers."""

_FORM = r"(?P<form>[a-z_-]+(?::[a-z_-]+)*):"
_SUFFIX = r"(?P<suffix>@[^+]*)?"
_ONE = re.compile(_FORM + r"(?P<first>\d+)" + _SUFFIX)
_CELL = re.compile(_FORM + r"(?P<first>\d+)\.(?P<second>\d+)" + _SUFFIX)
_BLOCK = re.compile(_FORM + r"(?P<first>\d+)-(?P<second>\d+)" + _SUFFIX)

SINGULAR = {"layers": "layer", "swaps": "swap", "swaps-attn": "swap-attn", "swaps-mlp": "swap-mlp"}
"""The forms of blocks, and the form of the single layer with which their chains begin."""

WINDOWS = ("repeat", "reverse", "parallel")
"""The forms of windows that are drawn as a triangle over their first and last layers."""


@dataclass(frozen=True)
class Kind:
    """Ablations of one kind.

    Attributes:
        name: its name, for `kind=` of a figure: `layer`, `head@mean`, `cumulative`, ...
        shape: whether they are drawn over one axis, as cells of a map, or as a list.
        axes: the names of the horizontal and the vertical axis; the second is empty for curves.
        places: for each text form its place: a number on the horizontal axis, and the row of a map.
    """

    name: str
    shape: Shape
    axes: tuple[str, str]
    places: Mapping[str, tuple[int, int]]


def kinds(ablations: Iterable[str]) -> dict[str, Kind]:
    """The kinds of some ablations, by name; every ablation but the baseline is in at least one.

    Args:
        ablations: text forms.

    Returns:
        Kinds over one axis first, then maps, then lists, each in the order of the ablations.
    """
    texts = [text for text in dict.fromkeys(ablations) if text != BASELINE]
    kinds_held = [*_of_one_number(texts), *_of_cells(texts), *_of_blocks(texts), *_of_sums(texts)]
    placed = {text for kind in kinds_held for text in kind.places}
    rest = [text for text in texts if text not in placed]
    if rest:
        places = {text: (number, 0) for number, text in enumerate(rest)}
        kinds_held.append(Kind(LISTED, "list", ("Drop", "Ablation"), places))
    order = ("curve", "map", "list")
    chains = {text for kind in kinds_held if kind.name == "cumulative" or "-up" in kind.name
              or "-down" in kind.name for text in kind.places}  # fmt: skip
    # the one layer that begins a chain is not a curve of its own
    kinds_held = [k for k in kinds_held if not (len(k.places) == 1 and set(k.places) <= chains)]
    return {
        kind.name: kind for kind in sorted(kinds_held, key=lambda kind: order.index(kind.shape))
    }


def layer_of(ablation: str, kind: str) -> int | None:
    """The layer of an ablation of one layer (`layer:7` gives 7 for the kind `layer`), or None.

    Args:
        ablation: text form.
        kind: family of ablations of one layer each (`layer`, `attn`, `mlp`).

    Returns:
        The number of the layer, or None.
    """
    match = _match(_ONE, ablation)
    return int(match["first"]) if match and _name(match) == kind else None


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = pattern.fullmatch(text)
    # a user's hook can have any name, also `hook:7`
    return None if match is None or match["form"] == "hook" else match


def _name(match: re.Match[str]) -> str:
    return match["form"] + (match["suffix"] or "")


def _of_one_number(texts: Sequence[str]) -> list[Kind]:
    places: dict[str, dict[str, tuple[int, int]]] = {}
    for text in texts:
        if match := _match(_ONE, text):
            places.setdefault(_name(match), {})[text] = (int(match["first"]), 0)
    return [
        Kind(name, "curve", (layer_axis(name), ""), places_of_kind)
        for name, places_of_kind in places.items()
    ]


def _of_cells(texts: Sequence[str]) -> list[Kind]:
    places: dict[str, dict[str, tuple[int, int]]] = {}
    for text in texts:
        if match := _match(_CELL, text):
            cell = (int(match["second"]), int(match["first"]))
            places.setdefault(_name(match), {})[text] = cell
    return [
        Kind(name, "map", ("Key/value group" if "group" in name.partition("@")[0] else "Head",
                           "Layer"), places_of_kind)
        for name, places_of_kind in places.items()
    ]  # fmt: skip


def _of_blocks(texts: Sequence[str]) -> list[Kind]:
    """Blocks of one size by first layer, chains by length, and others as a triangle."""
    blocks: dict[str, dict[str, tuple[int, int]]] = {}
    for text in texts:
        if match := _match(_BLOCK, text):
            blocks.setdefault(_name(match), {})[text] = (int(match["first"]), int(match["second"]))
    kinds_held = []
    for name in [name for name in blocks if name.startswith("backpatch")]:
        places = {text: (target, source) for text, (source, target) in blocks.pop(name).items()}
        kinds_held.append(
            Kind(name, "map", ("Layer that is given the stream", "Taken from"), places)
        )
    for name, places_of_kind in blocks.items():
        single = _single_of(name)
        ones = {
            text: (int(match["first"]),) * 2
            for text in texts
            if (match := _match(_ONE, text)) and _name(match) == single
        }
        kinds_held += _of_one_form(name, places_of_kind, ones)
    return kinds_held


def _single_of(name: str) -> str:
    form, at, suffix = name.partition("@")
    return SINGULAR.get(form, form) + at + suffix


def _of_one_form(
    name: str, blocks: Mapping[str, tuple[int, int]], ones: Mapping[str, tuple[int, ...]]
) -> list[Kind]:
    sizes = {text: last - first + 1 for text, (first, last) in blocks.items()}
    if len(blocks) == 1 and not ones:
        return []
    if len(set(sizes.values())) == 1:
        size = next(iter(sizes.values()))
        places = {text: (first, 0) for text, (first, _) in blocks.items()}
        return [Kind(name, "curve", (block_axis(name, size), ""), places)]
    lowest = min(first for first, _ in blocks.values())
    deepest = max(last for _, last in blocks.values())
    up = {text for text, (first, _) in blocks.items() if first == lowest}
    down = {text for text, (_, last) in blocks.items() if last == deepest}
    if name in WINDOWS:
        # windows are named by their first and last layer, as (i, j) in the literature
        return [Kind(name, "map", (block_axis(name, None), "Last of them"), dict(blocks))]
    if up | down < set(blocks):
        places = {text: (first, sizes[text]) for text, (first, _) in blocks.items()}
        return [Kind(name, "map", (block_axis(name, None), "Layers in the block"), places)]
    kinds_held = []
    for way, chain, end in (("up", up, lowest), ("down", down, deepest)):
        # the block of all layers belongs to both chains, and is not a chain by itself
        if len(chain) < 2:
            continue
        places = {text: (sizes[text], 0) for text in blocks if text in chain}
        places |= {text: (1, 0) for text, one in ones.items() if one[0] == end}
        kinds_held.append(Kind(f"{name}-{way}", "curve", (count_axis(name, way), ""), places))
    return kinds_held


def _of_sums(texts: Sequence[str]) -> list[Kind]:
    """Combinations of ablations of one kind: one more layer at a time, or every pair."""
    sums: dict[str, dict[str, frozenset[int]]] = {}
    for text in texts:
        parts = [_match(_ONE, part) for part in text.split("+")]
        names = {_name(part) for part in parts if part}
        if len(parts) > 1 and None not in parts and len(names) == 1:
            layers = frozenset(int(part["first"]) for part in parts if part)
            sums.setdefault(names.pop(), {})[text] = layers
    kinds_held = []
    for name, places_of_kind in sums.items():
        first = min(places_of_kind.values(), key=len)
        begun = {
            text: frozenset([layer])
            for text in texts
            if (layer := layer_of(text, name)) in first and layer is not None
        }
        chain = sorted(places_of_kind.items(), key=lambda pair: len(pair[1]))
        if len(chain) > 1 and all(a < b for (_, a), (_, b) in pairwise(chain)):
            places = {text: (len(layers), 0) for text, layers in chain}
            # only one of the layers of the first combination can have been ablated alone
            places |= {t: (1, 0) for t in begun if len(begun) == 1 or t == _begins(chain[0][0])}
            axis = count_axis(name, "")
            kind = "cumulative" if name == "layer" else f"cumulative-{name}"
            kinds_held.append(Kind(kind, "curve", (axis, ""), places))
        elif len(places_of_kind) > 2 and all(
            len(layers) == 2 for layers in places_of_kind.values()
        ):
            pairs = {text: (max(layers), min(layers)) for text, layers in places_of_kind.items()}
            axes = (f"{layer_axis(name)} (the deeper)", "The other")
            kinds_held.append(Kind(f"{name}+{name}", "map", axes, pairs))
    return kinds_held


def _begins(text: str) -> str:
    return text.partition("+")[0]

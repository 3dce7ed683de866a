"""Figures that combine several families of one sweep: scopes, replacements, pairs of layers."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from interp.figures.families import kinds
from interp.figures.from_values import Gains
from interp.figures.interaction_map import pairs
from interp.figures.replacement_marks import WAYS, replacements
from interp.figures.scope_bars import scopes
from interp.figures.style import Page


def depth_figures(
    source: Any, drops: pd.DataFrame, page: Page
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The figures that combine families: their names, and a function that draws each.

    Args:
        source: a sweep or several.
        drops: their table of importance, with one metric per task and one unit.
        page: the size of the figures, and whether they have captions.

    Yields:
        `scopes`, `replacements` and `pairs`, after the kind if it is not whole layers
        (`attn-scopes`), each with its function.
    """
    kind_names = [name for name, kind in kinds(drops["ablation"]).items() if kind.shape != "list"]
    chosen = drops.drop_duplicates("task")
    options: dict[str, Any] = {"width": page.width, "caption": page.caption}
    for part in ("layer", "attn", "mlp"):
        if sum(f"{part}{way}" in kind_names for way in WAYS) > 1:
            yield _named(part, "replacements"), partial(replacements, drops, part=part, **options)
    several = source if isinstance(source, Sequence) else [source]
    if not all(isinstance(gains, Gains) for gains in several):
        return
    options |= {"metric": dict(zip(chosen["task"], chosen["metric"], strict=True))}
    options |= {"tasks": list(chosen["task"])}
    for name in kind_names:
        if {f"{name}@@prompt", f"{name}@@answer"} <= set(kind_names):
            yield _named(name, "scopes"), partial(scopes, several, kind=name, **options)
        one, plus, other = name.partition("+")
        if plus and one == other and one in kind_names:
            yield _named(one, "pairs"), partial(pairs, several, kind=name, **options)


def _named(kind: str, name: str) -> str:
    return name if kind == "layer" else f"{kind.replace('@', '-')}-{name}"

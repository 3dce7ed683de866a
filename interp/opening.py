"""`interp.open_run`: whatever a folder holds, opened without the model."""

from pathlib import Path
from typing import Any

from interp.errors import UserError, path_given
from interp.records import MANIFEST
from interp.results import Sweep, kind_of

COMPARISON = "comparison.json"
VARIATION = "variation.json"
MOST_NAMED = 5
"""Of the results in a folder that is none itself."""


def open_run(folder: str | Path) -> Any:
    """What `out=` of a sweep, lens, trace, similarity or comparison wrote, without the model.

    Of a sweep only the manifest is read until a table is asked for. Where the kind is known,
    `interp.results.open_run`, `interp.lens.open_lens`, `interp.attention.open_heads`,
    `interp.similarity.open_similarity`, `interp.comparison.open_comparison` and
    `interp.comparison.open_variation` name it to a type checker.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        The object that the call returned: a `Sweep`, `Lens`, `RetrievalHeads`, `Similarity`,
        `Comparison` or `Variation`.

    Raises:
        UserError: the folder holds none of them, or one that is unfinished or damaged.
    """
    folder = path_given("run", folder)
    if (folder / MANIFEST).exists():
        return Sweep(folder)
    if (folder / COMPARISON).exists():
        from interp.comparison import open_comparison

        return open_comparison(folder)
    if (folder / VARIATION).exists():
        from interp.comparison import open_variation

        return open_variation(folder)
    kind = kind_of(folder)
    if kind == "lens":
        from interp.lens import open_lens

        return open_lens(folder)
    if kind == "retrieval heads":
        from interp.attention import open_heads

        return open_heads(folder)
    if kind == "similarity":
        from interp.similarity import open_similarity

        return open_similarity(folder)
    if kind is not None:
        raise UserError(f"{folder}: a result of {kind}; open one of the folders in it")
    if inside := _results_in(folder):
        raise UserError(f"run {folder}: no result itself; open one of those in it: {inside}")
    raise UserError(
        f"run {folder}: no {MANIFEST} there, and no result of a lens, trace, similarity, "
        "comparison or variation"
    )


def _results_in(folder: Path) -> str:
    """The names of some of the folders in this one that hold a result."""
    if not folder.is_dir():
        return ""
    marks = (MANIFEST, COMPARISON, VARIATION)
    found = sorted(
        place.name
        for place in folder.iterdir()
        if place.is_dir()
        and (any((place / mark).exists() for mark in marks) or kind_of(place) is not None)
    )
    return ", ".join(found[:MOST_NAMED]) + (" ..." if len(found) > MOST_NAMED else "")

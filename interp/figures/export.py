"""Writing figures as PDF, SVG and PNG, and the rows that they draw as CSV."""

import io
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from interp.errors import UserError, folder_given, path_given
from interp.figures.style import RC, PrintFigure
from interp.records import write_whole
from interp.results import csv_text

DPI = 300
"""Dots per inch of a PNG, and of images in the other formats."""

# Without dates the same figure gives the same file, so git shows only real changes.
METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


def save(
    fig: Figure,
    path: str | Path,
    data: pd.DataFrame | None = None,
    *,
    formats: Sequence[str] = tuple(METADATA),
) -> list[Path]:
    """Write a figure as PDF, SVG and 300-dpi PNG, and the rows that it draws as CSV.

    Each file is written whole or not at all, and replaces an existing one. A link is replaced,
    never followed.

    Args:
        fig: the figure.
        path: path without suffix; missing folders are made.
        data: the rows that the figure draws; by default those that a figure of this package holds.
        formats: some of `pdf`, `svg` and `png`.

    Returns:
        The paths that were written.

    Raises:
        UserError: a format is unknown, or the folder is a file.
    """
    chosen = [formats] if isinstance(formats, str) else list(formats)
    for name in chosen:
        if not isinstance(name, str) or name not in METADATA:
            raise UserError(f"format {name!r}: allowed are {', '.join(METADATA)}")
    stem = path_given("path", path)
    if stem.suffix in {".pdf", ".svg", ".png", ".csv"}:
        stem = stem.with_suffix("")
    folder_given("path", stem.parent).mkdir(parents=True, exist_ok=True)
    once = fig.laid_out_once(DPI) if isinstance(fig, PrintFigure) else nullcontext()
    with matplotlib.rc_context(RC), once:
        contents = {name: _rendered(fig, name) for name in chosen}
    if data is None and isinstance(fig, PrintFigure):
        data = fig.data
    if data is not None:
        contents["csv"] = csv_text(data).encode("utf-8", "surrogatepass")
    written = []
    for suffix, content in contents.items():
        # Not with_suffix: "layers-v1.2" keeps its ".2".
        target = stem.with_name(f"{stem.name}.{suffix}")
        write_whole(target, content)
        written.append(target)
    return written


def _rendered(fig: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format=suffix, dpi=DPI, metadata=METADATA[suffix])
    return buffer.getvalue()

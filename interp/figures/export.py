"""Figures on disk: PDF for the paper, SVG for the web, PNG for a look, CSV for the reader."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from interp.figures.style import RC, PrintFigure

# No dates: the same figure gives the same file, so a figure in git changes only when it does.
METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


def save(fig: Figure, path: str | Path, data: pd.DataFrame | None = None) -> list[Path]:
    """Write a figure as PDF, SVG and 300-dpi PNG, and the rows behind it as CSV.

    Args:
        fig: The figure.
        path: Path without suffix; missing folders are made.
        data: The rows behind the figure; by default those that the figure of this package holds.

    Returns:
        The paths that were written.
    """
    stem = Path(path)
    if stem.suffix in {".pdf", ".svg", ".png", ".csv"}:
        stem = stem.with_suffix("")
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(RC):
        for suffix, metadata in METADATA.items():
            # Not with_suffix: "layers-v1.2" keeps its ".2".
            target = stem.with_name(f"{stem.name}.{suffix}")
            fig.savefig(target, dpi=300, metadata=metadata)
            written.append(target)
    if data is None and isinstance(fig, PrintFigure):
        data = fig.data
    if data is not None:
        target = stem.with_name(f"{stem.name}.csv")
        data.to_csv(target, index=False)
        written.append(target)
    return written

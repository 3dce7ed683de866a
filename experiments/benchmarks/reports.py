"""A measured result as two files: JSON with everything, and a Markdown table for reading."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def write(
    out: Path, result: Mapping[str, Any], columns: Mapping[str, tuple[str, str]], note: str
) -> None:
    """Write `OUT.json` and `OUT.md`.

    Args:
        out: path without its ending.
        result: the result, with `rows`, one mapping a line of the table.
        columns: what a row calls a value, to the head of its column and its format (`.1f`).
        note: what stands under the table; the machine is added.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = (
        f"{torch.get_num_threads()} thread(s), {platform.machine()}, {platform.system()}, "
        f"torch {torch.__version__}"
    )
    kept = {**result, "machine": machine}
    out.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
    heads = [head for head, _ in columns.values()]
    lines = [heads, ["---"] * len(heads), *(_cells(row, columns) for row in result["rows"])]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    out.with_suffix(".md").write_text(f"{table}\n\n{note} {machine}.\n")


def _cells(row: Mapping[str, Any], columns: Mapping[str, tuple[str, str]]) -> Sequence[str]:
    return [format(row[name], form) for name, (_, form) in columns.items()]

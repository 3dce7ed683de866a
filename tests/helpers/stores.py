"""A small run: its manifest and its records."""

import json
from typing import Any

from interp.records import (
    SCHEMA_VERSION,
    SOURCE,
    Manifest,
    Record,
)

N_UNITS = 12
ENTRIES: dict[str, Any] = {
    "schema": SCHEMA_VERSION,
    "model": "tiny",
    "weights_sha256": "aa",
    "dtype": "float32",
    "seed": 0,
    "libraries": {"torch": "2.13.0", SOURCE: "cc"},
    "ablations": ["layer:0"],
    "origin": {"created": "then"},
    "tasks": [{"name": "task", "doc_ids": list(range(3, 3 + N_UNITS))}],
    "units": [
        {"name": f"unit-{i}", "task": 0, "first": i, "examples": 1, "ablations": [0, 1]}
        for i in range(N_UNITS)
    ],
}


def changed(**entries) -> Manifest:
    """The manifest of the small run with some entries changed."""
    return Manifest.model_validate_json(json.dumps(ENTRIES | entries))


MADE = changed()


def rows_of(unit: int) -> list[Record]:
    """The records of one of its units."""
    return [
        Record(
            model="tiny",
            task="task",
            doc_id=3 + unit,
            ablation="baseline",
            target="w5",
            loglikelihoods=(-1.5, -2.25),
            token_counts=(1, 2),
            greedy=(True, False),
            metrics={"acc": 1.0},
        ),
        Record(
            model="tiny",
            task="task",
            doc_id=3 + unit,
            ablation="layer:0",
            target="w6",
            token_counts=(7,),
            text="w6 w7",
            finished=True,
            cut_tokens=2,
            metrics={"exact_match": 0.0},
        ),
    ]


ROWS = rows_of(0)

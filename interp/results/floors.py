"""The score of guessing, where the records tell it."""

from collections.abc import Mapping, Sequence
from typing import Any


def guessing(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Metric to the share that guessing among a row's options gets right.

    Args:
        rows: records of one task's baseline, with `loglikelihoods` and `metrics`.

    Returns:
        Nothing where no options were scored.
    """
    options = [len(row["loglikelihoods"] or ()) for row in rows]
    if not options or min(options) < 2:
        return {}
    guessed = sum(1 / number for number in options) / len(options)
    names = {str(name) for name, _ in rows[0]["metrics"]}
    return {name: guessed for name in names if name.startswith("acc")}

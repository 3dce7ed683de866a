"""The score that guessing would give, where it can be computed from the records."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from interp import records
from interp.results.wrong_answers import Values, answer_of
from interp.stats import measured_floor

MEASURED = ("acc", "exact_match")
"""The metrics whose floor can be measured from the answers."""


def floors_of(
    tasks: Sequence[records.TaskEntry], answers: Callable[[str], list[dict[str, Any]]]
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], pd.Series]]:
    """What each metric would be if the model knew nothing.

    Args:
        tasks: the tasks of the run's manifest.
        answers: gives the records of the unablated model, by the name of a task.

    Returns:
        For each (task, metric) the score of guessing. And for each (task, metric) whose floor the
        answers show, that floor, example by example.
    """
    guessed: dict[tuple[str, str], float] = {}
    shown: dict[tuple[str, str], pd.Series] = {}
    for task in tasks:
        rows = answers(task.name)
        guessed |= {(task.name, name): share for name, share in guessing(rows).items()}
        parts = None if task.sampling else measured(rows)
        if parts is not None:
            names = {str(name) for row in rows for name, _ in row["metrics"]}
            shown |= {(task.name, n): parts for n in names if n.startswith(MEASURED)}
    return guessed, shown


def guessing(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """For each metric, the share that guessing among a row's options gets right.

    Args:
        rows: records of one task's baseline, with `loglikelihoods` and `metrics`.

    Returns:
        The shares; empty where no options were scored.
    """
    options = [len(row["loglikelihoods"] or ()) for row in rows]
    if not options or min(options) < 2:
        return {}
    guessed = sum(1 / number for number in options) / len(options)
    names = {str(name) for name, _ in rows[0]["metrics"]}
    return {name: guessed for name in names if name.startswith("acc")}


def measured(rows: Sequence[Mapping[str, Any]]) -> pd.Series | None:
    """Each example's part in the floor that the answers of the unablated model show.

    Args:
        rows: records of one task's baseline, with `doc_id loglikelihoods text target`.

    Returns:
        The parts, for generated answers and for option letters; None for option texts, which are
        not in the records.
    """
    targets = [str(row["target"]).strip() for row in rows]
    scored = [row["loglikelihoods"] for row in rows]
    index = [row["doc_id"] for row in rows]
    if all(isinstance(row["text"], str) for row in rows):
        values = Values.of(set(targets))
        given = [answer_of(str(row["text"]), values) for row in rows]
        right = [answer_of(target, values) for target in targets]
    elif all(scored) and all(len(t) == 1 and "A" <= t <= "Z" for t in targets):
        given = [chr(ord("A") + max(range(len(one)), key=one.__getitem__)) for one in scored]
        right = targets
    else:
        return None
    return measured_floor(pd.Series(given, index), pd.Series(right, index))

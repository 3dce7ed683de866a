"""The tables of a section: DataFrames of `interp.stats` as cells to read and to sort by."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.figures import (
    ALPHA,
    CORRECTIONS,
    describe_choice,
    describe_n,
    describe_tests,
    describe_truncation,
    describe_untestable,
)
from interp.labels import metric_label, task_label
from interp.stats import BASELINE

MOST_ROWS = 2_000
"""Rows of a table on a page; the rest is in `interp export`."""

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Entry:
    """A cell: its text, what it is sorted by, and the examples that it opens, if any."""

    text: str
    order: str | int | float
    target: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        caption: n, intervals, tests and correction.
        columns: names, and whether they hold numbers.
        rows: their cells.
        left_out: rows that are not on the page.
    """

    caption: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Entry, ...], ...]
    left_out: int = 0


def baselines(scores: pd.DataFrame, importance: pd.DataFrame) -> Table:
    """The whole model's score on each task, and what the ablations do to it."""
    rows = []
    for row in scores[scores["ablation"] == BASELINE].to_dict("records"):
        of_task = importance[importance["task"] == row["task"]]
        known = of_task[of_task["drop"].notna()]
        strongest = known.loc[known["drop"].idxmax()].to_dict() if len(known) else None
        damaging = int(((of_task["p_adjusted"] < ALPHA) & (of_task["drop"] > 0)).sum())
        rows.append(
            (
                _words(task_label(row["task"])),
                Entry(interval_text(row, "value"), _sortable(row["value"])),
                Entry(f"{damaging} of {len(of_task)}", damaging / len(of_task)),
                _words("none")
                if strongest is None
                else Entry(
                    f"{strongest['ablation']}: {interval_text(_for_all(strongest), 'drop')}",
                    float(strongest["drop"]),
                ),
                Entry(str(row["n"]), int(row["n"])),
                _words(metric(row)),
                _words(row["interval"]),
            )
        )
    columns = (
        ("Task", False),
        (f"Whole model [{_level(scores)} interval]", True),
        ("Damaging ablations", True),
        ("Largest drop", True),
        ("n", True),
        ("Metric", False),
        ("Interval", False),
    )
    caption = (
        f"Damaging: a drop above zero with {_corrected(importance)} < {ALPHA:g}. "
        f"{describe_n(importance)} {_interval_words(importance)} {describe_tests(importance)} "
        "The largest of several drops is the luckiest draw too: its interval here holds for all "
        "ablations of its kind together. "
        + " ".join(
            [
                *describe_untestable(importance),
                *describe_choice(importance),
                *describe_truncation(importance),
            ]
        )
    ).strip()
    return Table(caption, columns, tuple(rows))


def drops(importance: pd.DataFrame, targets: Mapping[tuple[str, str], str]) -> Table:
    """Every paired drop, one row per task, metric and ablation.

    Args:
        importance: the table of `interp.stats.importance`.
        targets: (task, ablation) to the name of its examples on the page.

    Returns:
        The rows that are shown, and how many are not.
    """
    shown_rows = importance.head(MOST_ROWS)
    failed = "failures" in importance and bool(importance["failures"].any())
    numbers = {text: place for place, text in enumerate(dict.fromkeys(importance["ablation"]))}
    rows = [
        (
            Entry(
                row["ablation"],
                numbers[row["ablation"]],
                targets.get((row["task"], row["ablation"])),
            ),
            _words(task_label(row["task"])),
            Entry(interval_text(row, "drop"), _sortable(row["drop"])),
            Entry(p_text(row["p_adjusted"]), _sortable(row["p_adjusted"])),
            Entry(str(row["n"]), int(row["n"])),
            *([Entry(str(row["failures"]), int(row["failures"]))] if failed else []),
            Entry(_plain(row, "baseline"), _sortable(row["baseline"])),
            Entry(_plain(row, "ablated"), _sortable(row["ablated"])),
            _words(metric(row)),
            Entry(p_text(row["p"]), _sortable(row["p"])),
            _words(row["interval"]),
            _words(row["test"]),
        )
        for row in shown_rows.to_dict("records")
    ]
    columns = (
        ("Ablation", True),
        ("Task", False),
        (f"Drop [{_level(importance)} interval]", True),
        (_corrected(importance), True),
        ("n", True),
        *([("Failed", True)] if failed else []),
        ("Whole model", True),
        ("Ablated", True),
        ("Metric", False),
        ("p", True),
        ("Interval", False),
        ("Test", False),
    )
    caption = (
        f"Drop: whole model minus ablated model on the same examples; positive is damage. "
        f"{describe_n(importance)} {_interval_words(importance)} {describe_tests(importance)}"
    )
    if failed:
        caption += " Failed: examples on which the ablated model's output was not finite."
    return Table(caption, columns, tuple(rows), len(importance) - len(shown_rows))


def metric(row: Mapping[Any, Any]) -> str:
    """A metric and its unit in words."""
    return f"{metric_label(row['metric'])}{', points' if row['unit'] == 'points' else ''}"


def measured(row: Mapping[Any, Any]) -> str:
    """A drop with its unit and interval, for a sentence."""
    unit = " points" if row["unit"] == "points" else ""
    text = interval_text(row, "drop")
    return text.replace(" [", f"{unit} [", 1) if "[" in text else text + unit


def interval_text(row: Mapping[Any, Any], name: str) -> str:
    """A value and its interval: `36.7 [23.3, 50.0]`; without one where the sample shows none."""
    value = _plain(row, name)
    if math.isnan(row[name]):
        return "failed"
    if math.isnan(row["low"]) or math.isnan(row["high"]):
        return f"{value} (no interval)"
    return f"{value} [{_plain(row, 'low')}, {_plain(row, 'high')}]"


def _for_all(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """A drop with the bounds that hold for all ablations of its family."""
    return {**row, "low": row["low_all"], "high": row["high_all"]}


def signed(value: float, *, places: int | None = None) -> str:
    """A number with a minus sign of full width; three digits where no places are asked for."""
    if math.isnan(value):
        return "failed"
    text = f"{value:.3g}" if places is None else f"{value:.{places}f}"
    return text.replace("-", MINUS) if float(text) else text.removeprefix("-")


def p_text(p: float) -> str:
    """A p-value; very small ones as a bound."""
    if math.isnan(p):
        return "none"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _plain(row: Mapping[Any, Any], name: str) -> str:
    return signed(float(row[name]), places=1 if row["unit"] == "points" else None)


def _words(text: str) -> Entry:
    return Entry(text, text)


def _sortable(value: float) -> float | str:
    return "" if math.isnan(value) else float(value)


def _level(table: pd.DataFrame) -> str:
    """The coverage of a table's intervals (`95%`)."""
    levels = [match[0] for kind in table["interval"] if (match := re.match(r"[\d.]+%", kind))]
    return levels[0] if levels else "no"


def _interval_words(table: pd.DataFrame) -> str:
    kinds = sorted({k.partition(" ")[2] for k in table["interval"] if k[:1].isdigit()})
    if not kinds:
        return "No intervals: the samples show no spread."
    return f"Intervals: {' or '.join(kinds)}, each for one ablation at a time."


def _corrected(importance: pd.DataFrame) -> str:
    """The name of the adjusted p-value's column."""
    names = [CORRECTIONS[c][1] for c in importance["correction"].unique() if c in CORRECTIONS]
    return f"p ({' or '.join(names)})" if names else "p (not corrected)"

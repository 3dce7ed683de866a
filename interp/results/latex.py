"""Tables of a run as LaTeX, for a paper: booktabs, with intervals."""

import math
import re

import pandas as pd

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def escaped(text: object) -> str:
    """The text with LaTeX's special characters escaped."""
    plain = " ".join(str(text).split())
    return re.sub(r"[\\&%$#_{}~^<>]", lambda found: _SPECIAL[found[0]], plain)


def importance_latex(importance: pd.DataFrame) -> str:
    r"""Drops as a `tabular` of booktabs: task, ablation, drop with interval, adjusted p, n.

    Args:
        importance: from `Sweep.importance`, one metric per task.

    Returns:
        The environment, with a comment that names intervals, test and correction; needs
        `\usepackage{booktabs}`.
    """
    rows = [
        [escaped(r["task"]), escaped(r["ablation"]), _with_interval(r["drop"], r["low"], r["high"]),
         _p(float(r["p_adjusted"])), f"{r['n']}"]
        for r in importance.to_dict("records")
    ]  # fmt: skip
    return _tabular(
        ["Task", "Ablation", "Drop", "$p$", "$n$"], "llrrr", rows,
        _note(importance, ["metric", "unit", "interval", "test", "correction"]),
    )  # fmt: skip


def scores_latex(scores: pd.DataFrame) -> str:
    r"""Scores as a `tabular` of booktabs: task, ablation, score with interval, n.

    Args:
        scores: from `Sweep.scores`, one metric per task.

    Returns:
        LaTeX that needs `\usepackage{booktabs}`.
    """
    rows = [
        [
            escaped(r["task"]),
            escaped(r["ablation"]),
            _with_interval(r["value"], r["low"], r["high"]),
            f"{r['n']}",
        ]
        for r in scores.to_dict("records")
    ]
    note = _note(scores, ["metric", "unit", "interval"])
    return _tabular(["Task", "Ablation", "Score", "$n$"], "llrr", rows, note)


def _tabular(names: list[str], columns: str, rows: list[list[str]], note: list[str]) -> str:
    lines = [*note, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(names), r"\midrule"]
    return "\n".join([*lines, *map(_line, rows), r"\bottomrule", r"\end{tabular}", ""])


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _note(table: pd.DataFrame, names: list[str]) -> list[str]:
    """A LaTeX comment for each column that says how the numbers were made."""
    return [
        f"% {name}: {', '.join(' '.join(str(v).split()) for v in dict.fromkeys(table[name]))}"
        for name in names
        if name in table
    ]


def _with_interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "--"
    if math.isnan(low) or math.isnan(high):
        return f"${_number(value)}$"
    return f"${_number(value)}$ [${_number(low)}$, ${_number(high)}$]"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 or value == 0 else f"{value:.2g}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "--"
    return "$<0.001$" if value < 0.001 else f"${value:.3f}$"

"""Simulated sweeps, and the rows of the table that are made from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

LEVEL = 0.05


def changes(
    rng: np.random.Generator, n: int, drops: Sequence[float], noise: float
) -> Float[np.ndarray, "n ablations"]:
    """Paired changes of 0/1 outcomes: harmed 1, helped -1.

    Args:
        rng: the random generator of the draw.
        n: examples.
        drops: true drop of each ablation, a share.
        noise: share of examples that each ablation helps by chance; as many more are harmed.

    Returns:
        One column per ablation: -1, 0 or 1 for each example.
    """
    uniform = rng.random((n, len(drops)))
    harmed = uniform < np.array(drops) + noise
    return harmed.astype(float) - (uniform >= 1 - noise)


def outcomes(
    rng: np.random.Generator,
    n: int,
    right: float,
    drops: Float[np.ndarray, " ablations"],
    noise: float,
    *,
    shared: float = 0.0,
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, "n ablations"]]:
    """Right answers of the whole model, and under each ablation.

    Args:
        rng: the random generator of the draw.
        n: examples.
        right: share that the whole model gets right.
        drops: true drop of each ablation, a share.
        noise: share of examples that each ablation helps by chance; as many more are harmed.
        shared: share of the cells in which luck is the same for all ablations.

    Returns:
        Two arrays of outcomes.
    """
    whole = rng.random(n) < right
    luck = rng.random((n, len(drops)))
    if shared:
        luck = np.where(rng.random(luck.shape) < shared, rng.random((n, 1)), luck)
    lost = luck < (drops + noise) / right
    # as many are harmed as helped, so that luck moves no mean
    helped = luck < noise / (1 - right)
    return whole, np.where(whole[:, None], ~lost, helped)


def coverage_row(
    what: str, setting: str, covered: Sequence[bool], *, sweeps: int, note: str = ""
) -> dict[str, Any]:
    """How often an interval covers the truth: a row of the table.

    Args:
        what: the interval.
        setting: the truth and the sample.
        covered: for each sweep in which an interval was given, whether it holds the truth.
        sweeps: all of them.
        note: what else was found.

    Returns:
        A row of the table of coverage.
    """
    given = len(covered)
    share = float(np.mean(covered)) if given else float("nan")
    return _row(what, setting, "coverage", share, given, sweeps, note)


def size_row(
    what: str, setting: str, rejected: Sequence[bool], *, sweeps: int, note: str = ""
) -> dict[str, Any]:
    """The size of a test at `LEVEL`: how often a true null hypothesis is rejected."""
    given = len(rejected)
    share = float(np.mean(rejected)) if given else float("nan")
    return _row(what, setting, "size", share, given, sweeps, note)


def error_row(
    what: str, setting: str, estimates: Sequence[float], truth: float, *, sweeps: int
) -> dict[str, Any]:
    """The error of an estimate without an interval: its mean minus the truth, and its error."""
    given = np.array([value for value in estimates if not np.isnan(value)])
    error = float(given.std(ddof=1) / np.sqrt(len(given))) if len(given) > 1 else float("nan")
    return _row(what, setting, "mean error", 0.0, len(given), sweeps, f"truth {truth:.3f}") | {
        "share": round(float(given.mean()) - truth, 4),
        "standard_error": round(error, 4),
    }


def _row(
    what: str, setting: str, measure: str, share: float, given: int, sweeps: int, note: str
) -> dict[str, Any]:
    error = float(np.sqrt(share * (1 - share) / given)) if given else float("nan")
    return {
        "what": what,
        "setting": setting,
        "measure": measure,
        "share": round(share, 4),
        "standard_error": round(error, 4),
        "given": round(given / sweeps, 4),
        "sweeps": sweeps,
        "note": note,
    }

"""Which examples a limited run asks: a seeded draw, spread over subjects, equal for every model."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from interp.errors import UserError
from interp.stats import wilson
from interp.tasks.task import Task


def select_examples(task: Task, limit: int | None, *, seed: int = 0) -> list[int]:
    """The examples of a task that are asked, in the order of its rows.

    Strata (subjects, categories) are drawn from in proportion to their size, and every example is
    as likely to be drawn as any other. The draw depends on the task's rows and the seed alone,
    never on a model.

    Args:
        task: its `strata` say what each row belongs to.
        limit: the most examples; None for all.
        seed: of the draw.

    Returns:
        Row numbers, ascending, each once.

    Raises:
        UserError: the limit is below 1, the seed below 0, or either is no whole number.
    """
    check_draw(limit, seed)
    count = len(task.documents())
    if limit is None or limit >= count:
        return list(range(count))
    rng = np.random.default_rng(seed)
    _, member = np.unique(np.array(task.strata), return_inverse=True)
    sizes = np.bincount(member)
    chosen = [
        rng.choice(np.flatnonzero(member == stratum), size=size, replace=False)
        for stratum, size in enumerate(_shares(sizes, limit, rng))
    ]
    return sorted(np.concatenate(chosen).tolist())


def check_draw(limit: object, seed: object) -> None:
    """Refuse a limit or a seed that no draw can have.

    Args:
        limit: as for `select_examples`.
        seed: as for `select_examples`.

    Raises:
        UserError: the limit is below 1, the seed below 0, or either is no whole number.
    """
    if limit is not None and not _whole(limit, 1):
        raise UserError(f"limit {limit!r}: allowed are 1 and more (no limit: all examples)")
    if not _whole(seed, 0):
        raise UserError(f"seed {seed!r}: allowed are whole numbers from 0 on")


def _whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def half_width(n: int, *, confidence: float = 0.95) -> float:
    """Half the width, in points, of the interval of an accuracy near 50%: no accuracy has a wider.

    Wilson's interval, as in every table of scores. The interval of a paired drop is narrower the
    more the ablated model answers like the baseline.

    Args:
        n: examples.
        confidence: coverage of the interval.

    Returns:
        Percentage points.
    """
    low, high = wilson(np.array([n / 2]), n, confidence=confidence)
    return float(100 * (high - low)[0] / 2)


def described(task: Task, drawn: Sequence[int]) -> str:
    """What a draw is and how sure a score on it can be, in one line.

    Args:
        task: the task.
        drawn: rows of it, from `select_examples`.

    Returns:
        The line, for messages.
    """
    among = len({task.strata[i] for i in drawn})
    spread = f", spread over {among} strata" if among > 1 else ""
    return (
        f"{task.name}: {len(drawn):,} of {len(task.documents()):,} examples{spread}; "
        f"95% interval of a score: up to ±{half_width(len(drawn)):.1f} points"
    )


def how_drawn(how: Mapping[str, Any]) -> str:
    """How a task's answers are drawn, in words: draws, temperature, top_k, top_p.

    Args:
        how: `temperature`, `top_k`, `top_p` and `draws`, as a manifest holds them.

    Returns:
        Words that follow the name of a task.
    """
    among = f", top_k {how['top_k']}" if how["top_k"] else ""
    among += f", top_p {how['top_p']:g}" if how["top_p"] < 1 else ""
    answers = "1 answer" if how["draws"] == 1 else f"{how['draws']} answers"
    return f"{answers} an example drawn at temperature {how['temperature']:g}{among}"


def _shares(sizes: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """How many of each stratum: its exact share rounded down or up, by one throw for all.

    Systematic sampling (Madow 1949): the exact shares lie end to end, in random order, and marks
    one apart from a random start count how many fall on each; so that every example is as likely
    to be drawn as any other, which rounding to the largest remainders would not give.
    """
    order = rng.permutation(len(sizes))
    # in whole numbers of 1/total: no rounding error can lose a mark
    ends = np.cumsum(limit * sizes[order].astype(np.int64))
    total = int(sizes.sum())
    marks = (ends + rng.integers(total)) // total
    shares = np.empty(len(sizes), dtype=int)
    shares[order] = np.diff(marks, prepend=0)
    return shares

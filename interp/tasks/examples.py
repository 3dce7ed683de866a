"""Which examples a limited run asks: a seeded draw, spread over subjects, equal for every model.

Draws are nested: all rows have one seeded order, and a limit takes the first of them. So a run can
be extended by a larger limit, and the examples that it has are among those of the larger one.
"""

import heapq
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from interp.errors import UserError, check_seed
from interp.stats import wilson
from interp.tasks.task import Task


def select_examples(task: Task, limit: int | None, *, seed: int = 0) -> list[int]:
    """The examples of a task that are asked, in the order of its rows.

    They are the first of `draw_order`, so that those of a limit are among those of a larger one.

    Args:
        task: its `strata` say what each row belongs to.
        limit: the most examples; None for all.
        seed: the seed of the draw.

    Returns:
        Row numbers, ascending, each once.

    Raises:
        UserError: the limit is below 1, the seed below 0, or either is no whole number.
    """
    check_draw(limit, seed)
    count = len(task.documents())
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(draw_order(task, seed=seed)[:limit])


def draw_order(task: Task, *, seed: int = 0) -> list[int]:
    """All rows of a task in the order in which a limited run takes them.

    Strata (subjects, categories) take turns in proportion to their size: among the first rows each
    has its exact share, up to less than two rows. Every row is as likely to be among the first as
    any other. The order depends on the task's rows and the seed alone, never on a model.

    Args:
        task: its `strata` say what each row belongs to.
        seed: the seed of the draw.

    Returns:
        Row numbers, each once.

    Raises:
        UserError: the seed is below 0 or no whole number.
    """
    check_draw(None, seed)
    rng = np.random.default_rng(seed)
    _, member = np.unique(np.array(task.strata), return_inverse=True)
    sizes = np.bincount(member)
    if len(sizes) == 1:
        return rng.permutation(len(member)).tolist()
    turns = _turns(sizes, rng)
    # from anywhere on in the circle of turns: at each place every row is as likely as any other
    turns = np.roll(turns, -int(rng.integers(len(turns))))
    order = np.empty(len(member), dtype=int)
    for stratum in range(len(sizes)):
        order[turns == stratum] = rng.permutation(np.flatnonzero(member == stratum))
    return order.tolist()


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
    check_seed(seed)


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


def _turns(sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which stratum has each turn, so that after every turn each has its share, rounded up or down.

    Row k of a stratum of n among N rows may come from turn `k N / n` on and has to come before turn
    `(k + 1) N / n`; the most urgent one is next (Steiner & Yeomans 1993, "Level schedules for
    mixed-model, just-in-time processes"). Equally urgent ones come in random order.

    Args:
        sizes: rows of each stratum, `[stratum]`.
        rng: the random generator of the order of equally urgent strata.

    Returns:
        A number of a stratum for each turn, `[row]`.
    """
    total, places = int(sizes.sum()), rng.permutation(len(sizes))
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    nth = np.concatenate([np.arange(size) for size in sizes])
    # in whole numbers: no rounding error can make a turn too early or too late
    opens = nth * total // sizes[stratum]
    closes = -((nth + 1) * total // -sizes[stratum])
    order = np.argsort(opens, kind="stable")
    rows = list(zip(*(a[order].tolist() for a in (opens, closes, places[stratum], stratum)),
                    strict=True))  # fmt: skip
    open_rows: list[tuple[int, int, int]] = []
    turns, following = [], 0
    for turn in range(total):
        while following < total and rows[following][0] <= turn:
            heapq.heappush(open_rows, rows[following][1:])
            following += 1
        turns.append(heapq.heappop(open_rows)[2])
    return np.array(turns)

"""What a sweep can show: power, the examples it takes, the least drop that would be found."""

from collections.abc import Iterable
from functools import lru_cache
from numbers import Real

import numpy as np
import pandas as pd

from interp.errors import UserError, check_number, check_share, check_whole
from interp.stats.distributions import binomial_at_most, binomial_exactly, binomial_largest

WANTED = 0.8
"""Power at which a drop counts as one that would have been found."""

ALPHA = 0.05

MOST_EXAMPLES = 10_000_000
"""More would not fit into memory, and no benchmark has so many."""


def power(
    n: int,
    drop: float,
    *,
    discordant: float | None = None,
    alpha: float = 0.05,
    family: int = 1,
) -> float:
    """Probability that the mid-p McNemar test finds a drop, of 0/1 outcomes.

    Exact, by summing over the binomial distributions of the test (Duffy 1984): the number of pairs
    that differ, and how many of these are harmed.

    Args:
        n: examples.
        drop: True drop, in points; at most `discordant`.
        discordant: examples that are right under one of the two models only, in points. More of
            them hide a drop. By default as few as possible: all of them harmed.
        alpha: level of the test.
        family: ablations that share the level (Bonferroni; Holm is never less powerful).

    Returns:
        A probability.

    Raises:
        UserError: a number that is out of range.
    """
    share = _shares(drop, discordant)
    check_whole("n", n, 1, MOST_EXAMPLES)
    check_whole("family", family, 1)
    check_share("alpha", alpha)
    pairs = np.arange(n + 1)
    # McNemar rejects where harmed or helped is at most this critical value (-1: never)
    level = alpha / family
    critical = binomial_largest(level / 2, pairs)
    # mid-p: one more, where its own chance counts by half only
    more = critical + 1
    mid_p = 2 * binomial_at_most(more, pairs, 0.5) - binomial_exactly(more, pairs, 0.5)
    critical += mid_p <= level
    harmed = 0.5 if share == 0 else (share + drop / 100) / (2 * share)
    rejected = sum(binomial_at_most(critical, pairs, side) for side in (harmed, 1 - harmed))
    return float(np.sum(binomial_exactly(pairs, np.array(n), share) * rejected))


def examples_needed(
    drop: float,
    *,
    discordant: float | None = None,
    alpha: float = 0.05,
    family: int = 1,
    wanted: float = 0.8,
) -> int:
    """The least n from which on `power` stays at `wanted` or more, to within 1%.

    Exact tests' power rises in saw teeth; the n that is given is after the last tooth that dips
    below.

    Args:
        drop: as for `power`, more than 0.
        discordant: as for `power`.
        alpha: as for `power`.
        family: as for `power`.
        wanted: probability of finding the drop: 0.8 is four times in five.

    Returns:
        A number of examples.

    Raises:
        UserError: a number that is out of range, or more than a million examples are needed.
    """
    _shares(drop, discordant)
    check_share("wanted", wanted)
    if drop <= 0:
        raise UserError(f"drop {drop}: allowed are drops above 0")

    def enough(n: int) -> bool:
        return power(n, drop, discordant=discordant, alpha=alpha, family=family) >= wanted

    high = 8
    while not enough(high):
        high *= 2
        if high > 1_000_000:
            raise UserError(f"drop {drop}: more than a million examples are needed to find it")
    step = max(1, high // 100)
    sizes = range(max(1, high // 2), 2 * high + 1, step)
    short = [n for n in sizes if not enough(n)]
    return (short[-1] + step) if short else sizes[0]


def power_table(
    *,
    ns: tuple[int, ...] = (50, 100, 200, 400, 800, 1600),
    drops: tuple[float, ...] = (1, 2, 5, 10, 20),
    noise: float = 5.0,
    alpha: float = 0.05,
    family: int = 1,
) -> pd.DataFrame:
    """`power` by number of examples and drop.

    Args:
        ns: examples.
        drops: true drops, in points.
        noise: examples that an ablation helps by chance, in points; as many more are harmed, on
            top of the drop.
        alpha: as for `power`.
        family: as for `power`.

    Returns:
        Columns `n drop discordant family alpha power test`.

    Raises:
        UserError: a number is out of range.
    """
    for what, several in (("ns", ns), ("drops", drops)):
        if isinstance(several, str | bytes) or not isinstance(several, Iterable):
            raise UserError(f"{what} {several!r:.80}: allowed are numbers")
    check_number("noise", noise)
    for n in ns:
        check_whole("n", n, 1, MOST_EXAMPLES)
    for drop in drops:
        _shares(drop, None)
    rows = [
        {"n": n, "drop": drop, "discordant": drop + 2 * noise, "family": family, "alpha": alpha}
        for n in ns
        for drop in drops
    ]
    return pd.DataFrame(
        [
            row
            | {
                "power": power(
                    int(row["n"]), row["drop"], discordant=row["discordant"],
                    alpha=alpha, family=family,
                ),
                "test": "mid-p McNemar",
            }
            for row in rows
        ]
    )  # fmt: skip


def least_detectable(
    n: int,
    *,
    noise: float = 5.0,
    family: int = 1,
    alpha: float = ALPHA,
    wanted: float = WANTED,
) -> float:
    """The least true drop that the test finds with probability `wanted`, in points.

    Args:
        n: examples.
        noise: examples that an ablation helps by chance, in points; as many more are harmed.
        family: ablations that share the level.
        alpha: level of the family.
        wanted: probability of finding the drop.

    Returns:
        A multiple of half a point; NaN where not even a total loss would be found.

    Raises:
        UserError: a number that is out of range.
    """
    check_whole("n", n, 1, MOST_EXAMPLES)
    check_whole("family", family, 1)
    for name, share in (("alpha", alpha), ("wanted", wanted)):
        check_share(name, share)
    check_number("noise", noise)
    if noise >= 50:
        raise UserError(f"noise {noise}: allowed are 0 to 50 points")
    return _least_detectable(int(n), float(noise), int(family), float(alpha), float(wanted))


@lru_cache(maxsize=1024)
def _least_detectable(n: int, noise: float, family: int, alpha: float, wanted: float) -> float:
    def found(steps: int) -> bool:
        drop = steps / 2
        return power(n, drop, discordant=drop + 2 * noise, alpha=alpha, family=family) >= wanted

    low, high = 0, int(2 * (100 - 2 * noise))
    if not found(high):
        return float("nan")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high / 2


def smallest_p(right: int, family: int) -> float:
    """The smallest adjusted p-value that a total loss of `right` examples could give.

    Args:
        right: examples that the baseline has right.
        family: number of tests in the family.

    Returns:
        A p-value, in [0, 1]; 1 where the baseline has nothing right.
    """
    return float(min(1.0, family * 0.5**right)) if right else 1.0


def _shares(drop: float, discordant: float | None) -> float:
    """Share of discordant pairs, checked."""
    for name, given in (("drop", drop), ("discordant", discordant)):
        real = isinstance(given, Real) and not isinstance(given, bool)
        if not real and not (given is None and name == "discordant"):
            raise UserError(f"{name} {given!r:.80}: allowed are points, from 0 to 100")
    points = abs(drop) if discordant is None else discordant
    if not 0 <= abs(drop) <= points <= 100:
        raise UserError(
            f"drop {drop}, discordant {discordant}: allowed are 0 to 100 points, discordant at "
            "least as large as the drop"
        )
    return points / 100

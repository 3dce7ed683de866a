"""What a sweep can show: its power, the examples needed, the smallest drop it would find."""

from collections.abc import Iterable
from functools import lru_cache
from numbers import Real

import numpy as np
import pandas as pd

from interp.errors import UserError, check_number, check_share, check_whole
from interp.stats.distributions import binomial_at_most, binomial_exactly, binomial_largest

WANTED = 0.8
"""The power from which a drop counts as one that would have been found."""

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
    """Probability that the mid-p McNemar test finds a drop of a 0/1 metric.

    It is exact: a sum over the two binomial distributions of the test (Duffy 1984), of the number
    of pairs that differ and of how many of these are harmed.

    Args:
        n: the number of examples.
        drop: the true drop, in points; at most `discordant`.
        discordant: the share of examples that only one of the two models gets right, in points. The
            more there are, the harder a drop is to find. By default as few as possible: all of them
            harmed.
        alpha: level of the test.
        family: the number of ablations that share the level (Bonferroni; Holm is never less
            powerful).

    Returns:
        A probability.

    Raises:
        UserError: a number is out of range.
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
    """The smallest n from which on `power` stays at `wanted` or more, to within 1%.

    The power of an exact test rises in saw teeth as n grows. The n that is given comes after the
    last tooth that dips below `wanted`.

    Args:
        drop: as for `power`, more than 0.
        discordant: as for `power`.
        alpha: as for `power`.
        family: as for `power`.
        wanted: probability of finding the drop: 0.8 is four times in five.

    Returns:
        A number of examples.

    Raises:
        UserError: a number is out of range, or more than a million examples are needed.
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
        ns: numbers of examples.
        drops: true drops, in points.
        noise: the share of examples that an ablation helps by chance, in points. As many are harmed
            by chance, in addition to the drop.
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
    """The smallest true drop that the test finds with probability `wanted`, in points.

    Args:
        n: the number of examples.
        noise: the share of examples that an ablation helps by chance, in points. As many are harmed
            by chance.
        family: the number of ablations that share the level.
        alpha: level of the family.
        wanted: probability of finding the drop.

    Returns:
        A multiple of half a point; NaN where not even a total loss would be found.

    Raises:
        UserError: a number is out of range.
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
    """The smallest adjusted p-value that losing all `right` examples could give.

    Args:
        right: the number of examples that the baseline gets right.
        family: number of tests in the family.

    Returns:
        A p-value, in [0, 1]; 1 where the baseline gets nothing right.
    """
    return float(min(1.0, family * 0.5**right)) if right else 1.0


def _shares(drop: float, discordant: float | None) -> float:
    """The share of discordant pairs, after checking that both numbers are in range."""
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

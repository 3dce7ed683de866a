"""Tail probabilities and quantiles of named distributions, on `scipy.special`.

`scipy.stats` has all of them, but importing it takes longer than everything else that `interp show`
does. The tests compare these functions with `scipy.stats`.
"""

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import special

Numbers = float | int | np.number | Num[np.ndarray, "..."]


def normal_reach(confidence: float) -> float:
    """How many standard deviations around its mean hold this share of a normal variable.

    Args:
        confidence: the share, between 0 and 1 (0.95 gives 1.96).

    Returns:
        The two-sided quantile; infinite for a share of 1.
    """
    return float(-special.ndtri((1 - confidence) / 2))


def normal_within(reach: float) -> float:
    """The share of a normal variable that lies within `reach` standard deviations of its mean.

    Args:
        reach: standard deviations, from 0 on.

    Returns:
        A share between 0 and 1, the inverse of `normal_reach`.
    """
    return float(1 - 2 * special.ndtr(-reach))


def student_reach(confidence: float, free: Numbers) -> Float[np.ndarray, "..."]:
    """The two-sided quantile of Student's t: `normal_reach` for a spread that is estimated.

    Args:
        confidence: the share within, between 0 and 1.
        free: degrees of freedom, one or an array of them.

    Returns:
        Quantiles, of the shape of `free`; NaN for zero degrees of freedom.
    """
    tail = np.full(np.shape(free), (1 - confidence) / 2)
    return np.asarray(np.abs(special.stdtrit(_floats(free), tail)), dtype=float)


def student_p(t: Numbers, free: Numbers) -> Float[np.ndarray, "..."]:
    """The two-sided p-value of a t statistic (Student 1908).

    Args:
        t: statistics, one or an array of them.
        free: degrees of freedom.

    Returns:
        P-values of the shape of `t`.
    """
    return np.asarray(2 * special.stdtr(_floats(free), -np.abs(_floats(t))), dtype=float)


def f_p(ratio: Numbers, above: Numbers, below: Numbers) -> Float[np.ndarray, "..."]:
    """The p-value of a ratio of two variances (Fisher's F test).

    Args:
        ratio: the statistic, one or an array of them, from 0 on.
        above: degrees of freedom of the numerator.
        below: degrees of freedom of the denominator.

    Returns:
        The chance of a larger ratio, of the shape of `ratio`.
    """
    chance = special.fdtrc(_floats(above), _floats(below), _floats(ratio))
    return np.asarray(chance, dtype=float)


def f_quantile(share: float, above: int, below: int) -> float:
    """The ratio of two variances below which a given share of Fisher's F distribution lies.

    Args:
        share: between 0 and 1.
        above: degrees of freedom of the numerator.
        below: degrees of freedom of the denominator.

    Returns:
        The quantile.
    """
    return float(special.fdtri(above, below, share))


def binomial_at_most(count: Numbers, n: Numbers, share: float) -> Float[np.ndarray, "..."]:
    """The chance of at most `count` successes in `n` trials.

    Args:
        count: whole numbers; below 0 the chance is 0.
        n: numbers of trials, whole, broadcast against `count`.
        share: the chance of a success.

    Returns:
        Chances of the shape that the two have together.
    """
    seen, trials = _floats(count), np.asarray(n).astype(int)
    known = special.bdtr(np.clip(seen, 0, trials), trials, share)
    return np.where(seen < 0, 0.0, known)


def binomial_exactly(count: Numbers, n: Numbers, share: float) -> Float[np.ndarray, "..."]:
    """The chance of exactly `count` successes in `n` trials.

    Args:
        count: whole numbers; outside of 0 to `n` the chance is 0.
        n: numbers of trials, whole, broadcast against `count`.
        share: the chance of a success.

    Returns:
        Chances of the shape that the two have together.
    """
    seen, trials = np.broadcast_arrays(_floats(count), _floats(n))
    within = (seen >= 0) & (seen <= trials)
    seen = np.where(within, seen, 0)
    others = trials - seen
    powers = special.xlogy(seen, share) + special.xlog1py(others, -share)
    return np.where(within, np.exp(_log_ways(trials, seen) + powers), 0.0)


def binomial_largest(level: float, n: Int[np.ndarray, " trials"]) -> Int[np.ndarray, " trials"]:
    """The largest number of heads of a fair coin with `P(at most that many) <= level`.

    Args:
        level: between 0 and 1, both excluded.
        n: numbers of throws.

    Returns:
        One number of heads per number of throws; -1 where even `P(no head)` is above `level`.
    """
    near = np.nan_to_num(special.bdtrik(level, np.maximum(n, 1), 0.5))
    count = np.clip(np.floor(near), 0, n).astype(int)
    count += binomial_at_most(count + 1, n, 0.5) <= level
    return count - (binomial_at_most(count, n, 0.5) > level)


def hypergeometric(
    total: int, marked: int, chosen: int
) -> tuple[Int[np.ndarray, " counts"], Float[np.ndarray, " counts"]]:
    """The probability of every number of marked items among items chosen at random.

    Args:
        total: the number of items.
        marked: how many of them are marked.
        chosen: how many are chosen, without replacement.

    Returns:
        The possible numbers, in increasing order, and their probabilities.
    """
    counts = np.arange(max(0, chosen + marked - total), min(marked, chosen) + 1)
    inside, outside = _log_ways(marked, counts), _log_ways(total - marked, chosen - counts)
    return counts, np.exp(inside + outside - _log_ways(total, np.array(chosen)))


def fisher_exact_p(both: int, one: int, other: int, total: int) -> float:
    """The two-sided p-value of the independence of two marks on the same items (Fisher 1935).

    Args:
        both: items with both marks.
        one: items with the first mark.
        other: items with the second mark.
        total: the number of all items.

    Returns:
        The probability of any number of items with both marks that is no likelier than this one.
    """
    counts, chances = hypergeometric(total, one, other)
    seen = chances[counts == both]
    return float(min(1.0, chances[chances <= seen * (1 + 1e-9)].sum()))


def _log_ways(total: Numbers, chosen: Numbers) -> Float[np.ndarray, "..."]:
    """The logarithm of the number of ways to choose `chosen` of `total` items."""
    items, some = _floats(total), _floats(chosen)
    ways = special.gammaln(items + 1) - special.gammaln(some + 1)
    return np.asarray(ways - special.gammaln(items - some + 1), dtype=float)


def _floats(values: Numbers) -> Float[np.ndarray, "..."]:
    return np.asarray(values, dtype=float)

"""Does a layer *not* matter? Equivalence within a margin that is stated beforehand."""

import numpy as np
import pandas as pd
from scipy import stats as sps

from interp.errors import UserError
from interp.stats.tables import importance


def equivalence(
    values: pd.DataFrame,
    *,
    margin: float,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Which ablations change a score by less than `margin`, either way.

    Two one-sided tests (Schuirmann 1987) at level ``1 - confidence`` by the interval-inclusion
    rule: the interval of ``2 * confidence - 1`` (90% for 95%) lies within ``(-margin, margin)``. A
    drop that is merely not significant is not equivalent; that needs examples enough, too.

    Holds for one ablation at a time. For a claim over a whole family ("none of these layers
    matters") no correction is needed, because all of its parts have to be shown (Berger 1982).

    Args:
        values: The long table that `interp.stats` describes.
        margin: In the metric's unit: points for 0/1 metrics.
        confidence: One minus the level of each one-sided test; more than 0.5.
        resamples: As for `interp.stats.importance`.
        seed: As for `interp.stats.importance`.

    Returns:
        Columns ``model ablation task metric drop low high margin equivalent n unit interval test``.
        ``equivalent`` is False where the sample shows no spread.

    Raises:
        UserError: The margin is not positive, or as `interp.stats.importance`.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise UserError(f"margin {margin}: allowed are positive numbers, in the metric's unit")
    if not 0.5 < confidence < 1:
        raise UserError(f"confidence {confidence}: allowed are values between 0.5 and 1")
    table = importance(
        values,
        confidence=round(2 * confidence - 1, 12),
        resamples=resamples,
        seed=seed,
        correction="none",
    )
    inside = (table["low"] > -margin) & (table["high"] < margin)
    table = table.assign(
        margin=margin, equivalent=inside, test=f"two one-sided tests at {1 - confidence:.3g}"
    )
    columns = ["model", "ablation", "task", "metric", "drop", "low", "high", "margin"]
    return table[[*columns, "equivalent", "n", "unit", "interval", "test"]]


def power(
    n: int,
    drop: float,
    *,
    discordant: float | None = None,
    alpha: float = 0.05,
    family: int = 1,
) -> float:
    """Probability that the exact McNemar test finds a drop, of 0/1 outcomes.

    Exact, by summing over the binomial distributions of the test (Duffy 1984): the number of pairs
    that differ, and how many of these are harmed.

    Args:
        n: Examples.
        drop: True drop, in points; at most ``discordant``.
        discordant: Examples that are right under one of the two models only, in points. More of
            them hide a drop. By default as few as possible: all of them harmed.
        alpha: Level of the test.
        family: Ablations that share the level (Bonferroni; Holm is never less powerful).

    Returns:
        A probability.

    Raises:
        UserError: A number that is out of range.
    """
    share = _shares(drop, discordant)
    if n < 1 or family < 1 or not 0 < alpha < 1:
        raise UserError(
            f"power: n {n}, family {family}, alpha {alpha}: allowed are n and family from 1 on, "
            "alpha between 0 and 1"
        )
    pairs = np.arange(n + 1)
    # McNemar rejects where harmed or helped is at most this critical value (-1: never)
    critical = np.asarray(sps.binom.ppf(alpha / family / 2, pairs, 0.5)).astype(int)
    critical -= sps.binom.cdf(critical, pairs, 0.5) > alpha / family / 2
    harmed = 0.5 if share == 0 else (share + drop / 100) / (2 * share)
    rejected = sps.binom.cdf(critical, pairs, harmed) + sps.binom.cdf(critical, pairs, 1 - harmed)
    return float(np.sum(sps.binom.pmf(pairs, n, share) * np.where(critical < 0, 0, rejected)))


def examples_needed(
    drop: float,
    *,
    discordant: float | None = None,
    alpha: float = 0.05,
    family: int = 1,
    wanted: float = 0.8,
) -> int:
    """The least n from which on `power` stays at `wanted` or more, to within 1%.

    Exact tests' power rises in saw teeth; the n that is given is behind the last tooth that dips
    below.

    Args:
        drop: As for `power`, more than 0.
        discordant: As for `power`.
        alpha: As for `power`.
        family: As for `power`.
        wanted: Probability of finding the drop: 0.8 is four times in five.

    Raises:
        UserError: A number that is out of range, or more than a million examples are needed.
    """
    _shares(drop, discordant)
    if drop <= 0 or not 0 < wanted < 1:
        raise UserError(f"drop {drop}, wanted {wanted}: allowed are drops above 0, and 0 to 1")

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
        ns: Examples.
        drops: In points.
        noise: Examples that an ablation helps by chance, in points; as many more are harmed, on
            top of the drop.
        alpha: As for `power`.
        family: As for `power`.

    Returns:
        Columns ``n drop discordant family alpha power test``.
    """
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
                "test": "exact McNemar",
            }
            for row in rows
        ]
    )  # fmt: skip


def _shares(drop: float, discordant: float | None) -> float:
    """Share of discordant pairs, checked."""
    points = abs(drop) if discordant is None else discordant
    if not 0 <= abs(drop) <= points <= 100:
        raise UserError(
            f"drop {drop}, discordant {discordant}: allowed are 0 to 100 points, discordant at "
            "least as large as the drop"
        )
    return points / 100

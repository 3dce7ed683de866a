"""What most tables show: scores, drops of right answers, losses of texts, recovery, lost sets."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.coverage.drawing import LEVEL, changes, coverage_row, size_row
from interp.stats import (
    Sample,
    drop_intervals,
    fieller,
    fisher_exact_p,
    mcnemar,
    means_of,
    student_interval,
    wilson,
)
from interp.stats.weighted import loss_row

SCORES = (0.02, 0.1, 0.5, 0.9)
DROPS = (0.0, 0.02, 0.1, 0.4)
NOISE = 0.03


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage and size, vectorised over the sweeps where one call takes many columns."""
    yield from _scores(sweeps, seed)
    yield from _drops(sweeps, seed)
    yield from _losses(sweeps, seed)
    yield from _recoveries(sweeps, seed)
    yield from _texts(sweeps, seed)
    yield from _lost(sweeps, seed)


def _scores(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Wilson's interval: of scores, kinds of error, shares that are read off a lens."""
    for n in (50, 200, 1000):
        for share in SCORES:
            rng = np.random.default_rng([seed, 30, n, int(100 * share)])
            counts = rng.binomial(n, share, size=10 * sweeps).astype(float)
            low, high = wilson(counts, n)
            yield coverage_row(
                "score, kind of error", f"{100 * share:.0f} of 100, n {n}",
                _within(low, share, high), sweeps=10 * sweeps,
            )  # fmt: skip


def _drops(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """The drop of a 0/1 metric with its interval, and the test of one ablation."""
    for n in (50, 100, 200, 500):
        for drop in DROPS:
            rng = np.random.default_rng([seed, 31, n, int(100 * drop)])
            table = changes(rng, n, [drop] * sweeps, NOISE)
            low, high, _ = drop_intervals(Sample(table, np.arange(n), False), True, 0.95, 1000, 0)
            setting = f"drop {100 * drop:.0f} points, noise {100 * NOISE:.0f}%, n {n}"
            yield coverage_row("drop of a 0/1 metric", setting, _within(low, drop, high),
                               sweeps=sweeps)  # fmt: skip
            if not drop:
                p = mcnemar((table > 0).sum(axis=0) * 1.0, (table < 0).sum(axis=0) * 1.0)
                yield size_row("mid-p McNemar, one ablation", setting, list(p < LEVEL),
                               sweeps=sweeps)  # fmt: skip


def _losses(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Nats a token of texts of unequal length, whole and as a difference."""
    for n in (20, 60, 200):
        rng, hits, apart, rejected = np.random.default_rng([seed, 32, n]), [], [], []
        for _ in range(sweeps):
            lengths = np.exp(rng.normal(5, 0.7, size=n))
            own, worse = 3 + rng.normal(0, 0.4, size=(2, n))
            baseline, ablated = -lengths * own, -lengths * (own + 0.2 * (worse - 3) + 0.1)
            one = loss_row(Sample(np.stack([baseline, lengths], axis=1), np.arange(n), False),
                           "nats_per_token", 0.95)  # fmt: skip
            two = np.stack([baseline, ablated, lengths], axis=1)
            both = loss_row(Sample(two, np.arange(n), False), "nats_per_token", 0.95)
            none = np.stack([baseline, ablated + 0.1 * lengths, lengths], axis=1)
            hits.append(one["low"] <= 3 <= one["high"])
            apart.append(both["low"] <= 0.1 <= both["high"])
            alike = loss_row(Sample(none, np.arange(n), False), "nats_per_token", 0.95)
            rejected.append(alike["p"] < LEVEL)
        setting = f"texts of 30 to 600 tokens, n {n}"
        yield coverage_row("loss of texts, nats a token", setting, hits, sweeps=sweeps)
        yield coverage_row("difference of losses of texts", setting, apart, sweeps=sweeps)
        yield size_row("difference of losses of texts", setting, rejected, sweeps=sweeps)


def _recoveries(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Fieller's interval of what a patch brings: 30% of 4 nats that spread by 2."""
    top, bottom = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for n in (20, 50, 200):
        rng, hits = np.random.default_rng([seed, 33, n]), []
        for _ in range(sweeps):
            full = 4 + 2 * rng.normal(size=n)
            moved = 0.3 * full + 0.8 * rng.normal(size=n)
            means = means_of(Sample(np.stack([moved, full], axis=1), np.arange(n), False),
                             points=False)  # fmt: skip
            found = fieller(top, bottom, means, means.critical(0.95))
            if not np.isnan(found.low):
                hits.append(found.low <= 0.3 <= found.high)
        yield coverage_row("recovery by a patch", f"n {n}", hits, sweeps=sweeps)


def _texts(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Student's interval over texts: downstream effects, block influence of sublayers."""
    for n in (8, 30):
        rng = np.random.default_rng([seed, 34, n])
        values = np.exp(rng.normal(-1, 0.4, size=(n, sweeps)))
        error = values.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = student_interval(values.mean(axis=0), error, n)
        truth = float(np.exp(-1 + 0.4**2 / 2))
        yield coverage_row("downstream effect, influence of a sublayer", f"{n} texts",
                           _within(low, truth, high), sweeps=sweeps)  # fmt: skip


def _lost(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """The share of lost examples that another ablation loses, and the test of independence."""
    for n in (60, 200):
        for lost in (0.1, 0.4):
            rng, hits, p = np.random.default_rng([seed, 35, n, int(10 * lost)]), [], []
            for _ in range(sweeps):
                one, other = rng.random((2, n)) < lost
                both, smaller = int((one & other).sum()), int(min(one.sum(), other.sum()))
                if not smaller:
                    continue
                (low,), (high,) = wilson(np.array([float(both)]), smaller)
                hits.append(low <= lost <= high)
                p.append(fisher_exact_p(both, int(one.sum()), int(other.sum()), n))
            setting = f"each loses {100 * lost:.0f}% by itself, n {n}"
            yield coverage_row("lost examples that are shared", setting, hits, sweeps=sweeps)
            yield size_row("lost examples are independent (Fisher)", setting,
                           [one < LEVEL for one in p], sweeps=sweeps)  # fmt: skip


def _within(
    low: Float[np.ndarray, " sweeps"], truth: float, high: Float[np.ndarray, " sweeps"]
) -> list[bool]:
    return list((low <= truth + 1e-9) & (truth - 1e-9 <= high))

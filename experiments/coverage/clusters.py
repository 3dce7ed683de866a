"""Examples that come in clusters: intervals and tests that resample clusters, and lens shares."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from experiments.coverage.drawing import LEVEL, coverage_row, size_row
from interp.lens.repairing import effect_intervals
from interp.similarity.cka import CkaSums
from interp.stats import (
    Sample,
    StreamingMean,
    drop_intervals,
    mean_intervals,
    poisson_weights,
    sign_flip,
)

SETTINGS = ((8, 25), (20, 10), (40, 5))
"""Clusters, and examples of each."""

ALIKE = 0.2
"""Correlation of examples of one cluster."""

RESAMPLES = 1000


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage and size of everything that takes clusters as its units."""
    yield from outcomes(sweeps, seed)
    yield from streamed(sweeps, seed)
    yield from self_repairs(sweeps, seed)
    yield from similarities(sweeps, seed)


def outcomes(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Scores, drops and the test of no drop, of 0/1 outcomes."""
    for place, (clusters, each) in enumerate(SETTINGS):
        rng, units = np.random.default_rng([seed, 20, place]), np.repeat(np.arange(clusters), each)
        setting = _setting(clusters, each)
        for share in (0.1, 0.5):
            table = _outcomes(rng, clusters, each, sweeps, share)
            low, high, _ = mean_intervals(Sample(table, units, True), True, 0.95, RESAMPLES, seed)
            name = f"{setting}, score {100 * share:.0f}"
            yield coverage_row("score, by cluster", name, _within(low, share, high), sweeps=sweeps)
        for drop in (0.0, 0.1, 0.4):
            harmed = _outcomes(rng, clusters, each, sweeps, drop + 0.05)
            helped = _outcomes(rng, clusters, each, sweeps, 0.05)
            sample = Sample(harmed - helped, units, True)
            low, high, _ = drop_intervals(sample, True, 0.95, RESAMPLES, seed)
            name = f"{setting}, drop {100 * drop:.0f}"
            yield coverage_row("drop, by cluster", name, _within(low, drop, high), sweeps=sweeps)
            if not drop:
                p = sign_flip(sample.sums(), resamples=RESAMPLES, seed=seed)
                yield size_row("sign flips by cluster", name, list(p < LEVEL), sweeps=sweeps)


def streamed(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """The Poisson bootstrap of the lens, of attribution and of block influence; lens shares."""
    for place, (clusters, each) in enumerate([*SETTINGS, (100, 1), (200, 1)]):
        rng, units = np.random.default_rng([seed, 21, place]), np.repeat(np.arange(clusters), each)
        setting = _setting(clusters, each)
        weights = poisson_weights(units.tolist(), resamples=RESAMPLES, seed=seed)
        values = {
            "normal": _normal(rng, clusters, each, sweeps),
            "skewed": np.exp(_normal(rng, clusters, each, sweeps)) - np.exp(0.5),
        }
        for name, table in values.items():
            tally = StreamingMean((sweeps,), resamples=RESAMPLES)
            # one draw of weights serves all sweeps: their values are independent
            tally.add(weights, table, units=units.tolist())
            low, high = tally.interval()
            yield coverage_row(
                "Poisson bootstrap (lens, attribution, influence)", f"{setting}, {name}",
                _within(low, 0.0, high), sweeps=sweeps,
            )  # fmt: skip
        for share in (0.03, 0.2, 0.6):
            table = _outcomes(rng, clusters, each, sweeps, share)
            tally = StreamingMean((sweeps,), resamples=RESAMPLES)
            tally.add(weights, table, units=units.tolist())
            low, high = tally.share_interval(tally.mean, tally.replicates)
            yield coverage_row(
                "share of examples decided (lens)", f"{setting}, share {100 * share:.0f}",
                _within(low, share, high), sweeps=sweeps,
            )  # fmt: skip


def self_repairs(
    sweeps: int, seed: int, settings: Sequence[tuple[int, int]] = SETTINGS
) -> Iterator[dict[str, Any]]:
    """Effects and the share repaired: 40% of a direct effect of 1 with a spread of 0.5."""
    for place, (clusters, each) in enumerate(settings):
        rng = np.random.default_rng([seed, 22, place])
        direct = 1 + 0.5 * _normal(rng, clusters, each, sweeps)
        repair = 0.4 * direct + 0.2 * _normal(rng, clusters, each, sweeps)
        norm = 0.1 * _normal(rng, clusters, each, sweeps)
        total = direct - repair
        values = np.stack([direct, total, total - direct - norm, norm, repair], axis=2)
        units = np.repeat(np.arange(clusters), each).tolist()
        found = effect_intervals(values, units=units)
        for name, truth in {"direct": 1.0, "total": 0.6, "repair": 0.4, "repaired": 0.4}.items():
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            known = ~np.isnan(low)
            yield coverage_row(
                f"self-repair: {name}, by cluster", _setting(clusters, each),
                _within(low[known], truth, high[known]), sweeps=sweeps,
            )  # fmt: skip


def similarities(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Linear CKA 0.5 of states whose clusters have a share of their direction in common."""
    weight, width = np.sqrt(0.5), 32
    for place, (clusters, each) in enumerate(SETTINGS):
        rng, hits = np.random.default_rng([seed, 23, place]), []
        units = np.repeat(np.arange(clusters), each)
        for _ in range(sweeps):
            shared, own = (
                np.sqrt(ALIKE) * rng.normal(size=(clusters, width))[units]
                + np.sqrt(1 - ALIKE) * rng.normal(size=(len(units), width))
                for _ in range(2)
            )
            mixed = weight * shared + np.sqrt(1 - weight**2) * own
            sums = CkaSums()
            sums.add(torch.tensor(shared[None]), torch.tensor(mixed[None]), units=units.tolist())
            row = sums.table({}).iloc[0]
            if not np.isnan(row["low"]):
                hits.append(bool(row["low"] <= weight**2 <= row["high"]))
        yield coverage_row("linear CKA, by cluster", _setting(clusters, each), hits, sweeps=sweeps)


def _setting(clusters: int, each: int) -> str:
    return f"{clusters} clusters of {each}, alike by {ALIKE}" if each > 1 else f"n {clusters}"


def _within(
    low: Float[np.ndarray, " sweeps"], truth: float, high: Float[np.ndarray, " sweeps"]
) -> list[bool]:
    return list((low <= truth + 1e-9) & (truth - 1e-9 <= high))


def _normal(
    rng: np.random.Generator, clusters: int, each: int, sweeps: int
) -> Float[np.ndarray, "examples sweeps"]:
    """Standard normal values; those of one cluster are correlated."""
    own = rng.normal(size=(clusters * each, sweeps))
    if each == 1:
        return own
    shared = np.repeat(rng.normal(size=(clusters, sweeps)), each, axis=0)
    return np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * own


def _outcomes(
    rng: np.random.Generator, clusters: int, each: int, sweeps: int, share: float
) -> Float[np.ndarray, "examples sweeps"]:
    """0/1 outcomes; the share of a cluster is drawn from a beta distribution."""
    if each == 1:
        return (rng.random((clusters, sweeps)) < share).astype(float)
    total = 1 / ALIKE - 1
    shares = rng.beta(share * total, (1 - share) * total, size=(clusters, sweeps))
    return (rng.random((clusters * each, sweeps)) < np.repeat(shares, each, axis=0)).astype(float)

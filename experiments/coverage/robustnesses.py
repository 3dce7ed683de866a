"""How much of a score is left as layers go: the area under the curve, over the whole score.

As `interp.comparison.robustness` computes it; two models on the same examples.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row
from interp.comparison.removal_robustness import mean_height
from interp.stats import Sample, bootstrap_means, percentiles

RIGHT, RESAMPLES = 0.8, 500
KEPT = np.linspace(0.95, 0.1, 6)
"""Share of its right answers that a model keeps, step by step."""

SETTINGS = ((50, 0.2), (50, 0.0), (200, 0.2), (200, 0.0))
"""Examples, and how much more of its score the second model keeps at every step."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of a model's robustness, of the area, and of the difference of two models."""
    for n, gap in SETTINGS:
        rng = np.random.default_rng([seed, 50, n, int(10 * gap)])
        shares = KEPT, np.minimum(1.0, KEPT + gap)
        truth = [float(mean_height(np.append(1.0, one)[None])[0]) for one in shares]
        own, area, apart = list[bool](), list[bool](), list[bool]()
        for sweep in range(sweeps):
            lasting = rng.random(n)
            drawn = [_heights(rng, lasting, one, [sweep, 2]) for one in shares]
            own.append(_holds(drawn[0][1], truth[0]))
            area.append(_holds(drawn[0][0], RIGHT * truth[0]))
            apart.append(_holds(drawn[1][1] - drawn[0][1], truth[1] - truth[0]))
        setting = f"6 layers go, {100 * gap:.0f} points more, n {n}"
        yield coverage_row("robustness", setting, own, sweeps=sweeps)
        yield coverage_row("area under a removal curve", setting, area, sweeps=sweeps)
        yield coverage_row("difference of robustness", setting, apart, sweeps=sweeps)


def _holds(drawn: Float[np.ndarray, " resamples"], truth: float) -> bool:
    low, high = percentiles(drawn)
    return bool(low <= truth <= high)


def _heights(
    rng: np.random.Generator,
    lasting: Float[np.ndarray, " n"],
    shares: Float[np.ndarray, " steps"],
    seed: list[int],
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
    """Resampled areas and robustness of a model whose examples last up to a step of their own."""
    n = len(lasting)
    own = np.where(rng.random(n) < 0.5, lasting, rng.random(n))
    whole = rng.random(n) < RIGHT
    table = np.column_stack([whole, whole[:, None] & (own[:, None] < shares)]) * 1.0
    means = bootstrap_means(Sample(table, np.arange(n), False), resamples=RESAMPLES, seed=seed)
    height = mean_height(means)
    return height, height / means[:, 0]

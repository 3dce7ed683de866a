"""Parts of a drop whose truth is known: prompt part, answer part, interaction of two."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.coverage.drawing import LEVEL, coverage_row, size_row
from interp.stats import contrasts
from interp.stats.samples import Sample

BASE = 0.85
"""Share of examples that the whole model has right."""

SETTINGS = {
    "10 and 20 points, no interaction": (0.10, 0.20, 0.0),
    "10 and 20 points, 15 more together": (0.10, 0.20, 0.15),
    "30 and 30 points, the same examples": (0.30, 0.30, -0.30),
    "2 and 2 points, no interaction": (0.02, 0.02, 0.0),
    "nothing": (0.0, 0.0, 0.0),
}
"""Two parts of a drop and their interaction, as shares of all examples."""

SIZES = (50, 100, 200, 400)
"""Examples."""

NOISES = (0.005, 0.02)
"""Share of examples that each ablation harms by chance, and of those that it helps."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of the interval of an interaction, and the size of its test."""
    for n in SIZES:
        for number, ((name, truth), noise) in enumerate(product(SETTINGS.items(), NOISES)):
            rng = np.random.default_rng([seed, 13, n, number])
            # sweeps are the columns of one table: no column knows of another
            beyond = _interactions(rng, truth, noise, (n, sweeps))
            found = contrasts(Sample(beyond, np.arange(n), False), points=True, confidence=0.95)
            setting = f"{name}, noise {100 * noise:g}%, n {n}"
            covered = (found.low <= truth[2]) & (truth[2] <= found.high)
            yield coverage_row("interaction of two parts", setting, list(covered), sweeps=sweeps)
            if truth[2] == 0:
                yield size_row("interaction of two parts", setting, list(found.p <= LEVEL),
                               sweeps=sweeps)  # fmt: skip


def _interactions(
    rng: np.random.Generator,
    truth: tuple[float, float, float],
    noise: float,
    size: tuple[int, int],
) -> Float[np.ndarray, "n sweeps"]:
    """What both parts cost together beyond the sum of each alone, example by example.

    An example that is lost has a cause: the first part, the second, either of them, or only
    both together. Chance makes an example right or wrong under each ablation independently.

    Args:
        rng: the random generator of the draw.
        truth: the true costs: of the first part, of the second, and of both beyond these two.
        noise: share of examples that each ablation helps by chance; as many more are harmed.
        size: examples and sweeps.

    Returns:
        The interaction of every example in every sweep: -2 to 1.
    """
    first, second, together = truth
    either = max(0.0, -together)
    only = np.array([first - either, second - either, either, max(0.0, together)])
    shares = np.array([*only, BASE - only.sum(), 1 - BASE])
    cause = rng.choice(6, size=size, p=shares)
    right = cause < 5
    outcomes = [right]
    for causes in ((0, 2), (1, 2), (0, 1, 2, 3)):
        kept, luck = right & ~np.isin(cause, causes), rng.random(size)
        # as many are harmed as helped, so that luck moves no mean
        harm, help_ = noise / (BASE - shares[list(causes)].sum()), noise / (1 - BASE)
        outcomes.append((kept & (luck >= harm)) | (~right & (luck < help_)))
    whole, one, other, both = (outcome.astype(float) for outcome in outcomes)
    return one + other - both - whole

"""A drop under several prompts: its interval over examples and prompts, and the test of prompts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.coverage.drawing import LEVEL, coverage_row, size_row
from interp.stats import TwoWay, fit_two_way

DROPS = ((0.03, 0.02), (0.2, 0.02), (0.5, 0.05))
"""True drop, and how many examples luck helps (as many more are harmed), both as shares."""

SPREADS = (0.0, 0.02, 0.08)
"""Standard deviation of the drop from prompt to prompt."""

SHARED = 0.7
"""Of the cells: their luck is that of the example, the same under every prompt."""


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage over prompts and examples; size of the F test where prompts do not differ."""
    for n in (50, 200):
        for prompts in (3, 5, 10):
            for number, (drop, noise) in enumerate(DROPS):
                for spread in SPREADS:
                    if spread > drop:
                        continue
                    key = [seed, 14, n, prompts, number, int(100 * spread)]
                    rng = np.random.default_rng(key)
                    fit = _fitted(rng, (sweeps, n, prompts), drop, noise, spread)
                    setting = (
                        f"{100 * drop:g} points, {100 * spread:g} from prompt to prompt, noise "
                        f"{100 * noise:g}%, {prompts} prompts, n {n}"
                    )
                    inside = (fit.low <= drop) & (drop <= fit.high)
                    fixed = (fit.low_examples <= drop) & (drop <= fit.high_examples)
                    yield coverage_row(
                        "drop over prompts and examples", setting, list(inside), sweeps=sweeps,
                        note=f"over examples alone {fixed.mean():.3f}",
                    )  # fmt: skip
                    if not spread:
                        p = fit.p[~np.isnan(fit.p)]
                        yield size_row("prompts differ", setting, list(p <= LEVEL), sweeps=sweeps)


def _fitted(
    rng: np.random.Generator, shape: tuple[int, int, int], drop: float, noise: float, spread: float
) -> TwoWay:
    sweeps, n, prompts = shape
    truth = drop + spread * rng.standard_normal((sweeps, 1, prompts))
    luck = np.where(rng.random(shape) < SHARED, rng.random((sweeps, n, 1)), rng.random(shape))
    return fit_two_way((luck < truth + noise).astype(float) - (luck >= 1 - noise), points=True)

"""The search in two stages for heads that carry an answer (`interp.sweeps.patch_search`).

Layers are chosen on one half of the pairs, their heads measured on the other. Do the intervals of
the second half hold after that choice, and how often is a head named that carries nothing?
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.coverage.drawing import coverage_row, size_row
from interp.stats import fieller, means_of
from interp.stats.samples import Sample

N_HEADS, MOST, CONFIDENCE = 4, 3, 0.95


@dataclass(frozen=True)
class Setting:
    """What is true, and what is drawn.

    Attributes:
        layers: what each layer's attention brings of the twin's answer, a share.
        heads: the same of the heads of every layer that brings something.
        pairs: the number of pairs in each half.
        noise: the standard deviation of what a patch moves in one pair, in nats; twins differ by 8
            on average.
        skewed: whether pairs differ by lognormal amounts.
    """

    layers: tuple[float, ...]
    heads: tuple[float, ...]
    pairs: int
    noise: float = 1.0
    skewed: bool = False


SETTINGS = {
    "nothing anywhere, 12 pairs": Setting((0.0,) * 8, (0.0,) * 4, 12),
    "three of 8 layers bring a fifth, no head does, 12 pairs": Setting(
        (0.2,) * 3 + (0.0,) * 5, (0.0,) * 4, 12
    ),
    "three of 8 layers bring a fifth, no head does, 25 pairs": Setting(
        (0.2,) * 3 + (0.0,) * 5, (0.0,) * 4, 25
    ),
    "two of 8 layers bring 0.4, one head of each 0.3, 12 pairs": Setting(
        (0.4, 0.4) + (0.0,) * 6, (0.3, 0.0, 0.0, 0.0), 12
    ),
    "layers graded 0.02 to 0.16, one head of each 0.05, noise 2 nats, 25 pairs": Setting(
        tuple(0.02 * n for n in range(1, 9)), (0.05, 0.0, 0.0, 0.0), 25, noise=2.0
    ),
    "three of 8 layers bring a fifth, no head does, skewed twins, 25 pairs": Setting(
        (0.2,) * 3 + (0.0,) * 5, (0.0,) * 4, 25, skewed=True
    ),
}


def rows(sweeps: int, seed: int) -> Iterator[dict[str, Any]]:
    """Coverage of the second half's intervals, alone and together, and null heads found."""
    for number, (setting, one) in enumerate(SETTINGS.items()):
        rng = np.random.default_rng([seed, 31, number])
        found = [_search(rng, one) for _ in range(sweeps)]
        given = [search for search in found if search is not None]
        alone = [inside for search in given for inside in search.inside]
        yield coverage_row("patch search: an interval of the second half", setting, alone,
                           sweeps=max(1, len(alone)))  # fmt: skip
        yield coverage_row("patch search: all intervals of the second half together", setting,
                           [search.all_inside for search in given], sweeps=sweeps)  # fmt: skip
        # a search that chooses no layer names no head
        named = [search is not None and search.named for search in found]
        naive = sum(search.uncorrected for search in given) / sweeps
        yield size_row("patch search: any null head found", setting, named, sweeps=sweeps,
                       note=f"{naive:.3f} without a correction")  # fmt: skip


@dataclass(frozen=True)
class _Search:
    """The second half of one search.

    Attributes:
        inside: for each layer and head that was measured, whether its own interval holds the truth.
        all_inside: whether the intervals of all of them together do.
        named: whether a head that brings nothing was found.
        uncorrected: whether its own interval would have named it.
    """

    inside: tuple[bool, ...]
    all_inside: bool
    named: bool
    uncorrected: bool


def _search(rng: np.random.Generator, setting: Setting) -> _Search | None:
    """One search; None where no layer is chosen."""
    value, low, _ = _intervals(_drawn(rng, setting, setting.layers), joint=True)
    chosen = [int(at) for at in np.argsort(-value, kind="stable") if low[at] > 0][:MOST]
    if not chosen:
        return None
    heads = [
        share
        for at in chosen
        for share in (setting.heads if setting.layers[at] else (0.0,) * N_HEADS)
    ]
    truth = np.array([*(setting.layers[at] for at in chosen), *heads])
    drawn = _drawn(rng, setting, truth.tolist())
    _, low, high = _intervals(drawn, joint=False)
    _, low_all, high_all = _intervals(drawn, joint=True)
    quiet = (truth == 0) & (np.arange(len(truth)) >= len(chosen))
    return _Search(
        tuple(((low <= truth) & (truth <= high)).tolist()),
        bool(((low_all <= truth) & (truth <= high_all)).all()),
        bool((low_all[quiet] > 0).any()),
        bool((low[quiet] > 0).any()),
    )


def _drawn(
    rng: np.random.Generator, setting: Setting, shares: Sequence[float]
) -> Float[np.ndarray, "pairs patches"]:
    """What every patch moves in every pair, in nats, and last by how much its prompts differ."""
    n = setting.pairs
    full = 8 * rng.lognormal(-0.125, 0.5, n) if setting.skewed else rng.normal(8, 1.5, n)
    # patches of one pair err together, as they share its baselines
    shared = rng.normal(0, setting.noise / 2, (n, 1))
    own = rng.normal(0, setting.noise, (n, len(shares)))
    moved = full[:, None] * np.array(shares) + shared + own
    return np.column_stack([moved, full])


def _intervals(
    drawn: Float[np.ndarray, "pairs patches"], *, joint: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recovery of every patch and its bounds, as `interp.results.recovery` computes them."""
    count = drawn.shape[1] - 1
    means = means_of(Sample(drawn, np.arange(len(drawn)), clustered=False), points=False)
    critical = means.critical(1 - (1 - CONFIDENCE) / (count if joint else 1))
    columns = np.eye(count + 1)
    found = [fieller(columns[at], columns[count], means, critical) for at in range(count)]
    return (
        np.array([one.value for one in found]),
        np.array([one.low for one in found]),
        np.array([one.high for one in found]),
    )

"""Random numbers that depend on the position of a token and on nothing else.

Made by counting, not by a stream: Philox (Salmon et al. 2011) gives each position a state, and
SplitMix64 (Steele et al. 2014) from there a number for each token of the vocabulary. Whole numbers
throughout, so that every device makes the same ones.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor


def _signed(value: int) -> int:
    """A number of 64 bits as torch holds it."""
    return value - (1 << 64) if value >> 63 else value


STEP = _signed(0x9E3779B97F4A7C15)
FIRST, SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def gumbel(
    seed: int, positions: Sequence[tuple[int, int, int]], size: int, device: torch.device
) -> Float[Tensor, "positions size"]:
    """Standard Gumbel noise, float64.

    Args:
        seed: 0 or more.
        positions: position in the answer, example, draw.
        size: numbers per position.
        device: where they are needed.

    Returns:
        `[positions, size]`; row i depends on the seed and on `positions[i]` alone.
    """
    states = [
        _signed(int(np.random.Philox(key=seed, counter=[*position, 0]).random_raw()))
        for position in positions
    ]
    bits = split_mix(torch.tensor(states, dtype=torch.int64, device=device), size)
    # the upper 53 bits: a number strictly between 0 and 1
    uniform = (_shifted(bits, 11).double() + 0.5) * 2.0**-53
    return uniform.log_().neg_().log_().neg_()


def split_mix(states: Int64[Tensor, " positions"], size: int) -> Int64[Tensor, "positions size"]:
    """The first `size` outputs of SplitMix64 from each state, as signed numbers."""
    counts = torch.arange(1, size + 1, dtype=torch.int64, device=states.device)
    bits = states[:, None] + STEP * counts
    bits = (bits ^ _shifted(bits, 30)) * FIRST
    bits = (bits ^ _shifted(bits, 27)) * SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shifted to the right, with zeros from the left."""
    return (bits >> by) & ((1 << (64 - by)) - 1)

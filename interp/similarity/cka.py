"""Linear CKA over groups of examples, with a jackknife over examples.

The interval is a jackknife: each example is left out once (Efron & Stein 1981). It is computed with
Student's t on the scale of Fisher's transformation, because a CKA near 1 is skewed. Where examples
come in clusters, the changes from leaving out each example are added up over a cluster; with fewer
than 40 clusters there is no interval.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.errors import UserError
from interp.similarity.measures import hsic_left_out, mean_length
from interp.stats import student_interval

LEAST_CKA = 4
LEAST_CLUSTERS = 40
"""The smallest number of clusters with an interval.

Examples of one cluster raise the estimate itself. With 40 clusters of five examples (correlation
0.2) 92% of the intervals cover, with 20 clusters of ten 72%.
"""

NEAR_ONE = 1 - 1e-9


class CkaSums:
    """Sums of HSIC over groups of examples, with and without each example.

    Attributes:
        n: examples added.
    """

    def __init__(self) -> None:
        self.n = 0
        self._lengths: tuple[Tensor, Tensor] | None = None
        self._sums: list[Tensor] = []
        self._changes: list[list[Tensor]] = [[], [], []]
        self._units: list[int] = []
        self._same = False

    def add(self, one: Tensor, other: Tensor, *, units: Sequence[int] | None = None) -> None:
        """Add a group `[depth, examples, d_model]`; fewer than four examples give no estimate.

        All groups are divided by the lengths of the first group; otherwise groups with short states
        would count for more. `units` are the independent units of the examples; by default each
        example is its own.
        """
        size = one.shape[1]
        if size < LEAST_CKA:
            return
        if self._lengths is None:
            self._lengths = mean_length(one), mean_length(other)
            self._same = one is other
        first_length, second_length = self._lengths
        crossed, crossed_left = hsic_left_out(one, other, lengths=self._lengths)
        pairs = [(crossed, crossed_left)]
        for states, length in ((one, first_length), (other, second_length)):
            within, within_left = (
                pairs[0]
                if one is other
                else hsic_left_out(states, states, lengths=(length, length))
            )
            pairs.append((within.diagonal(), within_left.diagonal(dim1=0, dim2=1).T))
        totals = [size * whole for whole, _ in pairs]
        before = self._sums or [torch.zeros_like(total) for total in totals]
        self._sums = [a + b for a, b in zip(before, totals, strict=True)]
        for kept, (whole, left) in zip(self._changes, pairs, strict=True):
            kept.append((size - 1) * left - size * whole[..., None])
        self._units += range(self.n, self.n + size) if units is None else units
        self.n += size

    def table(self, named: Mapping[str, str], *, confidence: float = 0.95) -> pd.DataFrame:
        """CKA of every pair of depths, with its interval.

        Args:
            named: further columns, put first.
            confidence: coverage of each interval.

        Returns:
            Columns of `named`, then `depth other value low high n interval`.

        Raises:
            UserError: no group of four examples was added.
        """
        if not self.n:
            raise UserError(f"CKA: at least {LEAST_CKA} examples are needed")
        crossed, one, other = self._sums
        # the HSIC of a depth without spread with itself consists of rounding errors
        nonzero = (one[:, None] > 1e-12 * self.n) & (other[None] > 1e-12 * self.n)
        value = torch.where(nonzero, _ratio(crossed, one, other), torch.nan).cpu().numpy()
        moved = [torch.cat(parts, dim=-1) for parts in self._changes]
        left = [total[..., None] + change for total, change in zip(self._sums, moved, strict=True)]
        units = np.unique(self._units, return_inverse=True)[1]
        low, high = _jackknife(value, _ratio(*left).cpu().numpy(), units, confidence)
        if self._same:
            np.fill_diagonal(low, np.nan)
            np.fill_diagonal(high, np.nan)
        clusters = int(units.max()) + 1
        by = " by cluster" if clusters < self.n else ""
        if by and clusters < LEAST_CLUSTERS:
            low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        name = f"{100 * confidence:g}% jackknife{by}"
        rows = [
            {**named, "depth": i, "other": j, "value": value[i, j], "low": low[i, j],
             "high": high[i, j], "n": self.n,
             "interval": "none" if np.isnan(low[i, j]) else name}
            for i in range(value.shape[0])
            for j in range(value.shape[1])
        ]  # fmt: skip
        return pd.DataFrame(rows)


def _ratio(crossed: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """CKA from sums; trailing axes are examples that are left out."""
    return crossed / (one[:, None] * other[None]).clamp(min=1e-300).sqrt()


def _jackknife(
    value: np.ndarray, left: np.ndarray, units: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of `[depth, other]` values from those without each example, on Fisher's scale."""
    n, n_units = left.shape[-1], int(units.max()) + 1
    moved = np.arctanh(np.clip(left, -NEAR_ONE, NEAR_ONE))
    about = moved - moved.mean(axis=-1, keepdims=True)
    of_units = np.zeros((n_units, *about.shape[:-1]))
    np.add.at(of_units, units, np.moveaxis(about, -1, 0))
    spread = np.square(of_units).sum(axis=0) * n_units / max(1, n_units - 1)
    error = (n - 1) / n * np.sqrt(spread)
    centre = np.arctanh(np.clip(value, -NEAR_ONE, NEAR_ONE))
    low, high = student_interval(centre, error, n_units, confidence=confidence)
    # an estimate above 1 is its own bound
    return np.minimum(np.tanh(low), value), np.maximum(np.tanh(high), value)


def no_cka(n_depths: int, named: Mapping[str, str]) -> pd.DataFrame:
    """The table where there are too few examples: all NaN."""
    pairs = [(i, j) for i in range(n_depths) for j in range(n_depths)]
    empty = {"value": np.nan, "low": np.nan, "high": np.nan, "n": 0, "interval": "none"}
    return pd.DataFrame([{**named, "depth": i, "other": j, **empty} for i, j in pairs])

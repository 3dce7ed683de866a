"""Similarity of hidden states, as tensors: cosine, angular distance, linear CKA."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models import as_float64


def cosine(one: Float[Tensor, "... d_model"], other: Float[Tensor, "... d_model"]) -> Tensor:
    """The cosine of the angle between vectors, in float32, in [-1, 1].

    The cosine of two zero vectors is 1; that of a zero vector and any other vector is 0.

    Args:
        one: vectors.
        other: as many vectors; the leading axes are broadcast.

    Returns:
        One cosine per vector: the broadcast shape without its last axis.
    """
    u, v, both_zero = _units(one, other)
    similarity = (u * v).sum(dim=-1).clamp(-1, 1)
    return torch.where(both_zero, torch.ones_like(similarity), similarity)


def angular_distance(
    one: Float[Tensor, "... d_model"], other: Float[Tensor, "... d_model"]
) -> Tensor:
    """The angle between vectors divided by pi (Gromov et al., arXiv 2403.17887, equation 5).

    It is in [0, 1], and is computed by Kahan's formula, `2 atan2(|u - v|, |u + v|)` of unit
    vectors. The `arccos` of the cosine is the same, but loses digits near 0 and 1 (in float32 it
    gives 1e-4 for equal vectors), and rounding may push its argument outside [-1, 1].

    Args:
        one: vectors.
        other: as many vectors; the leading axes are broadcast.

    Returns:
        One angle per vector: the broadcast shape without its last axis.
    """
    u, v, both_zero = _units(one, other)
    angle = 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))
    # with one zero vector u or v is zero, for which the formula gives a right angle
    return torch.where(both_zero, torch.zeros_like(angle), angle / torch.pi)


def _units(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    units, zero = [], []
    for vectors in (one.float(), other.float()):
        largest = vectors.abs().amax(dim=-1, keepdim=True)
        zero.append(largest.squeeze(-1) == 0)
        # divide by the largest entry first: squares of very small or very large ones leave float32
        scaled = vectors / torch.where(largest > 0, largest, 1)
        units.append(scaled / scaled.norm(dim=-1, keepdim=True).clamp(min=1))
    return units[0], units[1], zero[0] & zero[1]


def hsic(
    one: Float[Tensor, "a examples d_a"], other: Float[Tensor, "b examples d_b"]
) -> Float[Tensor, "a b"]:
    """The unbiased estimate of HSIC with linear kernels, for every pair of representations.

    Song et al., "Feature selection via dependence maximization" (2012), equation 5. Averaged over
    batches it gives the CKA of Nguyen et al. (arXiv 2010.15327), whose memory does not grow with
    the examples.

    Args:
        one: states of at least four examples at several depths.
        other: states of the same examples at several depths, of the same or of another model.

    Returns:
        `[a, b]`, one estimate per pair of depths. It may be negative.
    """
    return hsic_left_out(one, other)[0]


def mean_length(states: Float[Tensor, "a examples d"]) -> Float[Tensor, " a"]:
    """The mean length of the centred states of each depth, by which states are divided.

    It cancels in CKA, and avoids a loss of digits. Averaged over batches it cancels only if all
    batches use the same length: take that of the first.

    Args:
        states: states at several depths.

    Returns:
        One length per depth, in float64.
    """
    states = as_float64(states)
    lengths = (states - states.mean(dim=1, keepdim=True)).norm(dim=-1)
    return lengths.mean(dim=-1).clamp(min=1e-30)


def hsic_left_out(
    one: Float[Tensor, "a examples d_a"],
    other: Float[Tensor, "b examples d_b"],
    *,
    lengths: tuple[Float[Tensor, " a"], Float[Tensor, " b"]] | None = None,
) -> tuple[Float[Tensor, "a b"], Float[Tensor, "a b examples"]]:
    """The estimate of `hsic`, and the same without each of the examples, for a jackknife.

    Args:
        one: as for `hsic`.
        other: as for `hsic`.
        lengths: what states are divided by, one per depth; by default their own `mean_length`.

    Returns:
        `[a, b]`, and `[a, b, examples]`, which is NaN for four examples, because three are too few.
    """
    scales = (mean_length(one), mean_length(other)) if lengths is None else lengths
    k, m = (_kernels(x, scale) for x, scale in zip((one, other), scales, strict=True))
    n = k.shape[-1]
    rows, columns = k.sum(dim=-1), m.sum(dim=-1)
    products = torch.einsum("aij,bij->abi", k, m)
    crossed = products.sum(dim=-1)
    totals = rows.sum(dim=-1)[:, None] * columns.sum(dim=-1)[None]
    mixed = rows @ columns.T
    # leaving out example i removes its row and its column from both matrices
    without = crossed[..., None] - 2 * products
    totals_left = (rows.sum(dim=-1, keepdim=True) - 2 * rows)[:, None] * (
        columns.sum(dim=-1, keepdim=True) - 2 * columns
    )[None]
    mixed_left = (
        mixed[..., None]
        - rows[:, None] * columns[None]
        - torch.einsum("aj,bij->abi", rows, m)
        - torch.einsum("aij,bj->abi", k, columns)
        + products
    )
    return (
        _unbiased(crossed, totals, mixed, n),
        _unbiased(without, totals_left, mixed_left, n - 1),
    )


def _unbiased(crossed: Tensor, totals: Tensor, mixed: Tensor, n: int) -> Tensor:
    if n < 4:
        return torch.full_like(crossed, torch.nan)
    estimate = crossed + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * mixed
    return estimate / (n * (n - 3))


def _kernels(
    states: Float[Tensor, "a examples d"], lengths: Float[Tensor, " a"]
) -> Float[Tensor, "a examples examples"]:
    """Gram matrices of centred states divided by a length, without diagonals, in float64."""
    states = as_float64(states)
    states = (states - states.mean(dim=1, keepdim=True)) / lengths[:, None, None]
    gram = states @ states.transpose(1, 2)
    return gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))

"""Vectors of the residual stream at chosen positions of padded rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from interp.errors import UserError
from interp.models import Decoder


def refuse_several_streams(residuals: Sequence[Tensor], what: str) -> None:
    """Refuse a model that keeps several residual streams at each position.

    Models with hyper-connections (DeepSeek V4) or AltUp (Gemma 3n) do.

    Its blocks are run and ablated; what reads one vector per position has nothing to read.

    Args:
        residuals: what enters each block, and what leaves the last.
        what: what reads them, for the message.

    Raises:
        UserError: they are not `[batch, pos, d_model]`.
    """
    if any(resid.ndim > 3 for resid in residuals):
        raise UserError(
            f"{what}: the model keeps several residual streams at each position, and is read only "
            "where it keeps one; its ablations can be swept"
        )


def vectors_at(resid: Tensor, at: tuple[Tensor, ...]) -> Tensor:
    """Vectors of a residual stream on any device, where the indices are.

    Args:
        resid: `[batch, pos, d_model]`.
        at: index tensors for its first axes.

    Returns:
        One vector for each entry of the index tensors: `[entries, d_model]`, or `[entries, pos,
        d_model]` where only rows are chosen. It is on the device of the first index.
    """
    return resid[tuple(index.to(resid.device) for index in at)].to(at[0].device)


def padded(decoder: Decoder, rows: Sequence[Sequence[int]]) -> Tensor:
    """Token ids `[batch, pos]`, padded on the right.

    Args:
        decoder: the decoder, which says on which device the ids belong.
        rows: token ids of each row.

    Returns:
        `[batch, pos]` on the device of the model; 0 where there is padding.
    """
    longest = max(len(row) for row in rows)
    ids = [list(row) + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(ids, device=decoder.device)

"""What single parts write, read through a final norm whose scale is held: linear in each part."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models import Decoder

TOLERANCE = 1e-3


def head_outputs(
    decoder: Decoder, layer: int, z: Float[Tensor, "positions width"]
) -> tuple[Float[Tensor, "head positions d_model"], Float[Tensor, " d_model"]]:
    """Each head's part of the output projection, whatever its layout; and the bias.

    Args:
        decoder: the modules of a model.
        layer: whose heads.
        z: input of the projection at some positions.

    Returns:
        `[head, positions, d_model]`, and what no head adds.
    """
    masks = torch.eye(decoder.n_heads, device=z.device, dtype=z.dtype)
    masks = masks.repeat_interleave(z.shape[-1] // decoder.n_heads, dim=1)[:, None]
    project: Any = decoder.output_projections[layer]
    with torch.no_grad():
        bias = project(torch.zeros_like(z[:1]))[0]
        # called, not read: its weight may be quantised, or have an adapter beside it
        return project(z[None] * masks) - bias, bias


def held_norm(
    decoder: Decoder,
    vectors: Float[Tensor, "parts positions d_model"],
    final: Float[Tensor, "positions d_model"],
) -> Float[Tensor, "parts positions d_model"]:
    """Parts of the residual stream after the final norm, its scale held at that of the whole.

    Args:
        decoder: the modules of a model.
        vectors: what parts add.
        final: the stream before the final norm.

    Returns:
        As many vectors, in float32; those of all parts and the norm's bias sum to the norm's
        output.
    """
    with torch.no_grad():
        normed, bias = final_norm(decoder, final)
        weight, centred = _norm_weight(decoder, bias)
        moved = _centre(final, centred) * weight
        # the scale that the norm divided by, whatever its epsilon
        scale = (moved.norm(dim=-1) / (normed - bias).norm(dim=-1)).unsqueeze(-1)
        return _centre(vectors, centred) * weight / scale


def final_norm(
    decoder: Decoder, final: Float[Tensor, "positions d_model"]
) -> tuple[Float[Tensor, "positions d_model"], Float[Tensor, " d_model"]]:
    """The final norm of a stream, and its bias.

    Args:
        decoder: the modules of a model.
        final: the stream before it.

    Returns:
        Both in float32; a bias of zeros where the norm has none.
    """
    normed = decoder.ln_final(final[None])[0].float()
    bias = getattr(decoder.ln_final, "bias", None)
    return normed, torch.zeros_like(normed[0]) if bias is None else bias.float()


def _norm_weight(decoder: Decoder, bias: Tensor) -> tuple[Tensor, bool]:
    """The weight that the final norm multiplies by, and whether it takes the mean away first."""
    ones = torch.full((1, 1, decoder.d_model), 1e3, device=decoder.device, dtype=torch.float32)
    dtype = next(decoder.root.parameters()).dtype
    normed = decoder.ln_final(ones.to(dtype))[0, 0].float() - bias
    # a norm that centres has nothing left of equal entries
    if normed.abs().max() < TOLERANCE:
        weight: Any = decoder.ln_final.weight
        return weight.float(), True
    return normed, False


def _centre(vectors: Tensor, centred: bool) -> Tensor:
    vectors = vectors.float()
    return vectors - vectors.mean(dim=-1, keepdim=True) if centred else vectors

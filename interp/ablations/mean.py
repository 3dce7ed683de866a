"""The mean output z of every head over a reference set, for `head:7.3@mean`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models import capture_z, decoder

HeadMeans = tuple[Float[Tensor, "head _"], ...]
"""Mean z `[head, d_head]` of each layer; in some models d_head differs from layer to layer."""


def head_means(
    model: TransformerBridge, reference: Sequence[str] | Sequence[list[int]]
) -> HeadMeans:
    """Each head's mean z over all positions of the reference texts, accumulated in float64.

    Texts run one at a time, so that no padding token is ever averaged.

    Args:
        model: the model whose heads are averaged.
        reference: texts, or lists of token ids.

    Returns:
        `[head, d_head]` for each layer, in the model's type, on its device.

    Raises:
        UserError: the reference set is empty, or a text in it is.
    """
    if not reference:
        raise UserError("reference: a mean needs at least one text")
    parts = decoder(model)
    sums: list[Tensor | None] = [None] * parts.n_layers

    def add(layer: int, z: Tensor) -> None:
        total = z.double().sum(dim=(0, 1))
        before = sums[layer]
        sums[layer] = total if before is None else before + total

    positions = 0
    with capture_z(parts, range(parts.n_layers), add), torch.no_grad():
        for one in reference:
            tokens = parts.tokenizer.encode(one) if isinstance(one, str) else list(one)
            tokens = tokens[-parts.max_length :]
            if not tokens:
                raise UserError("reference: an empty text has no positions to average over")
            positions += len(tokens)
            parts.root(input_ids=torch.tensor([tokens], device=parts.device), use_cache=False)
    dtype = next(parts.root.parameters()).dtype
    return tuple(
        (total / positions).to(parts.device, dtype).view(parts.n_heads, -1)
        for total in sums
        if total is not None
    )

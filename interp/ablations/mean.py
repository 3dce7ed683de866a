"""The mean output z of every head over a reference set, for `head:7.3@mean`."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models import decoder

HeadMeans = Float[Tensor, "layer head d_head"]


def head_means(
    model: TransformerBridge, reference: Sequence[str] | Sequence[list[int]]
) -> HeadMeans:
    """Each head's mean z over all positions of the reference texts, accumulated in float64.

    Texts run one at a time, so that no padding token is ever averaged.

    Args:
        model: the model whose heads are averaged.
        reference: texts, or lists of token ids.

    Returns:
        `[layer, head, d_head]` in the model's type, on its device.

    Raises:
        UserError: the reference set is empty.
    """
    if not reference:
        raise UserError("reference: a mean needs at least one text")
    parts = decoder(model)
    width = parts.n_heads * parts.d_head
    sums = torch.zeros(parts.n_layers, width, dtype=torch.float64, device=parts.device)
    handles = [
        projection.register_forward_pre_hook(_accumulate(sums, layer))
        for layer, projection in enumerate(parts.output_projections)
    ]
    positions = 0
    try:
        for one in reference:
            tokens = parts.tokenizer.encode(one) if isinstance(one, str) else list(one)
            tokens = tokens[-parts.max_length :]
            positions += len(tokens)
            with torch.no_grad():
                parts.root(input_ids=torch.tensor([tokens], device=parts.device))
    finally:
        for handle in handles:
            handle.remove()
    dtype = next(parts.root.parameters()).dtype
    return (sums / positions).to(dtype).view(parts.n_layers, parts.n_heads, parts.d_head)


def _accumulate(sums: Tensor, layer: int) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        total = args[0].flatten(end_dim=1).double().sum(dim=0).flatten()
        sums[layer] += total.to(sums.device)

    return hook

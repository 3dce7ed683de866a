"""What is fitted on a reference set: means for `@mean`, and affine maps for `@linear`."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.edits import Place
from interp.ablations.linear import linear_maps
from interp.errors import UserError
from interp.models import capture_contributions, capture_z, decoder

Means = Mapping[Place, Float[Tensor, "..."]]
"""For each layer mean z `[head, d_head]`, and the mean `[d_model]` of what each part adds.

Where it was asked for, an affine map `[d_model, d_model + 1]` as well (`linear_maps`).

In some models d_head differs from layer to layer.
"""


def mean_outputs(
    model: TransformerBridge,
    reference: Sequence[str] | Sequence[list[int]],
    *,
    linear: Sequence[int] = (),
) -> Means:
    """Means over all positions of the reference texts, accumulated in float64.

    Texts run one at a time, so that no padding token is ever averaged.

    Args:
        model: the unablated model.
        reference: texts, or lists of token ids.
        linear: layers whose best affine map is fitted, too.

    Returns:
        Of each layer the mean z of its heads, and the mean of what its block, its attention and
        its MLP add to the residual stream; in the model's type, on its device.

    Raises:
        UserError: the reference set is empty, or a text in it is.
    """
    if not reference:
        raise UserError("reference: a mean needs at least one text")
    parts = decoder(model)
    layers, sums = range(parts.n_layers), dict[Place, Tensor]()

    def add(place: Place, rows: Tensor) -> None:
        total = rows.double().sum(dim=0)
        sums[place] = sums[place] + total if place in sums else total

    texts = [
        (parts.tokenizer.encode(one) if isinstance(one, str) else list(one))[-parts.max_length :]
        for one in reference
    ]
    if not all(texts):
        raise UserError("reference: an empty text has no positions to average over")
    positions = sum(map(len, texts))
    with (
        torch.no_grad(),
        capture_z(parts, layers, lambda layer, z: add((layer, "z"), z.flatten(end_dim=1))),
        capture_contributions(parts, layers, lambda layer, part, rows: add((layer, part), rows)),
    ):
        for tokens in texts:
            parts.root(input_ids=torch.tensor([tokens], device=parts.device), use_cache=False)
    dtype = next(parts.root.parameters()).dtype
    means = {place: (sums[place] / positions).to(parts.device, dtype) for place in sorted(sums)}
    return {
        **{
            (layer, site): mean.view(parts.n_heads, -1) if site == "z" else mean
            for (layer, site), mean in means.items()
        },
        **(linear_maps(parts, texts, sorted(linear)) if linear else {}),
    }

"""What is fitted on a reference set: means for `@mean`, and affine maps for `@linear`."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.edits import Place
from interp.ablations.linear import linear_maps
from interp.errors import UserError
from interp.models import as_float64, capture_contributions, capture_z

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
    decoder = models.decoder(model)
    layers, sums = range(decoder.n_layers), dict[Place, Tensor]()

    def add(place: Place, rows: Tensor) -> None:
        total = as_float64(rows).sum(dim=0)
        sums[place] = sums[place] + total if place in sums else total

    def add_z(layer: int, z: Tensor) -> None:
        add((layer, "z"), z.flatten(end_dim=1))

    texts = [
        (decoder.tokenizer.encode(text) if isinstance(text, str) else list(text))[
            -decoder.max_length :
        ]
        for text in reference
    ]
    if not all(texts):
        raise UserError("reference: an empty text has no positions to average over")
    positions = sum(map(len, texts))
    with (
        torch.no_grad(),
        capture_z(decoder, decoder.layers_with("heads"), add_z),
        capture_contributions(decoder, layers, lambda layer, part, rows: add((layer, part), rows)),
    ):
        for tokens in texts:
            decoder.root(input_ids=torch.tensor([tokens], device=decoder.device), use_cache=False)
    dtype = next(decoder.root.parameters()).dtype
    means = {place: (sums[place] / positions).to(decoder.device, dtype) for place in sorted(sums)}
    return {
        **{
            (layer, site): mean.view(decoder.n_heads, -1) if site == "z" else mean
            for (layer, site), mean in means.items()
        },
        **(linear_maps(decoder, texts, sorted(linear)) if linear else {}),
    }

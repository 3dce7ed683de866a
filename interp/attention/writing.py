"""Does a head write what it attends to? Its own output, read as logits while copying."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine import head_outputs, held_norm
from interp.models import Decoder


class QueryInputs:
    """Inputs of the output projections at some positions, kept while a prompt runs in pieces.

    Attributes:
        queries: the positions.
        at_queries: for each layer and query, z `[head * d_head]`.
    """

    def __init__(self, queries: Sequence[int]) -> None:
        self.queries = tuple(queries)
        self.at_queries: dict[int, dict[int, Tensor]] = {}
        self._seen: dict[int, int] = {}

    def keep(self, layer: int, z: Float[Tensor, "batch pos width"]) -> None:
        """Keep the z of the queries that lie in a piece; a function for `capture_z`.

        Args:
            layer: the layer that ran.
            z: the z of the piece.
        """
        start = self._seen.get(layer, 0)
        self._seen[layer] = start + z.shape[1]
        of_layer = self.at_queries.setdefault(layer, {})
        for number, query in enumerate(self.queries):
            if start <= query < self._seen[layer]:
                of_layer[number] = z[0, query - start].clone()


def writes(
    decoder: Decoder,
    final: Float[Tensor, "query d_model"],
    z: dict[int, dict[int, Tensor]],
    looks: Bool[Tensor, "query layer head"],
    answer: Int[Tensor, " query"],
) -> Float[Tensor, "query layer head"]:
    """Whether a head that attends to the copied token promotes it above all other tokens.

    Args:
        decoder: the modules of a model.
        final: the residual stream before the final norm.
        z: from `QueryInputs`.
        looks: the heads that attend to the copied token.
        answer: the token that is copied at each query.

    Returns:
        1 or 0; NaN everywhere where heads enter the stream through a norm.
    """
    written = torch.zeros(looks.shape)
    if any(
        end is not added
        for end, added in zip(decoder.attention_ends, decoder.attentions, strict=True)
    ):
        return torch.full(looks.shape, torch.nan)
    embedding = decoder.root.get_output_embeddings()
    for query, layer in looks.any(dim=-1).nonzero().tolist():
        heads = looks[query, layer].nonzero()[:, 0]
        outputs, _ = head_outputs(decoder, layer, z[layer][query][None])
        added = outputs[heads.to(outputs.device)].to(final.device)
        with torch.no_grad():
            normed = held_norm(decoder, added, final[query : query + 1])[:, 0]
            logits = normed @ embedding.weight.float().to(normed.device).T
        best = logits.max(dim=-1)
        right = (best.indices == answer[query].to(best.indices.device)) & (best.values > 0)
        written[query, layer, heads] = right.float().cpu()
    return written

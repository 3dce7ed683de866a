"""The residual stream at every depth: after the embedding, each attention and each layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Ablation, Edits, LayerEdit, Means, edited
from interp.engine import (
    Pass,
    padded,
    record,
    refuse_several_streams,
    run_block,
    segments,
    vectors_at,
)
from interp.errors import UserError, check_whole


@dataclass(frozen=True)
class Depth:
    """A place in the residual stream.

    Attributes:
        number: layers passed: 0 after the embedding, 3.5 after the attention of layer 3, 4
            after layer 3.
        layer: the layer that was passed last, or whose attention was; -1 for the embedding.
        after: `embedding`, `attention` or `layer`.
    """

    number: float
    layer: int
    after: str

    @property
    def label(self) -> str:
        """Its name in TransformerLens' `accumulated_resid`, except that the last has a number."""
        if self.after == "attention":
            return f"{self.layer}_mid"
        return f"{self.layer + 1}_pre"


def depths(n_layers: int, *, sublayers: bool = True) -> list[Depth]:
    """The depths of a model in order; with `sublayers`, also after each attention.

    Args:
        n_layers: number of layers.
        sublayers: whether to read the stream also after each attention (`resid_mid`).

    Returns:
        The embedding first, then one depth per layer (or two, with `sublayers`).
    """
    check_whole("n_layers", n_layers, 1, 100_000)
    depths_of = [Depth(0.0, -1, "embedding")]
    for layer in range(n_layers):
        if sublayers:
            depths_of.append(Depth(layer + 0.5, layer, "attention"))
        depths_of.append(Depth(layer + 1.0, layer, "layer"))
    return depths_of


def refuse_programs(ablation: Ablation, edits: Edits) -> None:
    """Refuse with UserError layer programs, which have other depths, scopes, and cuts."""
    if edits.is_scoped or edits.is_windowed or edits.position_classes:
        kind = "scope" if edits.is_scoped else "window" if edits.is_windowed else "cut"
        raise UserError(
            f"ablation {ablation}: a lens reads one pass over a prompt and its answer; leave the "
            f"{kind} out"
        )
    if edits.is_program:
        raise UserError(
            f"ablation {ablation}: a lens reads the depths of a model's own order; a layer program "
            "has others"
        )


def residual_stack(
    model: TransformerBridge,
    rows: Sequence[Sequence[int]],
    positions: Sequence[tuple[int, int]],
    *,
    edits: Edits | None = None,
    means: Means | None = None,
    sublayers: bool = True,
) -> Float[Tensor, "depth vectors d_model"]:
    """The residual stream of chosen positions at every depth, under an ablation.

    The stream after an attention is computed by running the block without its MLP. That is right
    for every architecture (norms after sublayers, parallel blocks); each block runs twice.

    Args:
        model: the model.
        rows: token ids. They are padded on the right, which causal attention never sees. Rows that
            the model would compute differently because of another row's length run separately.
        positions: (row, position) of each vector.
        edits: the ablation; None is the baseline.
        means: the means that `@mean` puts, where an edit needs them.
        sublayers: whether to read also after each attention.

    Returns:
        `[depth, vectors, d_model]`, vectors in the order of `positions`.

    Raises:
        UserError: `sublayers`, and the model's attentions and MLPs cannot be told apart.
    """
    if sublayers:
        models.decoder(model).check_told_apart("the stream after an attention")
    stacks, order = list[Tensor](), list[int]()
    for part in segments(model, [len(row) for row in rows]):
        number = {row: at for at, row in enumerate(part)}
        wanted = [n for n, (row, _) in enumerate(positions) if row in number]
        if not wanted:
            continue
        places = [(number[row], position) for row, position in (positions[n] for n in wanted)]
        stacks.append(
            _padded_together(
                model, [rows[n] for n in part], places, edits or Edits(), means, sublayers=sublayers
            )
        )
        order += wanted
    together = torch.cat(stacks, dim=1)
    return together[:, torch.tensor(order, device=together.device).argsort()]


def _padded_together(
    model: TransformerBridge,
    rows: Sequence[Sequence[int]],
    positions: Sequence[tuple[int, int]],
    edits: Edits,
    means: Means | None,
    *,
    sublayers: bool,
) -> Float[Tensor, "depth vectors d_model"]:
    """The same as `residual_stack`, for rows that may share a batch."""
    with edited(model, edits, means) as decoder:
        baseline = record(decoder, padded(decoder, rows), use_cache=False)
        refuse_several_streams(baseline.residuals, "lens")
        at = tuple(torch.tensor(x, device=decoder.device) for x in zip(*positions, strict=True))
        vectors = [vectors_at(baseline.residuals[0], at)]
        for layer in range(decoder.n_layers):
            if sublayers:
                vectors.append(vectors_at(without_mlp(model, baseline, layer), at))
            vectors.append(vectors_at(baseline.residuals[layer + 1], at))
    return torch.stack(vectors)


def without_mlp(
    model: TransformerBridge, baseline: Pass, layer: int
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream after a layer's attention (`resid_mid`), from a recorded pass."""
    with edited(model, Edits({layer: LayerEdit(skip_mlp=True)})) as decoder:
        return run_block(decoder, layer, baseline.residuals[layer], baseline)

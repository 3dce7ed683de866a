"""The input of a layer: a batch, its residual stream, and attention that is used again."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from jaxtyping import Float
from torch import Tensor

from interp.ablations import Edits, forward_replaced
from interp.engine.last_block import compute_at_positions
from interp.engine.prefix import Prefix, calls_after, read_only_cache
from interp.engine.replay import Pass, run_block
from interp.engine.scoring.masks import mask_arguments
from interp.engine.scoring.packing import Batch
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.engine.scoring.whole_model import WholeModel
from interp.models import Decoder


class CachedZ:
    """What one attention computed in the baseline: z, and how it hands out its result."""

    def __init__(self) -> None:
        self.z: Tensor | None = None
        self.others: int | None = None

    def kept(self, decoder: Decoder, layer: int) -> ExitStack:
        """Inside the context, the attention's z is kept."""

        def keep_z(_module: Any, args: tuple[Any, ...]) -> None:
            self.z = args[0]

        def keep_form(_module: Any, _args: Any, out: Any) -> None:
            self.others = len(out) - 1 if isinstance(out, tuple) else None

        stack = ExitStack()
        projection, attention = decoder.output_projections[layer], decoder.attentions[layer]
        stack.callback(projection.register_forward_pre_hook(keep_z).remove)
        stack.callback(attention.register_forward_hook(keep_form).remove)
        return stack

    def reused(self, decoder: Decoder, layer: int) -> AbstractContextManager[None]:
        """Inside the context, the attention projects the kept z (edits of it still apply)."""

        def forward(*_args: Any, **_kwargs: Any) -> Any:
            out = decoder.output_projections[layer](self.z)
            return out if self.others is None else (out, *[None] * self.others)

        return forward_replaced(decoder.attentions[layer], forward)


@dataclass(frozen=True, eq=False)
class LayerInput:
    """A batch before a layer.

    Attributes:
        batch: its rows.
        targets: where its logits are wanted.
        resid: `[batch, pos, d_model]` entering the layer.
        layer: which layer it enters; the number of layers where it has left the last.
        last_block: whether the last block is computed only where logits are wanted.
        attention: the attention of that layer, in the baseline; None where it is not used again.
        whole: what the whole model predicts where logits are wanted, to compare with.
    """

    batch: Batch
    targets: ScoredPositions
    resid: Float[Tensor, "batch pos d_model"]
    layer: int
    last_block: bool
    attention: CachedZ | None = None
    whole: WholeModel | None = None

    def through(
        self,
        decoder: Decoder,
        end: int,
        calls: Pass,
        caches: Sequence[transformers.DynamicCache] = (),
        *,
        reused: bool = False,
    ) -> "LayerInput":
        """The batch before layer `end`.

        Args:
            decoder: the modules of the model, as they are edited.
            end: the first layer that is not run.
            calls: what the model would call its blocks with.
            caches: the caches of the prefixes that the rows follow (`read_only_cache`); none
                without a prefix.
            reused: take the z of the first attention from the baseline.
        """
        resid, cache = self.resid, read_only_cache(caches) if caches else None
        for layer in range(self.layer, end):
            with ExitStack() as stack:
                if reused and layer == self.layer and self.attention is not None:
                    stack.enter_context(self.attention.reused(decoder, layer))
                if self.last_block and layer == decoder.n_layers - 1:
                    places = self.targets.rows, self.targets.columns
                    stack.enter_context(compute_at_positions(decoder, layer, *places))
                resid = run_block(decoder, layer, resid, calls, cache=cache)
        return replace(self, resid=resid, layer=max(end, self.layer), attention=None)

    def next(self, decoder: Decoder, prefix: Prefix | None) -> "LayerInput":
        """The batch before the next layer, in the baseline; keeps z to be used again."""
        calls = batch_calls(decoder, self.batch, prefix)
        caches = [prefix.cache] if prefix else []
        with self.attention.kept(decoder, self.layer) if self.attention else nullcontext():
            return self.through(decoder, self.layer + 1, calls, caches)

    def scores(self, decoder: Decoder) -> dict[int, Score]:
        """Request number to its score, after the last layer."""
        return self.targets.scores(decoder, self.resid, self.whole)

    def predicted(self, decoder: Decoder) -> WholeModel:
        """What the whole model predicts, after its last layer."""
        return self.targets.whole_model(decoder, self.resid)


def attention_unchanged(edits: Edits, layer: int) -> bool:
    """Whether the attention of the first edited layer computes what it does in the baseline."""
    if layer not in edits or not edits[layer].runs_block or edits.order:
        return False
    return all(part == "mlp" for part, _ in edits[layer].swaps)


def batch_arguments(decoder: Decoder, batch: Batch, prefix: int) -> dict[str, Any]:
    """Arguments of the model, beside tokens, after so many shared tokens."""
    if batch.sees is None or batch.depths is None:
        # causal attention never looks right, so padding there needs no mask
        return {}
    return mask_arguments(decoder, batch.sees, batch.depths, prefix)


def batch_calls(decoder: Decoder, batch: Batch, prefix: Prefix | None) -> Pass:
    """A batch's call arguments: made anew when wanted, for masks are large and quickly made.

    The first residual of the pass is the embedding of its rows.

    Returns:
        The arguments that each block is called with, and one residual: the embedding `[batch, pos,
        d_model]`.
    """
    ids = torch.from_numpy(batch.ids).to(decoder.device)
    return calls_after(decoder, ids, prefix, **batch_arguments(decoder, batch, len(prefix or ())))

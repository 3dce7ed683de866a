"""Requests under a user's own TransformerLens hooks: the bridge's blocks, from the first hooked.

Hooks see what they would see in `model.run_with_hooks`: rows of whole prompts, `[batch, pos, ...]`,
padded on the right. So nothing is packed and no prefix is shared; blocks below the first one that a
hook touches run once for all. A hook that asks for it is told what each position is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Activations, Edits, Means, Places, bridge_edited, layer_of_point
from interp.engine.memory import token_budget
from interp.engine.replay import record, replay, unembed
from interp.engine.scoring.packing import Batch, group_examples, padded_batches
from interp.engine.scoring.scopes import row_labels, told_apart
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.engine.scoring.whole_model import Predictions
from interp.engine.shortcuts import Shortcuts
from interp.models import bridge_decoder, evaluation_mode
from interp.tasks import OptionRequest


def hooked_scores(
    model: TransformerBridge,
    requests: Sequence[OptionRequest],
    edits: Sequence[Edits],
    means: Means | None,
    shortcuts: Shortcuts,
    *,
    divergence: bool = False,
) -> Iterator[tuple[Edits, dict[int, Score]]]:
    """Scores under each of the edits, batch by batch.

    Args:
        model: a bridge.
        requests: contexts and continuations.
        edits: ablations with hooks, and whatever else they change.
        means: what `@mean` puts (`mean_outputs`).
        shortcuts: whether to replay, and the token budget.
        divergence: compare with what the whole model predicts (scores are `Compared`).

    Yields:
        Ablation, and request number to score.
    """
    together = [list(range(len(requests)))]
    if any(edit.asks_positions for edit in edits):
        # a row that is shared must agree on what is prompt and what is answer
        together = told_apart(requests)
    for numbers in together:
        run = _Rows(model, edits, means, shortcuts, divergence)
        for edit, scores in run.scores([requests[n] for n in numbers]):
            yield edit, {numbers[at]: score for at, score in scores.items()}


@dataclass(frozen=True, eq=False)
class _Rows:
    """Requests that share rows, under each of some ablations (as for `hooked_scores`)."""

    model: TransformerBridge
    edits: Sequence[Edits]
    means: Means | None
    shortcuts: Shortcuts
    divergence: bool

    def scores(self, requests: Sequence[OptionRequest]) -> Iterator[tuple[Edits, dict[int, Score]]]:
        """Ablation, and request number to score, batch by batch."""
        tokens = self.shortcuts.token_budget or token_budget(models.decoder(self.model), 0)
        for group in group_examples(requests, prefixes=False, trees=False):
            for batch in padded_batches(group.trees, tokens):
                yield from self._batch(batch)

    def _batch(self, batch: Batch) -> Iterator[tuple[Edits, dict[int, Score]]]:
        decoder = bridge_decoder(self.model)
        ids = torch.from_numpy(batch.ids).to(decoder.device)
        targets = ScoredPositions.of(batch, decoder.device)
        replayed = self.shortcuts.replay and any(_inside_blocks(edit) for edit in self.edits)
        with evaluation_mode(self.model):
            baseline = record(decoder, ids, use_cache=False) if replayed else None
        whole, places = None, Places()
        places.at(row_labels(batch))
        if self.divergence:
            # hooks of the final norm would act on logits that are formed again
            whole = Predictions.of(_logits(self.model, ids, targets))
        for edit in self.edits:
            activations = Activations(self.means, places=places)
            with torch.no_grad(), bridge_edited(self.model, edit, activations):
                if baseline is not None and _inside_blocks(edit):
                    resid = replay(decoder, baseline, edit.first_layer(decoder.n_layers))
                    chunks = unembed(decoder, resid[targets.rows, targets.columns])
                else:
                    chunks = iter([_logits(self.model, ids, targets)])
                if whole is not None:
                    # in one part, as the whole model's
                    chunks = iter([torch.cat(list(chunks))])
                scores = targets.scores_of(chunks, None if whole is None else [whole])
            yield edit, scores


def _logits(
    model: TransformerBridge, ids: Int[Tensor, "batch pos"], targets: ScoredPositions
) -> Float[Tensor, "place d_vocab"]:
    with torch.no_grad():
        logits: Tensor = model(ids)[targets.rows, targets.columns]
    return logits


def _inside_blocks(edits: Edits) -> bool:
    """Whether every hook is in a block, so that what lies in front can be replayed."""
    points = [point for edit in edits.values() for point, _ in edit.hooks]
    return all(layer_of_point(point) is not None for point in points)

"""Ablations of one layer go through the layers after it together.

A small batch does not fill the machine: calling a block costs about as much for ten tokens as for
a hundred, and every weight is read for both. Ablations that edit the same layer and no other run
the same unedited blocks after it. So each computes its edited block alone, and their residual
streams are stacked on the batch axis for the rest, as many as fit: larger batches are not stacked
at all. Their prefixes are stacked likewise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits, Means, edited
from interp.engine.memory import most_caches
from interp.engine.prefix import Prefix, begin_cache, finish_caches
from interp.engine.scoring.batch_state import LayerInput, attention_unchanged, batch_calls
from interp.engine.scoring.packing import Batch
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.models import Decoder

T = TypeVar("T")
# a CPU gains nothing beyond: heads of a model of width 128 went through their blocks three times as
# fast on 30 tokens when stacked, and no faster on 470
MOST_ON_CPU = 512


def most_stacked(
    decoder: Decoder, batches: Sequence[LayerInput], prefix: Prefix | None, tokens: int
) -> int:
    """How many ablations of the layer before which batches stand are stacked; 1 is none.

    Args:
        decoder: the modules of the model.
        batches: at least one. The largest decides: a small one beside full ones is not worth it.
        prefix: what they follow; each ablation's keys and values of it must fit in memory.
        tokens: most of a batch.

    Returns:
        A number of ablations, at least 1.
    """
    if decoder.device.type != "cuda":
        tokens = min(tokens, MOST_ON_CPU)
    most = tokens // max(batch.batch.ids.size for batch in batches)
    if prefix is not None and most > 1:
        most = min(most, most_caches(decoder, len(prefix), decoder.n_layers - batches[0].layer))
    return max(1, most)


@dataclass(frozen=True, eq=False)
class Stack:
    """What every stack of a sweep has in common.

    Attributes:
        model: a bridge.
        prefix: what all batches follow, or None.
        means: what `@mean` puts (`mean_outputs`).
        last_block: leave out of the last block what is not read.
        most: ablations at a time.
    """

    model: TransformerBridge
    prefix: Prefix | None
    means: Means | None
    last_block: bool
    most: int

    def scores(
        self, batches: Sequence[LayerInput], ablations: Sequence[Edits]
    ) -> Iterator[tuple[Edits, dict[int, Score]]]:
        """Scores of all batches under ablations of the layer that they enter.

        Args:
            batches: before the same layer.
            ablations: the ablations of that layer only.

        Yields:
            Ablation, and request number to score.
        """
        decoder = models.decoder(self.model)
        for edits in even_chunks(ablations, self.most):
            caches = self._caches(decoder, batches[0].layer, edits)
            for batch in batches:
                yield from zip(edits, self._through(decoder, batch, edits, caches), strict=True)

    def _caches(
        self, decoder: Decoder, layer: int, edits: Sequence[Edits]
    ) -> list[transformers.DynamicCache]:
        """The prefix's keys and values under each ablation; nothing without a prefix."""
        if self.prefix is None:
            return []
        caches: list[transformers.DynamicCache] = []
        fit = MOST_ON_CPU // len(self.prefix) if decoder.device.type != "cuda" else self.most
        for chunk in even_chunks(edits, max(1, fit)):
            resids = []
            for edit in chunk:
                with edited(self.model, edit, self.means):
                    cache, resid = begin_cache(
                        decoder, self.prefix, layer, last_block=self.last_block
                    )
                caches.append(cache)
                resids.append(resid)
            begun, stacked = caches[-len(chunk) :], torch.cat(resids)
            finish_caches(decoder, self.prefix, begun, stacked, last_block=self.last_block)
        return caches

    def _through(
        self,
        decoder: Decoder,
        one: LayerInput,
        edits: Sequence[Edits],
        caches: Sequence[transformers.DynamicCache],
    ) -> list[dict[int, Score]]:
        """Scores of a batch under each ablation, from its edited layer to the last."""
        calls, layer = batch_calls(decoder, one.batch, self.prefix), one.layer
        resids = []
        for i, edit in enumerate(edits):
            with edited(self.model, edit, self.means):
                one_cache, reused = caches[i : i + 1], attention_unchanged(edit, layer)
                output = one.through(decoder, layer + 1, calls, one_cache, reused=reused)
            resids.append(output.resid)
        batch = stacked_batch(one.batch, len(edits))
        targets, resid = ScoredPositions.of(batch, decoder.device), torch.cat(resids)
        beside = one.whole.times(len(edits)) if one.whole else None
        every = LayerInput(batch, targets, resid, layer + 1, self.last_block, whole=beside)
        calls = batch_calls(decoder, batch, self.prefix)
        scores = every.through(decoder, decoder.n_layers, calls, caches).scores(decoder)
        return apart(scores, one.batch, len(edits))


def even_chunks(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Consecutive items in as few chunks of at most `most` as possible, of about equal size."""
    count = -(-len(items) // most)
    ends = [round(len(items) * i / count) for i in range(count + 1)]
    return [items[start:end] for start, end in pairwise(ends)]


def stacked_batch(batch: Batch, times: int) -> Batch:
    """So many copies of a batch under each other; those of the requests have numbers of their own.

    Args:
        batch: its rows.
        times: how many.

    Returns:
        A batch whose requests `apart` tells apart.
    """
    rows, numbers = len(batch.ids), _numbers(batch)
    return Batch(
        np.tile(batch.ids, (times, 1)),
        None if batch.depths is None else np.tile(batch.depths, (times, 1)),
        None if batch.sees is None else np.tile(batch.sees, (times, 1, 1)),
        tuple(
            (copy * numbers + number, copy * rows + row, columns, tokens)
            for copy in range(times)
            for number, row, columns, tokens in batch.scored
        ),
    )


def apart(scores: Mapping[int, Score], batch: Batch, times: int) -> list[dict[int, Score]]:
    """Scores of each of the copies of a batch, by the numbers of its own requests."""
    by_copy: list[dict[int, Score]] = [{} for _ in range(times)]
    for at, score in scores.items():
        copy, number = divmod(at, _numbers(batch))
        by_copy[copy][number] = score
    return by_copy


def _numbers(batch: Batch) -> int:
    return 1 + max((number for number, *_ in batch.scored), default=0)

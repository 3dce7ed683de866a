"""One example under many ablations, each from the first position and layer that it changes."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import transformers
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits, Example, LayerEdit, Means, Outputs, edited
from interp.engine.prefix import Prefix, calls_after, read_only_cache
from interp.engine.replay import Pass, record, replay, run_block
from interp.engine.scoring.packing import Batch
from interp.engine.scoring.stacking import apart, even_chunks, stacked_batch
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.engine.scoring.whole_model import WholeModel
from interp.engine.shortcuts import Shortcuts
from interp.models import Decoder

STACKED_TOKENS = 4096


@dataclass(frozen=True, eq=False)
class ExampleBatch:
    """Rows of one example, padded on the right, whose prompts have the same length.

    Attributes:
        model: a bridge.
        batch: the rows.
        example: where its classes of positions are, and what its twin has.
        shortcuts: those that are exact for the model at this length.
        means: what `@mean` puts.
        outputs: what `@resample` puts.
        divergence: compare with what the whole model predicts (scores are `Compared`).
    """

    model: TransformerBridge
    batch: Batch
    example: Example
    shortcuts: Shortcuts
    means: Means | None
    outputs: Outputs
    divergence: bool = False
    _tails: "dict[int, _Tail]" = field(default_factory=dict)

    def scores(self, edits: Sequence[Edits]) -> Iterator[tuple[Edits, dict[int, Score]]]:
        """Request number to its score, under each of the ablations."""
        together: dict[tuple[int, int], list[Edits]] = {}
        for one in edits:
            first, start = one.first_layer(self._decoder.n_layers), self._start(one)
            if start and self.shortcuts.stacked and one.only_in(first):
                together.setdefault((first, start), []).append(one)
            else:
                yield one, self._alone(one, first, start)
        for (first, start), some in together.items():
            most = max(1, STACKED_TOKENS // self._tail(start).batch.ids.size)
            for chunk in even_chunks(some, most):
                yield from zip(chunk, self._stacked(chunk, first, start), strict=True)

    @property
    def _decoder(self) -> Decoder:
        return models.decoder(self.model)

    @cached_property
    def _ids(self) -> Tensor:
        return torch.from_numpy(self.batch.ids).to(self._decoder.device)

    @cached_property
    def _whole(self) -> Pass:
        """The unablated pass, for what acts at every position."""
        return record(self._decoder, self._ids, use_cache=False)

    @cached_property
    def _kept(self) -> tuple[Pass, transformers.DynamicCache]:
        """The unablated pass, and its keys and values, every layer whole."""
        cache = transformers.DynamicCache()
        return record(self._decoder, self._ids, past_key_values=cache, use_cache=True), cache

    @cached_property
    def _beside(self) -> WholeModel | None:
        """What the whole model predicts where logits are wanted; None where nothing is compared."""
        if not self.divergence:
            return None
        targets = ScoredPositions.of(self.batch, self._decoder.device)
        baseline = self._kept[0] if "_kept" in vars(self) else self._whole
        return WholeModel.of(self._decoder, baseline.residuals[-1][targets.rows, targets.columns])

    def _start(self, edits: Edits) -> int:
        """The first position that an ablation changes; 0 where what lies before it is not kept."""
        if not self.shortcuts.prefixes or not edits:
            return 0
        return min(_first_position(edit, self.example) for edit in edits.values())

    def _tail(self, start: int) -> "_Tail":
        if start not in self._tails:
            baseline, cache = self._kept
            self._tails[start] = _Tail.of(self._decoder, self.batch, baseline, cache, start)
        return self._tails[start]

    def _alone(self, edits: Edits, first: int, start: int) -> dict[int, Score]:
        targets = ScoredPositions.of(self.batch, self._decoder.device)
        # before anything is edited
        tail = self._tail(start) if start else None
        whole = self._whole if self.shortcuts.replay and not start else None
        beside = self._beside
        with edited(self.model, edits, self.means, self.outputs, example=self.example) as decoder:
            if tail is not None:
                resid = tail.through(decoder, first, decoder.n_layers)
                return tail.targets.scores(decoder, resid, beside)
            if whole is not None:
                return targets.scores(decoder, replay(decoder, whole, first), beside)
            resid = record(decoder, self._ids, use_cache=False).residuals[-1]
            return targets.scores(decoder, resid, beside)

    def _stacked(self, edits: Sequence[Edits], first: int, start: int) -> list[dict[int, Score]]:
        """Each through its own layer alone, and through the layers after it with the others."""
        tail, decoder, behind = self._tail(start), self._decoder, []
        for one in edits:
            with edited(self.model, one, self.means, self.outputs, example=self.example):
                behind.append(tail.through(decoder, first, first + 1))
        stacked = tail.times(decoder, len(edits))
        resid = stacked.through(decoder, first + 1, decoder.n_layers, torch.cat(behind))
        beside = self._beside.times(len(edits)) if self._beside else None
        return apart(stacked.targets.scores(decoder, resid, beside), tail.batch, len(edits))


@dataclass(frozen=True, eq=False)
class _Tail:
    """The rows from one position on, and what lies before it as keys and values.

    Attributes:
        batch: the rows' tokens from that position on.
        targets: where their logits are wanted.
        prefix: what lies before, the same in every row.
        residuals: `[batch, pos, d_model]` entering each block in the unablated pass.
        calls: what the model would call its blocks with.
    """

    batch: Batch
    targets: ScoredPositions
    prefix: Prefix
    residuals: Sequence[Float[Tensor, "batch pos d_model"]]
    calls: Pass

    @staticmethod
    def of(
        decoder: Decoder,
        batch: Batch,
        baseline: Pass,
        cache: transformers.DynamicCache,
        start: int,
    ) -> "_Tail":
        """The rows of a batch from position `start` on."""
        before = transformers.DynamicCache()
        before.layers = [copy.copy(layer) for layer in cache.layers]
        for layer in before.layers:
            layer.keys, layer.values = layer.keys[:1, :, :start], layer.values[:1, :, :start]
        prefix = Prefix(tuple(batch.ids[0, :start].tolist()), baseline, before)
        scored = tuple(
            (number, row, tuple(column - start for column in columns), tokens)
            for number, row, columns, tokens in batch.scored
        )
        rest = replace(batch, ids=batch.ids[:, start:], scored=scored)
        return _Tail(
            rest,
            ScoredPositions.of(rest, decoder.device),
            prefix,
            [resid[:, start:] for resid in baseline.residuals],
            _calls(decoder, rest, prefix),
        )

    def through(
        self,
        decoder: Decoder,
        first: int,
        end: int,
        resid: Float[Tensor, "batch pos d_model"] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before layer `end`; it enters `first` as in the baseline."""
        cache = read_only_cache([self.prefix.cache])
        resid = self.residuals[first] if resid is None else resid
        for layer in range(first, end):
            resid = run_block(decoder, layer, resid, self.calls, cache=cache)
        return resid

    def times(self, decoder: Decoder, count: int) -> "_Tail":
        """So many copies of the rows under each other (`stacked_batch`)."""
        batch = stacked_batch(self.batch, count)
        targets = ScoredPositions.of(batch, decoder.device)
        calls = _calls(decoder, batch, self.prefix)
        return replace(self, batch=batch, targets=targets, residuals=(), calls=calls)


def _calls(decoder: Decoder, batch: Batch, prefix: Prefix) -> Pass:
    return calls_after(decoder, torch.from_numpy(batch.ids).to(decoder.device), prefix)


def _first_position(edit: LayerEdit, example: Example) -> int:
    """The first position at which an edit of one layer changes anything."""
    if replace(edit, cuts=frozenset(), patches=frozenset(), windows=frozenset()) != LayerEdit():
        return 0
    named = [*(asking for asking, _ in edit.cuts), *(one.positions for one in edit.patches)]
    # a window takes nothing from positions that see no more than it holds
    windows = [min(sinks + recent, example.prompt - 1) for _, sinks, recent in edit.windows]
    return min([*(example.earliest(names) for names in named), *windows])

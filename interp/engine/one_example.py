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
from interp.ablations import (
    Edits,
    Example,
    LayerEdit,
    Means,
    Outputs,
    edited,
    entering_patched,
    patches_what_enters,
)
from interp.engine.prefix import Prefix, calls_after, expand, read_only_cache
from interp.engine.replay import Pass, record, replay, run_block
from interp.engine.scoring.packing import Batch
from interp.engine.scoring.stacking import MOST_ON_CPU, apart, stacked_batch
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.engine.scoring.whole_model import WholeModel
from interp.engine.shortcuts import Shortcuts
from interp.models import Decoder

STACKED_TOKENS = 4096
# ablations of different layers wait for each other's layers, which costs nothing only as long as a
# block takes about as long for their tokens as for one
MIXED_ON_CPU, MIXED_TOKENS = 64, 512
# every row has its own copy of the keys and values before it
STACKED_KEYS = 16384


@dataclass(frozen=True)
class Cell:
    """An ablation of one layer that changes nothing before some position.

    Attributes:
        edits: what it changes.
        first: the layer.
        start: the first position.
    """

    edits: Edits
    first: int
    start: int


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
        shared: what many examples start with; no ablation changes anything there.
    """

    model: TransformerBridge
    batch: Batch
    example: Example
    shortcuts: Shortcuts
    means: Means | None
    outputs: Outputs
    divergence: bool = False
    shared: Prefix | None = None
    _tails: "dict[int, _Tail]" = field(default_factory=dict)

    def scores(self, edits: Sequence[Edits]) -> Iterator[tuple[Edits, dict[int, Score]]]:
        """Request number to its score, under each of the ablations."""
        together: list[Cell] = []
        for edit in edits:
            first, start = edit.first_layer(self._decoder.n_layers), self._start(edit)
            if start and self.shortcuts.stacked and edit.only_in(first):
                together.append(Cell(edit, first, start))
            else:
                yield edit, self._alone(edit, first, start)
        on_cpu = self._decoder.device.type != "cuda"
        most, mixed = (MOST_ON_CPU, MIXED_ON_CPU) if on_cpu else (STACKED_TOKENS, MIXED_TOKENS)
        for cells in stacks(together, self.batch.ids.shape, most=most, mixed=mixed):
            yield from zip((cell.edits for cell in cells), self._stacked(cells), strict=True)

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
        """The unablated pass after what is shared, and keys and values, every layer whole."""
        ids, cache = self._ids, transformers.DynamicCache()
        if self.shared is not None:
            ids, cache = ids[:, len(self.shared) :], expand(self.shared.cache, len(ids))
        return record(self._decoder, ids, past_key_values=cache, use_cache=True), cache

    @cached_property
    def _beside(self) -> WholeModel | None:
        """What the whole model predicts where logits are wanted; None where nothing is compared."""
        if not self.divergence:
            return None
        targets = ScoredPositions.of(self.batch, self._decoder.device)
        n_shared = len(self.shared or ())
        baseline = self._kept[0] if n_shared or "_kept" in vars(self) else self._whole
        shifted = replace(targets, columns=targets.columns - n_shared)
        return shifted.whole_model(self._decoder, baseline.residuals[-1])

    def _start(self, edits: Edits) -> int:
        """The first position that an ablation changes; 0 where what lies before it is not kept."""
        if not self.shortcuts.prefixes or not edits:
            return 0
        return first_position(edits, self.example)

    def _tail(self, start: int) -> "_Tail":
        if start not in self._tails:
            (baseline, cache), n_shared = self._kept, len(self.shared or ())
            self._tails[start] = _Tail.of(
                self._decoder, self.batch, baseline, cache, start, n_shared
            )
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

    def _stacked(self, cells: Sequence[Cell]) -> list[dict[int, Score]]:
        """Each through its own layer alone, and through the layers after it with the others.

        What only replaces the stream that enters a layer goes through that layer with the others,
        too. Rows whose layer is yet to come run along and are replaced there.
        """
        tail, decoder = self._tail(min(cell.start for cell in cells)), self._decoder
        stacked, rows, running = tail.times(decoder, len(cells)), len(tail.batch.ids), False
        first = min(cell.first for cell in cells)
        resid = tail.residuals[first].repeat(len(cells), 1, 1)
        for layer in range(first, decoder.n_layers):
            states = {}
            for place, cell in enumerate(cells):
                at = slice(place * rows, (place + 1) * rows)
                if cell.first != layer:
                    continue
                if patches_what_enters(cell.edits[layer]):
                    resid[at], running = self._entering(tail, cell), True
                else:
                    with edited(
                        self.model, cell.edits, self.means, self.outputs, example=self.example
                    ):
                        states[place] = at, tail.through(decoder, layer, layer + 1)
            if running:
                resid = stacked.through(decoder, layer, layer + 1, resid)
            else:
                resid = tail.residuals[layer + 1].repeat(len(cells), 1, 1)
            for at, resid_after in states.values():
                resid[at] = resid_after
            running = running or bool(states)
        beside = self._beside.times(len(cells)) if self._beside else None
        return apart(stacked.targets.scores(decoder, resid, beside), tail.batch, len(cells))

    def _entering(self, tail: "_Tail", cell: Cell) -> Float[Tensor, "batch pos d_model"]:
        return entering_patched(
            self.example, cell.edits, cell.first, tail.residuals[cell.first], len(tail.prefix)
        )


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
        offset: int,
    ) -> "_Tail":
        """The rows of a batch from position `start` on; `baseline` is from `offset` on."""
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
            [resid[:, start - offset :] for resid in baseline.residuals],
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


def stacks(
    cells: Sequence[Cell], shape: tuple[int, ...], *, most: int, mixed: int
) -> list[list[Cell]]:
    """Which ablations go through the layers together.

    Args:
        cells: ablations.
        shape: rows and positions of the batch.
        most: tokens that those of one layer may have together, counted from the first position that
            one of them changes.
        mixed: the same of those of several layers.

    Returns:
        Every ablation once; those of a stack are in the order of their layers.
    """
    stacked: list[list[Cell]] = []
    rows, length = shape
    for cell in sorted(cells, key=lambda one: (one.first, -one.start)):
        last = stacked[-1] if stacked else []
        together = [*last, cell]
        tokens = len(together) * rows * (length - min(cell.start for cell in together))
        limit = most if together[0].first == cell.first else mixed
        if last and tokens <= limit and len(together) * rows * length <= STACKED_KEYS:
            last.append(cell)
        else:
            stacked.append([cell])
    return stacked


def first_position(edits: Edits, example: Example) -> int:
    """The first position at which an ablation changes anything; 0 also where nothing says it.

    Args:
        edits: what it changes.
        example: where its classes of positions are.

    Returns:
        A position of the row.
    """
    return min((_first_position(edit, example) for edit in edits.values()), default=0)


def _first_position(edit: LayerEdit, example: Example) -> int:
    """The first position at which an edit of one layer changes anything."""
    if replace(edit, cuts=frozenset(), patches=frozenset(), windows=frozenset()) != LayerEdit():
        return 0
    named = [*(asking for asking, _ in edit.cuts), *(patch.positions for patch in edit.patches)]
    # a window takes nothing from positions that see no more than it holds
    windows = [min(sinks + recent, example.prompt - 1) for _, sinks, recent in edit.windows]
    return min([*(example.earliest(names) for names in named), *windows])

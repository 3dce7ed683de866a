"""The baseline's answers as drafts: one replay tells how far an ablated model agrees.

The baseline's prompts and answers are run once, in pieces of growing length, each when an ablated
model first gets so far. It replays a piece from its first edited layer on, and of the rows that
still agree at its end the next piece. Every token that it would have written itself is then known
without having been decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Means, edited
from interp.engine.generation.pool import Group
from interp.engine.generation.ragged import RaggedCache, attending
from interp.engine.generation.sampling import Picking
from interp.engine.replay import Pass, record, replay, unembed
from interp.models import Decoder, decoder

FIRST_PIECE = 8


@dataclass(frozen=True, eq=False)
class Piece:
    """Columns `start` to `end` of the baseline's pass over a batch."""

    start: int
    end: int
    run: Pass


@dataclass(frozen=True, eq=False)
class Recorded:
    """The baseline's pass over prompts and drafts.

    Attributes:
        decoder: the modules of the model.
        questions: each prompt's tokens after the shared prefix.
        drafts: the baseline's answers; empty where there is none yet.
        ids: `[row, column]` both together, padded.
        cache: the pass' keys and values.
        pieces: the pieces of the pass, as far as it has been run.
    """

    decoder: Decoder
    questions: tuple[tuple[int, ...], ...]
    drafts: tuple[tuple[int, ...], ...]
    ids: Tensor
    cache: RaggedCache
    pieces: list[Piece] = field(default_factory=list)

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First and last column (excluded) of every piece."""
        return tuple(_bounds(max(len(q) for q in self.questions), self.ids.shape[1]))

    def piece(self, number: int) -> Piece:
        """A piece; it is run when it is first asked for, and nothing may be edited then."""
        while len(self.pieces) <= number:
            self.pieces.append(self._piece(*self.bounds[len(self.pieces)]))
        return self.pieces[number]

    def _piece(self, start: int, end: int) -> Piece:
        columns = torch.arange(start, end, device=self.decoder.device)[None]
        self.cache.place(columns)
        with attending(self.decoder, self.cache):
            run = record(
                self.decoder,
                self.ids[:, start:end],
                position_ids=columns + self.cache.offset,
                past_key_values=self.cache,
                use_cache=True,
            )
        return Piece(start, end, run)


@dataclass(frozen=True, eq=False)
class Verdict:
    """How far rows of a batch got in one piece.

    Attributes:
        cache: keys and values of the rows, from the first edited layer on.
        rows: for each row of the cache its number in the batch.
        first: the first edited layer; below it the baseline's cache holds.
        picked: for each row of the cache the tokens that the model picks, and whether surely,
            from the first that this piece predicts on.
    """

    cache: RaggedCache
    rows: list[int]
    first: int
    picked: list[list[tuple[int, bool]]]

    def sources(
        self, baseline: RaggedCache, chosen: Sequence[int]
    ) -> list[tuple[RaggedCache, list[int]]]:
        """Layer by layer, the cache and its rows that hold the chosen rows of this verdict."""
        before = [self.rows[i] for i in chosen]
        return [
            (baseline, before) if layer < self.first else (self.cache, list(chosen))
            for layer in range(len(self.cache.keys))
        ]


def record_drafts(
    decoder: Decoder,
    questions: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[int]],
    baseline: Group,
    offset: int,
) -> Recorded:
    """Run the baseline over the prompts and the first few tokens of the drafts.

    Args:
        decoder: the modules of the model.
        questions: each prompt's tokens after the shared prefix, one or more.
        drafts: the baseline's answers.
        baseline: the group without edits, which holds the prefix.
        offset: tokens of the prefix.

    Returns:
        The pass so far. It is lengthened as more of the drafts are verified.
    """
    # the last token of a draft predicts nothing that is asked for
    texts = [[*q, *d[:-1]] for q, d in zip(questions, drafts, strict=True)]
    width = max(len(text) for text in texts)
    ids = torch.tensor([[*t, *[0] * (width - len(t))] for t in texts], device=decoder.device)
    cache = RaggedCache(decoder.n_layers, len(texts), width, offset=offset)
    cache.share(baseline.prefix)
    recorded = Recorded(
        decoder, tuple(map(tuple, questions)), tuple(map(tuple, drafts)), ids, cache
    )
    recorded.piece(0)
    return recorded


class Verification:
    """One ablated model replays the pieces; each tells how far its rows agree with the drafts.

    Args:
        model: the bridge.
        recorded: the baseline's pass.
        group: the ablation.
        pick: a function from logits to tokens.
        means: what `@mean` puts (`mean_outputs`).
        numbers: the numbers of the request of each row.
    """

    def __init__(
        self,
        model: TransformerBridge,
        recorded: Recorded,
        group: Group,
        pick: Picking,
        *,
        means: Means | None,
        numbers: Sequence[int],
    ) -> None:
        self.model, self.recorded, self.group, self.pick = model, recorded, group, pick
        self.means, self.numbers = means, numbers
        self.decoder = decoder(model)
        self.first = group.edits.first_layer(self.decoder.n_layers)
        self.rows = list(range(len(recorded.questions)))
        self.cache = RaggedCache(
            self.decoder.n_layers,
            len(self.rows),
            recorded.cache.width,
            offset=recorded.cache.offset,
        )
        self.cache.share(group.prefix)
        self.next_piece = 0

    def advance(self, keep: Sequence[int] | None = None) -> Verdict | None:
        """The verdict on the next piece; None where no piece or no row is left.

        Args:
            keep: rows of the last verdict's cache that go on; all by default.
        """
        keep = range(len(self.rows)) if keep is None else keep
        if not keep or self.next_piece == len(self.recorded.bounds):
            return None
        if len(keep) < len(self.rows):
            self.rows = [self.rows[i] for i in keep]
            # a new one: rows that leave are still copied from the last verdict's
            self.cache = _selected(self.cache, keep)
        piece = self.recorded.piece(self.next_piece)
        self.next_piece += 1
        columns = torch.arange(piece.start, piece.end, device=self.decoder.device)
        self.cache.place(columns[None])
        run = _rows_of(piece.run, self.first, self.rows)
        with (
            edited(self.model, self.group.edits, self.means),
            attending(self.decoder, self.cache),
        ):
            resid = replay(self.decoder, run, self.first, cache=self.cache)
            picked = self._picked(piece, resid)
        return Verdict(self.cache, self.rows, self.first, picked)

    def _picked(self, piece: Piece, resid: Tensor) -> list[list[tuple[int, bool]]]:
        """For each row the tokens that the model picks after this piece's columns."""
        spans = [self._predicting(piece, row) for row in self.rows]
        at = [(i, c) for i, (start, end) in enumerate(spans) for c in range(start, end)]
        if not at:
            return [[] for _ in self.rows]
        index, columns = (torch.tensor(x, device=resid.device) for x in zip(*at, strict=True))
        questions = [len(self.recorded.questions[row]) for row in self.rows]
        positions = [(self.numbers[self.rows[i]], c - questions[i] + 1) for i, c in at]
        picks: list[tuple[int, bool]] = []
        for logits in unembed(self.decoder, resid[index, columns - piece.start]):
            picks += self.pick(logits, positions[len(picks) : len(picks) + len(logits)])
        tokens = iter(picks)
        return [list(islice(tokens, max(0, end - start))) for start, end in spans]

    def _predicting(self, piece: Piece, row: int) -> tuple[int, int]:
        """Columns of a piece that predict a token of the row's answer: first, and last excluded.

        The last token of the prompt predicts the first of the answer; the last token of a draft
        predicts nothing that is asked for.
        """
        question = len(self.recorded.questions[row])
        text = question + max(0, len(self.recorded.drafts[row]) - 1)
        return max(piece.start, question - 1), max(piece.start, min(piece.end, text))


def _bounds(questions: int, width: int) -> list[tuple[int, int]]:
    """Pieces: the prompts with the first few tokens of the drafts, then ever more tokens."""
    bounds, start, size = [], 0, FIRST_PIECE
    end = min(width, questions + size)
    while True:
        if width - end < size:
            end = width
        bounds.append((start, end))
        if end == width:
            return bounds
        size *= 2
        start, end = end, end + size


def _rows_of(run: Pass, first: int, rows: list[int]) -> Pass:
    """A pass over some of its rows, as far as a replay from layer `first` needs it."""
    batch = run.residuals[first].shape[0]
    if len(rows) == batch:
        return run
    index = torch.tensor(rows, device=run.residuals[first].device)

    def select(value: Any) -> Any:
        whole = isinstance(value, Tensor) and value.ndim >= 3 and value.shape[0] == batch
        return value[index.to(value.device)] if whole and batch > 1 else value

    residuals = [r[index] if layer == first else r for layer, r in enumerate(run.residuals)]
    calls = [tree_map(select, call) if i >= first else call for i, call in enumerate(run.calls)]
    return Pass(residuals, calls)


def _selected(cache: RaggedCache, rows: Sequence[int]) -> RaggedCache:
    cache_of_rows = RaggedCache(len(cache.keys), len(rows), cache.width, offset=cache.offset)
    index = torch.tensor(rows)
    cache_of_rows.keys = [None if k is None else k[index.to(k.device)] for k in cache.keys]
    cache_of_rows.values = [None if v is None else v[index.to(v.device)] for v in cache.values]
    cache_of_rows.shared = cache.shared
    return cache_of_rows

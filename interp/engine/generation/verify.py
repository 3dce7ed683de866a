"""The baseline's answers as drafts: one replay tells how far an ablated model agrees.

The baseline's prompts and answers are run once, in pieces of growing length, each when an ablated
model first gets so far. It replays a piece from its first edited layer on, and of the rows that
still agree at its end the next piece. Every token that it would have written itself is then known
without having been decoded.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
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
        parts: the modules of the model.
        questions: each prompt's tokens behind the shared prefix.
        drafts: the baseline's answers; empty where there is none yet.
        ids: `[row, column]` both together, padded.
        cache: the pass' keys and values.
        pieces: of the pass, as far as it has been run.
    """

    parts: Decoder
    questions: tuple[tuple[int, ...], ...]
    drafts: tuple[tuple[int, ...], ...]
    ids: Tensor
    cache: RaggedCache
    pieces: list[Piece] = field(default_factory=list)

    def each_piece(self) -> Iterator[Piece]:
        """The pieces in turn; one that has not been run yet is run now, and nothing is edited."""
        bounds = _bounds(max(len(q) for q in self.questions), self.ids.shape[1])
        for number, (start, end) in enumerate(bounds):
            if number == len(self.pieces):
                self.pieces.append(self._piece(start, end))
            yield self.pieces[number]

    def _piece(self, start: int, end: int) -> Piece:
        columns = torch.arange(start, end, device=self.parts.device)[None]
        self.cache.place(columns)
        with attending(self.parts, self.cache):
            run = record(
                self.parts,
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
    parts: Decoder,
    questions: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[int]],
    baseline: Group,
    offset: int,
) -> Recorded:
    """Run the baseline over the prompts and the first few tokens of the drafts.

    Args:
        parts: the modules of the model.
        questions: each prompt's tokens behind the shared prefix, one or more.
        drafts: the baseline's answers.
        baseline: the group without edits, which holds the prefix.
        offset: tokens of the prefix.
    """
    # the last token of a draft predicts nothing that is asked for
    texts = [[*q, *d[:-1]] for q, d in zip(questions, drafts, strict=True)]
    width = max(len(text) for text in texts)
    ids = torch.tensor([[*t, *[0] * (width - len(t))] for t in texts], device=parts.device)
    cache = RaggedCache(parts.n_layers, len(texts), width, offset=offset)
    cache.share(baseline.prefix)
    recorded = Recorded(parts, tuple(map(tuple, questions)), tuple(map(tuple, drafts)), ids, cache)
    next(recorded.each_piece())
    return recorded


def verify(
    model: TransformerBridge,
    recorded: Recorded,
    group: Group,
    pick: Picking,
    *,
    means: Means | None,
    numbers: Sequence[int],
) -> Generator[Verdict, list[int], None]:
    """Replay the pieces under an ablation; each verdict may drop rows from those that follow.

    The caller sends back the numbers, in the verdict's cache, of the rows that go on.

    Args:
        model: the bridge.
        recorded: the baseline's pass.
        group: the ablation.
        pick: from logits to tokens.
        means: what `@mean` puts (`mean_outputs`).
        numbers: of the request of each row.
    """
    parts = decoder(model)
    first = min(group.edits, default=parts.n_layers)
    rows = list(range(len(recorded.questions)))
    cache = RaggedCache(
        parts.n_layers, len(rows), recorded.cache.width, offset=recorded.cache.offset
    )
    cache.share(group.prefix)
    for piece in recorded.each_piece():
        cache.place(torch.arange(piece.start, piece.end, device=parts.device)[None])
        run = _rows_of(piece.run, first, rows)
        with edited(model, group.edits, means), attending(parts, cache):
            resid = replay(parts, run, first, cache=cache)
            picked = _picked(parts, recorded, piece, (rows, resid), pick, numbers)
        going = yield Verdict(cache, rows, first, picked)
        if not going:
            return
        if len(going) < len(rows):
            cache = _selected(cache, going)
            rows = [rows[i] for i in going]


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


def _selected(cache: RaggedCache, rows: list[int]) -> RaggedCache:
    kept = RaggedCache(len(cache.keys), len(rows), cache.width, offset=cache.offset)
    index = torch.tensor(rows)
    kept.keys = [None if k is None else k[index.to(k.device)] for k in cache.keys]
    kept.values = [None if v is None else v[index.to(v.device)] for v in cache.values]
    kept.shared = cache.shared
    return kept


def _picked(
    parts: Decoder,
    recorded: Recorded,
    piece: Piece,
    state: tuple[list[int], Tensor],
    pick: Picking,
    numbers: Sequence[int],
) -> list[list[tuple[int, bool]]]:
    rows, resid = state
    spans = []
    for row in rows:
        question = len(recorded.questions[row])
        text = question + max(0, len(recorded.drafts[row]) - 1)
        spans.append((max(piece.start, question - 1), max(piece.start, min(piece.end, text))))
    at = [(i, c) for i, (start, end) in enumerate(spans) for c in range(start, end)]
    if not at:
        return [[] for _ in rows]
    index, columns = (torch.tensor(x, device=resid.device) for x in zip(*at, strict=True))
    places = [(numbers[rows[i]], column - len(recorded.questions[rows[i]]) + 1) for i, column in at]
    found: list[tuple[int, bool]] = []
    for logits in unembed(parts, resid[index, columns - piece.start]):
        found += pick(logits, places[len(found) : len(found) + len(logits)])
    picked, used = [], 0
    for start, end in spans:
        count = max(0, end - start)
        picked.append(found[used : used + count])
        used += count
    return picked

"""Rows that are decoded together: finished ones leave, waiting ones take their place.

A row is one example under one ablation. All rows run in one pass, each with its own edits, its own
prefix and its own length; where few rows are left to fill the machine, each also proposes tokens
from text already seen, and keeps those that the model would have written itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Means, edited
from interp.engine.capabilities import capabilities
from interp.engine.generation.drafting import LONGEST, SeenText, draft_length
from interp.engine.generation.plain import PlainRow
from interp.engine.generation.ragged import Prefixes, RaggedCache, SharedKeys, attending
from interp.engine.generation.row_edits import LayerRows, plan_rows, rows_edited
from interp.engine.generation.sampling import Picking
from interp.engine.generation.stopping import FAILED, Answer, Stopping
from interp.models import Decoder, decoder

MOST_DRAFTED = 16


@dataclass
class Counts:
    """What decoding one ablation took.

    Attributes:
        baseline_tokens: tokens of the baseline's answers, which were the draft.
        baseline_accepted: the accepted tokens of these up to the first difference.
        drafted: tokens drafted later, from text already seen.
        accepted: how many of these were right.
        written: tokens of the answers.
        near_ties: tokens whose two largest logits were too close to trust, settled by plain
            decoding.
    """

    baseline_tokens: int = 0
    baseline_accepted: int = 0
    drafted: int = 0
    accepted: int = 0
    written: int = 0
    near_ties: int = 0


@dataclass(frozen=True, eq=False)
class Group:
    """One ablation: its edits, and the keys and values of the shared prefix under it.

    Attributes:
        number: the number of the ablation; None for a baseline that is run for its drafts alone.
        edits: what changes.
        prefix: for each layer keys and values `[kv_head, pos, d_head]`; empty without a prefix.
        counts: filled as its rows are decoded.
        answers: number of a request to its answer; filled as its rows are finished.
    """

    number: int | None
    edits: Edits
    prefix: tuple[SharedKeys, ...]
    counts: Counts
    answers: dict[int, Answer]


@dataclass(eq=False)
class Row:
    """One answer being written.

    Attributes:
        group: its ablation.
        example: number of the request.
        prompt: all its tokens.
        own: tokens of the prompt after the shared prefix.
        stop: where the answer ends.
        written: the answer so far; its last token has not been fed to the model yet.
        seen: texts to draft from, None for no drafts.
        plain: the row decoded plainly, once a near tie asked for that.
    """

    group: Group
    example: int
    prompt: tuple[int, ...]
    own: int
    stop: Stopping
    written: list[int]
    seen: SeenText | None = None
    plain: PlainRow | None = None

    @property
    def length(self) -> int:
        """Columns of the row's cache that hold its tokens."""
        return self.own + len(self.written) - 1

    def draft(self, most: int) -> list[int]:
        """What may follow, as far as the answer may still go."""
        most = min(most, self.stop.max_gen_toks - len(self.written) - 1)
        if self.seen is None or most < 1:
            return []
        missing = max(0, LONGEST - len(self.written))
        tail = [*(self.prompt[-missing:] if missing else ()), *self.written[-LONGEST:]]
        return self.seen.draft(tail, most)


@dataclass(eq=False)
class Pool:
    """The rows in the batch, and their caches.

    Attributes:
        model: the bridge.
        cache: the cache of all rows; row i belongs to `rows[i]`.
        capacity: the most rows.
        pick: a function from logits to tokens.
        means: what `@mean` puts (`mean_outputs`).
        latency_knee: tokens up to which a pass costs no more than one over fewer.
        donors: swaps that hold for all rows.
        rows: those being decoded.
    """

    model: TransformerBridge
    cache: RaggedCache
    capacity: int
    pick: Picking
    means: Means | None
    latency_knee: int
    donors: Edits = field(default_factory=Edits)
    rows: list[Row] = field(default_factory=list)
    changed: bool = True
    right: float = 0.5
    plan: dict[int, LayerRows] = field(default_factory=dict)

    @property
    def decoder(self) -> Decoder:
        """The modules of the model."""
        return decoder(self.model)

    @property
    def free(self) -> int:
        """Rows that may still enter."""
        return self.capacity - len(self.rows)

    def enter(self, rows: Sequence[Row], sources: Sequence[tuple[RaggedCache, list[int]]]) -> None:
        """Add rows; layer by layer, which cache holds their keys and values, and in which rows."""
        first, last = len(self.rows), len(self.rows) + len(rows)
        width = max(row.length for row in rows)
        for layer, (source, numbers) in enumerate(sources):
            for tensor, entering in (
                (self.cache.keys[layer], source.keys[layer]),
                (self.cache.values[layer], source.values[layer]),
            ):
                if tensor is None or entering is None or tensor.shape[1::2] != entering.shape[1::2]:
                    continue  # a layer that these rows skip
                index = torch.tensor(numbers, device=entering.device)
                tensor[first:last, :, :width] = entering[index, :, :width]
        self.rows.extend(rows)
        self.changed = True

    def step(self) -> list[Row]:
        """Write at least one token of every row; returns the rows that are finished."""
        if self.changed:
            self._arrange()
        most = 0
        if any(row.seen for row in self.rows):
            most = min(MOST_DRAFTED, draft_length(len(self.rows), self.right, self.latency_knee))
        drafts = [row.draft(most) for row in self.rows]
        longest = max(len(draft) for draft in drafts)
        logits = self._forward(drafts, longest)
        positions = [
            (row.example, len(row.written) + j) for row in self.rows for j in range(1 + longest)
        ]
        picked = self.pick(logits.flatten(0, 1), positions)
        finished = [
            i
            for i, (row, draft) in enumerate(zip(self.rows, drafts, strict=True))
            if self._write(row, draft, picked[i * (1 + longest) :])
        ]
        return self._leave(finished)

    def settle(self, row: Row, picked: tuple[int, bool]) -> int:
        """A picked token, or what plain decoding writes where that is not sure.

        Plain decoding also says whether logits are truly not finite (`FAILED`).
        """
        token, sure = picked
        if sure:
            return token
        row.group.counts.near_ties += token != FAILED
        if row.plain is None:
            length = len(row.prompt) + row.stop.max_gen_toks
            caching = capabilities(self.model).caching(length)
            put = partial(edited, means=self.means)
            row.plain = PlainRow(self.model, row.prompt, row.group.edits, caching, put)
        position = (row.example, len(row.written))
        return self.pick.settled(row.plain.next_logits(row.written), position)

    def _forward(self, drafts: list[list[int]], longest: int) -> torch.Tensor:
        decoder = self.decoder
        ids = [
            [row.written[-1], *draft, *[0] * (longest - len(draft))]
            for row, draft in zip(self.rows, drafts, strict=True)
        ]
        starts = torch.tensor([row.length for row in self.rows], device=decoder.device)
        columns = starts[:, None] + torch.arange(1 + longest, device=decoder.device)
        self.cache.place(columns)
        # positions of drafts that are shorter than the longest are filled with anything
        positions = (columns + self.cache.offset).clamp(max=decoder.max_length - 1)
        with (
            torch.no_grad(),
            edited(self.model, self.donors),
            attending(decoder, self.cache),
            rows_edited(decoder, self.plan, self.means),
        ):
            logits: torch.Tensor = decoder.root(
                input_ids=torch.tensor(ids, device=decoder.device),
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
            ).logits
        return logits

    def _write(self, row: Row, draft: list[int], picked: Sequence[tuple[int, bool]]) -> bool:
        counts = row.group.counts
        counts.drafted += len(draft)
        for place in range(1 + len(draft)):
            token = self.settle(row, picked[place])
            row.written.append(token)
            right = place < len(draft) and draft[place] == token
            if place < len(draft):
                # how often drafts are right, the last hundred or so counting most
                self.right += (float(right) - self.right) / 100
            counts.accepted += right
            if row.stop.done(row.written):
                return True
            if not right:
                break
        return False

    def _leave(self, finished: list[int]) -> list[Row]:
        gone = [self.rows[i] for i in finished]
        for i in reversed(finished):
            last = len(self.rows) - 1
            if i != last:
                for tensor in (*self.cache.keys, *self.cache.values):
                    if tensor is not None:
                        tensor[i] = tensor[last]
                self.rows[i] = self.rows[last]
            self.rows.pop()
            if any(row.written[-1] == FAILED for row in gone):
                # a weight of zero times NaN would spoil the row that enters here
                for tensor in (*self.cache.keys, *self.cache.values):
                    if tensor is not None:
                        tensor[last] = 0
        self.changed = self.changed or bool(gone)
        return gone

    def _arrange(self) -> None:
        """Sort the rows' edits by layer, and the rows by the prefix that they attend to."""
        self.plan = plan_rows([row.group.edits for row in self.rows], self.decoder)
        members: dict[Group, list[int]] = {}
        for i, row in enumerate(self.rows):
            if row.group.prefix:
                members.setdefault(row.group, []).append(i)
        for layer in range(self.decoder.n_layers if members else 0):
            by_prefix: dict[int, tuple[SharedKeys, list[int]]] = {}
            for group, rows in members.items():
                one = group.prefix[layer]
                by_prefix.setdefault(one.keys.data_ptr(), (one, []))[1].extend(rows)
            self.cache.shared[layer] = Prefixes.by_rows(list(by_prefix.values()))
        self.changed = False

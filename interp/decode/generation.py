"""Answers of a model under many ablations: the baseline writes, the ablated models verify.

What all prompts share is run once under each ablation. The baseline's answers are drafts: each
ablated model verifies them in a few parallel passes, replayed from its first edited layer, and
decodes from the first token that differs, in a batch with the rows of other ablations.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.editing import edited
from interp.ablations.means import HeadMeans
from interp.ablations.values import Edits, LayerEdit
from interp.decode.drafting import SeenText
from interp.decode.picking import Greedy, Sampled
from interp.decode.plain import plain_batches
from interp.decode.pool import MOST_DRAFTED, Counts, Group, Pool, Row
from interp.decode.probing import rounding
from interp.decode.ragged import RaggedCache, SharedKeys
from interp.decode.rows import mixable
from interp.decode.stopping import Answer, Stopping, end_tokens
from interp.decode.verifying import Recorded, Verdict, record_drafts, verify
from interp.models import Decoder, decoder
from interp.prefix import Prefix, prefix_cache, record_prefix
from interp.requests import GenerationRequest

# columns of one baseline pass that is kept for replay, and rows decoded together
PASS_COLUMNS = 16_384
# logits closer than this many times the model's own rounding are near ties
TIE = 32


@dataclass(frozen=True)
class Settings:
    """How to decode; no setting changes a greedy answer.

    Attributes:
        rows: the most rows that are decoded together.
        knee: tokens up to which a pass costs no more than one over fewer tokens.
        drafts: use the baseline's answers, and later texts already seen, as drafts.
        mix: let different ablations share a batch.
        plain: decode every ablation alone, without drafts, with the model's own attention.
        cache_bytes: the most memory of the rows' keys and values.
    """

    rows: int = 64
    knee: int = 16
    drafts: bool = True
    mix: bool = True
    plain: bool = False
    cache_bytes: int = 2 << 30

    @classmethod
    def for_device(cls, device: torch.device) -> "Settings":
        """What suits a CPU of few cores, or a GPU."""
        if device.type != "cuda":
            return cls()
        free = torch.cuda.mem_get_info(device)[0]
        return cls(rows=256, knee=128, cache_bytes=free // 3)


@dataclass(frozen=True)
class Generated:
    """The answers of each ablated model, and what they took.

    Attributes:
        answers: for each ablation one answer a request.
        counts: for each ablation.
        path: `ragged`, or `plain` where the architecture's attention cannot be replaced.
        tolerance: two logits closer than this are a near tie.
    """

    answers: list[list[Answer]]
    counts: list[Counts]
    path: str
    tolerance: float

    def __iter__(self) -> Iterator[list[Answer]]:
        return iter(self.answers)


def generate(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    *,
    means: HeadMeans | None = None,
    settings: Settings | None = None,
    sampled: Sampled | None = None,
    done: Callable[[int], Any] = lambda answers: None,
) -> Generated:
    """The answer of each ablated model (no edits: the baseline) to each request.

    In float32 the texts are those of plain greedy decoding, one request at a time. Where a token's
    two largest logits are closer than the model's rounding allows to tell apart, that row is
    decoded plainly up to there. In narrower types every second token would be such a near tie;
    there the order that is found counts.

    Args:
        model: a bridge.
        requests: prompts; what they have in common in front is run once an ablation.
        ablations: what changes in each run.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        settings: how to decode.
        sampled: draw the tokens instead, without drafts; a request given twice is drawn twice.
        done: told how many answers are finished, as they are.
    """
    parts = decoder(model)
    settings = settings or Settings.for_device(parts.device)
    noise = None if settings.plain else rounding(parts)
    if noise is None:
        return _plainly(model, requests, ablations, means, sampled, done)
    exact = next(parts.root.parameters()).dtype == torch.float32
    greedy = Greedy(TIE * max(noise, 1e-7) if exact else 0.0)
    run = _Run(model, requests, means, settings, sampled or greedy, done)
    return run.all(ablations)


@dataclass(eq=False)
class _Run:
    model: TransformerBridge
    requests: Sequence[GenerationRequest]
    means: HeadMeans | None
    settings: Settings
    pick: Greedy | Sampled
    done: Callable[[int], Any]
    answers: dict[tuple[int, int], Answer] = field(default_factory=dict)

    def all(self, ablations: Sequence[Edits]) -> Generated:
        """Every ablation; the baseline first where others can draft from it."""
        self.parts = decoder(self.model)
        self.stops = _stops(self.parts, self.requests)
        counts = [Counts() for _ in ablations]
        for number in range(len(ablations)):
            for i, stop in enumerate(self.stops):
                if stop.max_gen_toks < 1:
                    self._finish(number, i, stop, [])
        asked = [i for i, stop in enumerate(self.stops) if stop.max_gen_toks > 0]
        if asked and ablations:
            self._decode(asked, ablations, counts)
        answers = [
            [self.answers[number, i] for i in range(len(self.requests))]
            for number in range(len(ablations))
        ]
        tolerance = self.pick.tolerance if isinstance(self.pick, Greedy) else 0.0
        return Generated(answers, counts, "ragged", tolerance)

    def _decode(self, asked: list[int], ablations: Sequence[Edits], counts: list[Counts]) -> None:
        prompts = {i: self.requests[i].prompt for i in asked}
        shared = _shared(list(prompts.values()))
        self.offset = shared
        first = next(iter(prompts.values()))
        self.prefix = record_prefix(self.parts, first[:shared]) if shared else None
        own = {i: prompt[shared:] for i, prompt in prompts.items()}
        asked = sorted(asked, key=lambda i: (-len(own[i]), i))
        number = next((n for n, edits in enumerate(ablations) if not edits), None)
        # without drafts, or with one ablation, nothing is drafted and the baseline is one of all
        drafting = self.settings.drafts and isinstance(self.pick, Greedy)
        drafting = drafting and any(ablations) and (number is not None or len(ablations) > 1)
        baseline = self._group(-1 if number is None else number, {}, counts)
        self.seen = {i: SeenText(prompts[i]) for i in asked} if self.settings.drafts else {}
        rest = [n for n in range(len(ablations)) if not (drafting and n == number)]
        written: dict[int, tuple[int, ...]] = {}
        if drafting:
            for batch in _batches(asked, own):
                recorded = self._record(batch, own, {}, baseline)
                self._lot(recorded, batch, [baseline])
            for i in asked:
                written[i] = self.answers[baseline.number, i].tokens
        texts = {i: (*own[i], *written.get(i, ())) for i in asked}
        for batch in _batches(asked, texts):
            recorded = self._record(batch, own, written, baseline)
            for lot in _lots(rest, ablations, self.settings.mix):
                with ExitStack() as stack:
                    donors = {n: _donors(ablations[n]) for n in lot}
                    if donors[lot[0]]:
                        stack.enter_context(edited(self.model, donors[lot[0]]))
                    groups = (self._group(n, ablations[n], counts) for n in lot)
                    self._lot(recorded, batch, groups)

    def _group(self, number: int, edits: Edits, counts: list[Counts]) -> Group:
        """An ablation, with the shared prefix run under it."""
        count = counts[number] if number >= 0 else Counts()
        return Group(number, edits, _prefix_keys(self.model, self.prefix, edits, self.means), count)

    def _record(
        self,
        batch: Sequence[int],
        own: dict[int, tuple[int, ...]],
        written: dict[int, tuple[int, ...]],
        baseline: Group,
    ) -> Recorded:
        drafts = [written.get(i, ()) for i in batch]
        return record_drafts(self.parts, [own[i] for i in batch], drafts, baseline, self.offset)

    def _lot(self, recorded: Recorded, batch: Sequence[int], groups: Any) -> None:
        """Verify and decode the rows of some ablations that may share a batch."""
        pool = self._pool(recorded, batch)
        for group in groups:
            verdicts = verify(
                self.model, recorded, group, self.pick, means=self.means, numbers=batch
            )
            state = {i: list[int]() for i in range(len(batch))}
            verdict = next(verdicts, None)
            while verdict is not None:
                going, leaving = self._judge(pool, recorded, batch, group, verdict, state)
                self._admit(pool, recorded, verdict, leaving)
                try:
                    verdict = verdicts.send(going)
                except StopIteration:
                    verdict = None
        while pool.rows:
            self._collect(pool.step())

    def _pool(self, recorded: Recorded, batch: Sequence[int]) -> Pool:
        width = max(
            len(q) + self.stops[i].max_gen_toks
            for q, i in zip(recorded.questions, batch, strict=True)
        )
        width += MOST_DRAFTED + 1
        row_bytes = sum(
            2 * k.shape[1] * k.shape[3] * k.element_size() * width
            for k in recorded.cache.keys
            if k is not None
        )
        capacity = max(1, min(self.settings.rows, self.settings.cache_bytes // row_bytes))
        cache = RaggedCache(self.parts.n_layers, capacity, width, offset=self.offset)
        for layer in range(self.parts.n_layers):
            keys, values = recorded.cache.keys[layer], recorded.cache.values[layer]
            assert keys is not None
            assert values is not None
            cache.keys[layer] = keys.new_zeros(capacity, keys.shape[1], width, keys.shape[3])
            cache.values[layer] = values.new_zeros(
                capacity, values.shape[1], width, values.shape[3]
            )
        return Pool(self.model, cache, capacity, self.pick, self.means, self.settings.knee)

    def _judge(
        self,
        pool: Pool,
        recorded: Recorded,
        batch: Sequence[int],
        group: Group,
        verdict: Verdict,
        state: dict[int, list[int]],
    ) -> tuple[list[int], list[tuple[int, Row]]]:
        """Rows of a verdict that agree to its end, and those that go on by themselves."""
        going, leaving = [], []
        for i, (number, picked) in enumerate(zip(verdict.rows, verdict.picked, strict=True)):
            example, draft = batch[number], recorded.drafts[number]
            written = state[number]
            row = Row(
                group,
                example,
                self.requests[example].prompt,
                len(recorded.questions[number]),
                self.stops[example],
                written,
                self.seen.get(example),
            )
            differs = False
            for pick in picked:
                token = pool.settle(row, pick)
                differs = len(written) >= len(draft) or token != draft[len(written)]
                written.append(token)
                if differs:
                    break
            if not differs and len(written) < len(draft):
                going.append(i)
                continue
            group.counts.baseline_tokens += len(draft)
            group.counts.baseline_accepted += len(written) - differs if draft else 0
            # an answer that agrees to the end has ended as the baseline's did
            if not differs or row.stop.done(written):
                self._finish(group.number, example, row.stop, written, group.counts)
            else:
                leaving.append((i, row))
        return going, leaving

    def _admit(
        self,
        pool: Pool,
        recorded: Recorded,
        verdict: Verdict,
        leaving: list[tuple[int, Row]],
    ) -> None:
        while leaving:
            if not pool.free:
                self._collect(pool.step())
                continue
            now, leaving = leaving[: pool.free], leaving[pool.free :]
            sources = verdict.sources(recorded.cache, [i for i, _ in now])
            pool.enter([row for _, row in now], sources)

    def _collect(self, finished: list[Row]) -> None:
        for row in finished:
            self._finish(row.group.number, row.example, row.stop, row.written, row.group.counts)

    def _finish(
        self,
        number: int,
        example: int,
        stop: Stopping,
        written: list[int],
        counts: Counts | None = None,
    ) -> None:
        if counts is not None:
            counts.written += len(written)
            if self.seen.get(example) is not None:
                self.seen[example].add(written)
        self.answers[number, example] = stop.answer(written)
        if number >= 0:
            self.done(1)


def _plainly(
    model: TransformerBridge,
    requests: Sequence[GenerationRequest],
    ablations: Sequence[Edits],
    means: HeadMeans | None,
    sampled: Sampled | None,
    done: Callable[[int], Any],
) -> Generated:
    parts = decoder(model)
    stops = _stops(parts, requests)
    answers: list[list[Answer | None]] = [[None] * len(requests) for _ in ablations]
    prompts = {i: request.prompt for i, request in enumerate(requests)}
    order = sorted(prompts, key=lambda i: (-len(prompts[i]), i))
    for batch in _batches(order, prompts):

        def choose(
            logits: torch.Tensor, rows: Sequence[int], step: int, batch: list[int] = batch
        ) -> torch.Tensor:
            if sampled is None:
                return logits.argmax(dim=-1)
            picked = sampled(logits, [(batch[row], step) for row in rows])
            return torch.tensor([token for token, _ in picked], device=logits.device)

        every = plain_batches(
            model,
            [prompts[i] for i in batch],
            [stops[i] for i in batch],
            ablations,
            means=means,
            choose=choose,
        )
        for found, written in zip(answers, every, strict=True):
            for i, answer in zip(batch, written, strict=True):
                found[i] = answer
            done(len(batch))
    counts = [Counts(written=sum(a.n_tokens for a in one if a)) for one in answers]
    return Generated([[a for a in one if a] for one in answers], counts, "plain", 0.0)


def _stops(parts: Decoder, requests: Sequence[GenerationRequest]) -> list[Stopping]:
    """The end of each request; equal ones are one object and share what they have decoded."""
    ends, made = end_tokens(parts), dict[tuple[tuple[str, ...], int], Stopping]()
    for r in requests:
        until = tuple(stop for stop in r.until if stop)
        made.setdefault(
            (r.until, r.max_gen_toks), Stopping(parts.tokenizer, ends, until, r.max_gen_toks)
        )
    return [made[r.until, r.max_gen_toks] for r in requests]


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts start with, leaving at least one to each."""
    shortest, longest = min(prompts), max(prompts)
    equal = next(
        (i for i, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b),
        min(len(shortest), len(longest)),
    )
    return min(equal, min(len(prompt) for prompt in prompts) - 1)


def _prefix_keys(
    model: TransformerBridge, prefix: Prefix | None, edits: Edits, means: HeadMeans | None
) -> tuple[SharedKeys, ...]:
    if prefix is None:
        return ()
    with edited(model, edits, means) as parts:
        own = prefix_cache(parts, prefix, min(edits, default=parts.n_layers))
    kept = []
    for mine, baseline in zip(own.layers, prefix.cache.layers, strict=True):
        # a skipped layer has nothing of its own; rows that skip it ignore what they are given
        layer = mine if mine.keys.shape == baseline.keys.shape else baseline
        kept.append(SharedKeys(layer.keys[0], layer.values[0], None))
    return tuple(kept)


def _batches(order: Sequence[int], texts: dict[int, tuple[int, ...]]) -> list[list[int]]:
    """Consecutive requests, as many as a pass holds."""
    result: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, len(texts[i]))
        if result and (len(result[-1]) + 1) * longest <= PASS_COLUMNS:
            result[-1].append(i)
        else:
            result.append([i])
            longest = len(texts[i])
    return result


def _lots(numbers: Sequence[int], ablations: Sequence[Edits], mix: bool) -> list[list[int]]:
    """Ablations that may share a batch, in their order."""
    lots: list[list[int]] = []
    for number in numbers:
        alone = not mix or not mixable(ablations[number])
        if lots and not alone and mixable(ablations[lots[-1][0]]) and mix:
            lots[-1].append(number)
        else:
            lots.append([number])
    return lots


def _donors(edits: Edits) -> Edits:
    """The swaps of an ablation: they hold for a whole batch."""
    return {
        layer: LayerEdit(donor=edit.donor) for layer, edit in edits.items() if edit.donor is not None
    }

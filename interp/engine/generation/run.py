"""One run: requests under ablations, verified against the baseline's answers and decoded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Means
from interp.engine.generation.drafting import SeenText
from interp.engine.generation.grouping import (
    donor_edits,
    lots_of,
    pass_batches,
    prefix_keys,
    shared_length,
    stops_of,
)
from interp.engine.generation.pool import MOST_DRAFTED, Counts, Group, Pool, Row
from interp.engine.generation.ragged import RaggedCache
from interp.engine.generation.sampling import Picking
from interp.engine.generation.stopping import Answer
from interp.engine.generation.verify import Recorded, Verdict, record_drafts, verify
from interp.engine.memory import free_on_gpus
from interp.engine.prefix import record_prefix
from interp.models import Decoder, decoder
from interp.tasks import GenerationRequest


@dataclass(frozen=True)
class Settings:
    """How to decode; no setting changes an answer.

    Attributes:
        rows: the most rows that are decoded together.
        knee: tokens up to which a pass costs no more than one over fewer tokens.
        drafts: use the baseline's answers, and later texts already seen, as drafts.
        mix: let different ablations share a batch.
        plain: decode every ablation alone, without drafts, with the model's own attention.
        cache_bytes: the most memory of the rows' keys and values.
    """

    rows: int = 128
    knee: int = 16
    drafts: bool = True
    mix: bool = True
    plain: bool = False
    cache_bytes: int = 2 << 30

    @classmethod
    def for_model(cls, parts: Decoder) -> "Settings":
        """What suits the model on a CPU of few cores, or on a GPU.

        On a CPU a pass costs about a millisecond a layer, whatever is in it, and then two
        operations a parameter and token at some twenty billion a second.
        """
        if parts.device.type == "cuda":
            return cls(rows=256, knee=128, cache_bytes=free_on_gpus(parts) // 3)
        parameters = sum(p.numel() for p in parts.root.parameters())
        return cls(knee=max(2, min(64, parts.n_layers * 10_000_000 // parameters)))


@dataclass(eq=False)
class Run:
    """The state of one run.

    Attributes:
        model: the bridge.
        requests: prompts.
        means: what `@mean` puts (`mean_outputs`).
        settings: how to decode.
        pick: from logits to tokens.
        done: told how many answers are finished.
        answers: by number of the ablation (-1: a baseline that nobody asked for) and request.
    """

    model: TransformerBridge
    requests: Sequence[GenerationRequest]
    means: Means | None
    settings: Settings
    pick: Picking
    done: Callable[[int], Any]
    answers: dict[tuple[int, int], Answer] = field(default_factory=dict)

    def all(self, ablations: Sequence[Edits]) -> tuple[list[list[Answer]], list[Counts]]:
        """The answers under every ablation, and what they took."""
        for _ in self.steps(ablations):
            pass
        everything = range(len(self.requests))
        answers = [[self.answers[n, i] for i in everything] for n in range(len(ablations))]
        return answers, self.counts

    def steps(self, ablations: Sequence[Edits]) -> Iterator[list[Row]]:
        """Do the work, step by step; the baseline first where others can draft from it.

        Yields:
            The rows that have written something, at each step. Nothing is edited meanwhile.
        """
        self.parts = decoder(self.model)
        self.stops = stops_of(self.parts, self.requests)
        self.seen: dict[int, SeenText] = {}
        self.counts = [Counts() for _ in ablations]
        for number in range(len(ablations)):
            for i, stop in enumerate(self.stops):
                if stop.max_gen_toks < 1:
                    self._finish(number, i, [])
        asked = [i for i, stop in enumerate(self.stops) if stop.max_gen_toks > 0]
        if asked and ablations:
            yield from self._decode(asked, ablations)

    def _decode(self, asked: list[int], ablations: Sequence[Edits]) -> Iterator[list[Row]]:
        prompts = {i: self.requests[i].prompt for i in asked}
        shared = shared_length(list(prompts.values()))
        self.offset = shared
        first = next(iter(prompts.values()))
        self.prefix = record_prefix(self.parts, first[:shared]) if shared else None
        own = {i: prompt[shared:] for i, prompt in prompts.items()}
        asked = sorted(asked, key=lambda i: (-len(own[i]), i))
        number = next((n for n, edits in enumerate(ablations) if not edits), None)
        # without drafts, or with one ablation, nothing is drafted and the baseline is one of all
        drafting = self.settings.drafts
        self.seen = {i: SeenText(prompts[i]) for i in asked} if drafting else {}
        drafting = drafting and any(ablations) and (number is not None or len(ablations) > 1)
        baseline = self._group(-1 if number is None else number, Edits())
        rest = [n for n in range(len(ablations)) if not (drafting and n == number)]
        written: dict[int, tuple[int, ...]] = {}
        if drafting:
            for batch in pass_batches(asked, own):
                recorded = self._record(batch, own, {}, baseline)
                yield from self._lot(recorded, batch, [baseline])
            for i in asked:
                answer = self.answers[baseline.number, i]
                # a failure is no draft: an ablated model that does not fail goes on from there
                written[i] = () if answer.failure else answer.tokens
        texts = {i: (*own[i], *written.get(i, ())) for i in asked}
        for batch in pass_batches(asked, texts):
            recorded = self._record(batch, own, written, baseline)
            for lot in lots_of(rest, ablations, self.settings.mix):
                groups = (self._group(n, ablations[n]) for n in lot)
                donors = donor_edits(ablations[lot[0]])
                yield from self._lot(recorded, batch, groups, donors)

    def _group(self, number: int, edits: Edits) -> Group:
        """An ablation, with the shared prefix run under it."""
        count = self.counts[number] if number >= 0 else Counts()
        return Group(number, edits, prefix_keys(self.model, self.prefix, edits, self.means), count)

    def _record(
        self,
        batch: Sequence[int],
        own: dict[int, tuple[int, ...]],
        written: dict[int, tuple[int, ...]],
        baseline: Group,
    ) -> Recorded:
        drafts = [written.get(i, ()) for i in batch]
        return record_drafts(self.parts, [own[i] for i in batch], drafts, baseline, self.offset)

    def _lot(
        self,
        recorded: Recorded,
        batch: Sequence[int],
        groups: Iterable[Group],
        donors: Edits | None = None,
    ) -> Iterator[list[Row]]:
        """Verify and decode the rows of some ablations that may share a batch."""
        pool = self._pool(recorded, batch)
        pool.donors = donors or Edits()
        for group in groups:
            verdicts = verify(
                self.model, recorded, group, self.pick, means=self.means, numbers=batch
            )
            rows = [
                self._row(group, i, question)
                for i, question in zip(batch, recorded.questions, strict=True)
            ]
            verdict = next(verdicts, None)
            while verdict is not None:
                going, leaving = self._judge(pool, recorded, verdict, rows)
                yield from self._admit(pool, recorded, verdict, leaving)
                try:
                    verdict = verdicts.send(going)
                except StopIteration:
                    verdict = None
        while pool.rows:
            yield from self._step(pool)

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

    def _row(self, group: Group, example: int, question: Sequence[int]) -> Row:
        """One answer, not begun yet."""
        return Row(
            group,
            example,
            self.requests[example].prompt,
            len(question),
            self.stops[example],
            [],
            self.seen.get(example),
        )

    def _judge(
        self, pool: Pool, recorded: Recorded, verdict: Verdict, rows: Sequence[Row]
    ) -> tuple[list[int], list[tuple[int, Row]]]:
        """Rows of a verdict that agree to its end, and those that go on by themselves."""
        going, leaving = [], []
        for i, (number, picked) in enumerate(zip(verdict.rows, verdict.picked, strict=True)):
            row, draft = rows[number], recorded.drafts[number]
            written, counts = row.written, row.group.counts
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
            counts.baseline_tokens += len(draft)
            counts.baseline_accepted += len(written) - differs if draft else 0
            # an answer that agrees to the end has ended as the baseline's did
            if not differs or row.stop.done(written):
                self._finish(row.group.number, row.example, written)
            else:
                leaving.append((i, row))
        return going, leaving

    def _admit(
        self,
        pool: Pool,
        recorded: Recorded,
        verdict: Verdict,
        leaving: list[tuple[int, Row]],
    ) -> Iterator[list[Row]]:
        while leaving:
            if not pool.free:
                yield from self._step(pool)
                continue
            now, leaving = leaving[: pool.free], leaving[pool.free :]
            sources = verdict.sources(recorded.cache, [i for i, _ in now])
            pool.enter([row for _, row in now], sources)
            yield [row for _, row in now]

    def _step(self, pool: Pool) -> Iterator[list[Row]]:
        rows = list(pool.rows)
        for row in pool.step():
            self._finish(row.group.number, row.example, row.written)
        yield rows

    def _finish(self, number: int, example: int, written: list[int]) -> None:
        answer = self.stops[example].answer(written)
        if example in self.seen:
            self.seen[example].add(answer.tokens)
        self.answers[number, example] = answer
        if number >= 0:
            self.counts[number].written += answer.n_tokens
            self.done(1)

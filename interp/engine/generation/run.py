"""One run: requests under ablations, verified against the baseline's answers and decoded."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, Means
from interp.engine.generation.drafting import SeenText
from interp.engine.generation.grouping import (
    donor_edits,
    pass_batches,
    prefix_keys,
    shared_batches,
    shared_length,
    stops_of,
)
from interp.engine.generation.pool import MOST_DRAFTED, Counts, Group, Pool, Row
from interp.engine.generation.ragged import RaggedCache
from interp.engine.generation.sampling import Picking
from interp.engine.generation.stopping import Answer
from interp.engine.generation.verify import Recorded, Verdict, Verification, record_drafts
from interp.engine.memory import free_on_gpus
from interp.engine.prefix import Prefix, record_prefix
from interp.models import Decoder, decoder
from interp.tasks import GenerationRequest


@dataclass(frozen=True)
class Settings:
    """How to decode; no setting changes an answer.

    Attributes:
        rows: the most rows that are decoded together.
        latency_knee: tokens up to which a pass costs no more than one over fewer tokens.
        drafts: use the baseline's answers, and later texts already seen, as drafts.
        mix: let different ablations share a batch.
        plain: decode every ablation alone, without drafts, with the model's own attention.
        cache_bytes: the most memory of the rows' keys and values.
    """

    rows: int = 128
    latency_knee: int = 16
    drafts: bool = True
    mix: bool = True
    plain: bool = False
    cache_bytes: int = 2 << 30

    @classmethod
    def for_model(cls, dec: Decoder) -> "Settings":
        """What suits the model on a CPU of few cores, or on a GPU.

        On a CPU a pass costs about a millisecond per layer, whatever is in it, and then two
        operations per parameter and token at some twenty billion a second.
        """
        if dec.device.type == "cuda":
            return cls(rows=256, latency_knee=128, cache_bytes=free_on_gpus(dec) // 3)
        parameters = sum(p.numel() for p in dec.root.parameters())
        return cls(latency_knee=max(2, min(64, dec.n_layers * 10_000_000 // parameters)))


Finished = Callable[[int, int, Answer], Any]
"""What is told of a finished answer: the number of its ablation, that of its request, and it."""

Stepped = Callable[[int], Any]
"""What is told, before each step of rows that are decoded together, how many rows there are."""


class Run:
    """Requests under ablations: the baseline's answers are drafts, and the others verify them.

    Args:
        model: the bridge.
        requests: prompts.
        ablations: what changes in each; `Edits()` is the baseline.
        means: what `@mean` puts (`mean_outputs`).
        settings: how to decode.
        pick: a function from logits to tokens.

    Attributes:
        answers: for each ablation, number of a request to its answer, once that is finished.
        counts: for each ablation, what its answers took.
    """

    def __init__(
        self,
        model: TransformerBridge,
        requests: Sequence[GenerationRequest],
        ablations: Sequence[Edits],
        *,
        means: Means | None,
        settings: Settings,
        pick: Picking,
    ) -> None:
        self.model, self.requests, self.ablations = model, requests, ablations
        self.means, self.settings, self.pick = means, settings, pick
        self.finished: Finished = lambda number, request, answer: None
        self.stepped: Stepped = lambda rows: None
        self.answers: list[dict[int, Answer]] = [{} for _ in ablations]
        self.counts = [Counts() for _ in ablations]
        self._decoder = decoder(model)
        self._stops = stops_of(self._decoder, requests)
        prompts = {
            i: request.prompt
            for i, request in enumerate(requests)
            if self._stops[i].max_gen_toks > 0
        }
        self._seen = {i: SeenText(p) for i, p in prompts.items()} if settings.drafts else {}
        # what all prompts start with is run once; of each only its question is left
        self._offset = shared_length(list(prompts.values())) if prompts else 0
        self._questions = {i: prompt[self._offset :] for i, prompt in prompts.items()}
        # the longest first, so that requests of one batch are of about the same length
        self._order = sorted(self._questions, key=lambda i: (-len(self._questions[i]), i))
        self._prefix: Prefix | None = None
        if self._offset and ablations:
            first = next(iter(prompts.values()))
            self._prefix = record_prefix(self._decoder, first[: self._offset])

    def all(self, finished: Finished, stepped: Stepped) -> tuple[list[list[Answer]], list[Counts]]:
        """The answers under every ablation, in the order of the requests, and what they took.

        Args:
            finished: told each answer as it is finished.
            stepped: told how many rows each step of decoding has.
        """
        self.finished, self.stepped = finished, stepped
        for _ in self.steps():
            pass
        everything = range(len(self.requests))
        return [[found[i] for i in everything] for found in self.answers], self.counts

    def steps(self) -> Iterator[list[Row]]:
        """Do the work, step by step; the baseline first where others can draft from it.

        Yields:
            The rows that have written something, at each step. Nothing is edited meanwhile.
        """
        self._answer_what_asks_for_no_token()
        if not self._questions or not self.ablations:
            return
        number = next((n for n, edits in enumerate(self.ablations) if not edits), None)
        baseline = self._group(number, Edits())
        rest = list(range(len(self.ablations)))
        drafts: dict[int, tuple[int, ...]] = {}
        if self._drafts_from_the_baseline(number):
            yield from self._write_baseline(baseline)
            # a failure is no draft: an ablated model that does not fail goes on from there
            drafts = {i: () if a.failure else a.tokens for i, a in baseline.answers.items()}
            rest = [n for n in rest if n != number]
        texts = {i: (*self._questions[i], *drafts.get(i, ())) for i in self._order}
        for batch in pass_batches(self._order, texts):
            recorded = self._record(batch, drafts, baseline)
            for numbers in shared_batches(rest, self.ablations, self.settings.mix):
                groups = (self._group(n, self.ablations[n]) for n in numbers)
                donors = donor_edits(self.ablations[numbers[0]])
                yield from self._verify_and_decode(recorded, batch, groups, donors)

    def _answer_what_asks_for_no_token(self) -> None:
        for number, answers in enumerate(self.answers):
            for i, stop in enumerate(self._stops):
                if i not in self._questions:
                    answers[i] = stop.answer([])
                    self.counts[number].written += answers[i].n_tokens
                    self.finished(number, i, answers[i])

    def _drafts_from_the_baseline(self, number: int | None) -> bool:
        """Whether the baseline writes before the others; with one ablation its drafts are not used.

        Args:
            number: the number of the baseline among the ablations; None where it was not asked for.
        """
        others = any(self.ablations) and (number is not None or len(self.ablations) > 1)
        return self.settings.drafts and others

    def _write_baseline(self, baseline: Group) -> Iterator[list[Row]]:
        for batch in pass_batches(self._order, self._questions):
            recorded = self._record(batch, {}, baseline)
            yield from self._verify_and_decode(recorded, batch, [baseline], Edits())

    def _group(self, number: int | None, edits: Edits) -> Group:
        """An ablation, with the shared prefix run under it; None: a baseline for its drafts."""
        prefix = prefix_keys(self.model, self._prefix, edits, self.means)
        if number is None:
            return Group(None, edits, prefix, Counts(), {})
        return Group(number, edits, prefix, self.counts[number], self.answers[number])

    def _record(
        self, batch: Sequence[int], drafts: Mapping[int, tuple[int, ...]], baseline: Group
    ) -> Recorded:
        questions = [self._questions[i] for i in batch]
        draft_tokens = [drafts.get(i, ()) for i in batch]
        return record_drafts(self._decoder, questions, draft_tokens, baseline, self._offset)

    def _verify_and_decode(
        self, recorded: Recorded, batch: Sequence[int], groups: Iterable[Group], donors: Edits
    ) -> Iterator[list[Row]]:
        """Answers of some ablations that may share a batch.

        Args:
            recorded: the baseline's pass over the batch.
            batch: numbers of requests.
            groups: the ablations.
            donors: swaps that hold for all of them.
        """
        pool = self._pool(recorded, batch, donors)
        for group in groups:
            rows = [self._row(group, i) for i in batch]
            verification = Verification(
                self.model, recorded, group, self.pick, means=self.means, numbers=batch
            )
            verdict = verification.advance()
            while verdict is not None:
                going, leaving = self._judge(pool, recorded, verdict, rows)
                yield from self._admit(pool, recorded, verdict, leaving)
                verdict = verification.advance(keep=going)
        while pool.rows:
            yield from self._step(pool)

    def _pool(self, recorded: Recorded, batch: Sequence[int], donors: Edits) -> Pool:
        """An empty pool, as large as memory and the settings allow."""
        width = max(len(self._questions[i]) + self._stops[i].max_gen_toks for i in batch)
        width += MOST_DRAFTED + 1
        row_bytes = sum(
            2 * k.shape[1] * k.shape[3] * k.element_size() * width
            for k in recorded.cache.keys
            if k is not None
        )
        capacity = max(1, min(self.settings.rows, self.settings.cache_bytes // row_bytes))
        n_layers = self._decoder.n_layers
        cache = RaggedCache(n_layers, capacity, width, offset=self._offset)
        for layer in range(n_layers):
            keys, values = recorded.cache.keys[layer], recorded.cache.values[layer]
            assert keys is not None
            assert values is not None
            cache.keys[layer] = keys.new_zeros(capacity, keys.shape[1], width, keys.shape[3])
            cache.values[layer] = values.new_zeros(
                capacity, values.shape[1], width, values.shape[3]
            )
        return Pool(
            self.model,
            cache,
            capacity,
            self.pick,
            self.means,
            self.settings.latency_knee,
            donors=donors,
        )

    def _row(self, group: Group, example: int) -> Row:
        """One answer, not begun yet."""
        return Row(
            group,
            example,
            self.requests[example].prompt,
            len(self._questions[example]),
            self._stops[example],
            [],
            self._seen.get(example),
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
                self._finish(row)
            else:
                leaving.append((i, row))
        return going, leaving

    def _admit(
        self, pool: Pool, recorded: Recorded, verdict: Verdict, leaving: list[tuple[int, Row]]
    ) -> Iterator[list[Row]]:
        """Put rows that go on by themselves into the pool, and decode where it is full."""
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
        self.stepped(len(rows))
        for row in pool.step():
            self._finish(row)
        yield rows

    def _finish(self, row: Row) -> None:
        answer = row.stop.answer(row.written)
        if row.seen is not None:
            row.seen.add(answer.tokens)
        row.group.answers[row.example] = answer
        if row.group.number is not None:
            row.group.counts.written += answer.n_tokens
            self.finished(row.group.number, row.example, answer)

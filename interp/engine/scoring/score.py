"""Log-likelihoods of every request under the baseline and every ablation.

All batches of a group go through the model side by side, one block at a time. The residual stream
that enters layer l is there for every example when the ablations that first act at layer l are
replayed from it; then it moves on. So memory holds one residual stream, not one for each layer,
and the prefix's keys and values under the few ablations that are stacked (`stacking.py`).

An ablation is known by its edits, which are values: what is found is a mapping from `Edits`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits, Means, Places, edited
from interp.engine.capabilities import refuse_impossible
from interp.engine.memory import fits, halving, token_budget
from interp.engine.prefix import Prefix, prefix_cache, prefix_under, record_prefix
from interp.engine.replay import record
from interp.engine.scoring.batch_state import (
    CachedZ,
    LayerInput,
    attention_unchanged,
    batch_arguments,
    batch_calls,
)
from interp.engine.scoring.beginnings import edited_from, ends_at, shared_beginnings, up_to
from interp.engine.scoring.packing import (
    Batch,
    Group,
    group_examples,
    packed_batches,
    padded_batches,
)
from interp.engine.scoring.scopes import batch_labels, told_apart
from interp.engine.scoring.stacking import Stack, most_stacked
from interp.engine.scoring.targets import Score, ScoredPositions
from interp.engine.scoring.with_hooks import hooked_scores
from interp.engine.shortcuts import EVERY, NONE, Shortcuts, exact_shortcuts, segments
from interp.models import Decoder
from interp.tasks import OptionRequest

Found = Iterator[tuple[Edits, dict[int, Score]]]
"""Scores as they are computed: under which ablation, and request number to score."""


def score_requests(
    model: TransformerBridge,
    requests: Sequence[OptionRequest],
    edits: Sequence[Edits],
    *,
    means: Means | None = None,
    shortcuts: Shortcuts = EVERY,
    divergence: bool = False,
    done: Callable[[int], Any] = lambda pairs: None,
) -> list[list[Score]]:
    """Score every request under every ablation.

    Args:
        model: a bridge.
        requests: contexts and continuations.
        edits: what each ablation changes; `Edits()` is the baseline.
        means: what `@mean` puts (`mean_outputs`).
        shortcuts: what to share and leave out; never changes a result.
        divergence: compare what is predicted at each scored token with what the whole model
            predicts there.
        done: told how many (example, ablation) pairs have been computed, as they are.

    Returns:
        For each ablation, for each request: the sum of log-probabilities of its continuation in
        nats, and whether greedy decoding would write it; `FAILED` where logits are not finite.
        With `divergence` each is a `Compared`.
    """
    refuse_impossible(model, edits)
    by_edits: dict[Edits, dict[int, Score]] = {edit: {} for edit in edits}
    examples = len({request.doc_id for request in requests})
    progress = _Progress(done, examples / max(1, len(requests)))
    lengths = [request.row_length for request in requests]
    for numbers in segments(model, lengths):
        exact = exact_shortcuts(model, shortcuts, max(lengths[n] for n in numbers))
        work = Scoring(model, means, exact, divergence)
        for edit, scores in work.all([requests[n] for n in numbers], list(by_edits)):
            named = {numbers[at]: score for at, score in scores.items()}
            progress.add(edit, named)
            by_edits[edit].update(named)
    alone = Scoring(model, means, NONE, divergence)
    for edit, scores in by_edits.items():
        scores.update(_settled(alone, requests, edit, scores))
    return [[by_edits[edit][n] for n in range(len(requests))] for edit in edits]


def _settled(
    alone: "Scoring", requests: Sequence[OptionRequest], edits: Edits, scores: Mapping[int, Score]
) -> dict[int, Score]:
    """The failures of one ablation again, in batches of rows of equal length.

    Zero times NaN is NaN: a request whose attention gives no weight to a neighbour in its row, or
    to padding, fails with it. In rows of their own without padding only those fail that do so
    when they are run alone.
    """
    failed = [number for number, (value, _) in sorted(scores.items()) if not isfinite(value)]
    by_length: dict[int, list[int]] = {}
    for number in failed:
        request = requests[number]
        by_length.setdefault(request.row_length, []).append(number)
    settled: dict[int, Score] = {}
    for numbers in by_length.values():
        for _, repeated in alone.all([requests[number] for number in numbers], [edits]):
            settled.update((numbers[at], score) for at, score in repeated.items())
    return settled


class _Progress:
    """Tells of examples as their requests are scored, once, also where some are scored again."""

    def __init__(self, done: Callable[[int], Any], examples_each: float) -> None:
        self._done, self._examples_each = done, examples_each
        self._scored: set[tuple[Edits, int]] = set()

    def add(self, edits: Edits, scores: dict[int, Score]) -> None:
        before = round(len(self._scored) * self._examples_each)
        self._scored.update((edits, number) for number in scores)
        self._done(round(len(self._scored) * self._examples_each) - before)


@dataclass(frozen=True, eq=False)
class Scoring:
    """How requests that may share a batch are scored.

    Attributes:
        model: a bridge.
        means: what `@mean` puts (`mean_outputs`).
        shortcuts: those that are exact for the model at the length of the requests.
        divergence: compare with what the whole model predicts.
    """

    model: TransformerBridge
    means: Means | None
    shortcuts: Shortcuts
    divergence: bool = False

    def all(self, requests: Sequence[OptionRequest], edits: Sequence[Edits]) -> Found:
        """Scores of all requests under all ablations; numbers are those of the given requests."""
        hooked = [edit for edit in edits if edit.is_hooked]
        if hooked:
            yield from hooked_scores(
                self.model,
                requests,
                hooked,
                self.means,
                self.shortcuts,
                divergence=self.divergence,
            )
        scoped = [edit for edit in edits if edit.is_scoped]
        native = [edit for edit in edits if not (edit.is_hooked or edit.is_scoped)]
        alike = told_apart(requests) if scoped else []
        if len(alike) == 1:
            native, scoped = native + scoped, []
        yield from self._native(requests, native)
        for numbers in alike if scoped else []:
            for edit, scores in self._native([requests[n] for n in numbers], scoped):
                yield edit, {numbers[at]: score for at, score in scores.items()}

    def _native(self, requests: Sequence[OptionRequest], edits: Sequence[Edits]) -> Found:
        """Scores under ablations that native blocks carry out."""
        if not edits:
            return
        share = self.shortcuts.prefixes and self.shortcuts.replay
        for group in group_examples(requests, prefixes=share, trees=self.shortcuts.options):
            yield from self._group(group, edits)

    def _group(self, group: Group, edits: Sequence[Edits]) -> Found:
        """Scores of one group, in ever smaller batches while memory runs out."""
        budget = self.shortcuts.token_budget or token_budget(
            models.decoder(self.model), len(group.prefix)
        )

        def work(tokens: int) -> Found:
            # once memory has run out, nothing is held for several ablations at a time
            stacked = self.shortcuts.stacked and tokens == budget
            scorer = replace(self, shortcuts=replace(self.shortcuts, stacked=stacked))
            run = scorer.replayed if self.shortcuts.replay else scorer.plain
            return run(group, edits, tokens)

        return halving(work, budget)

    def plain(self, group: Group, edits: Sequence[Edits], tokens: int) -> Found:
        """Every ablated model runs every block on every row, in batches within the token budget."""
        decoder = models.decoder(self.model)
        for batch in self._batches(group, tokens):
            positions = ScoredPositions.of(batch, decoder.device)
            arguments = batch_arguments(decoder, batch, 0)
            ids = torch.from_numpy(batch.ids).to(decoder.device)
            places, whole = Places(), None
            places.at(batch_labels(batch))
            if self.divergence:
                resid = record(decoder, ids, use_cache=False, **arguments).residuals[-1]
                whole = positions.whole_model(decoder, resid)
            for edit in edits:
                if whole is not None and not edit:
                    yield edit, whole.own
                    continue
                with edited(self.model, edit, self.means, places=places) as edited_model:
                    resid = record(edited_model, ids, use_cache=False, **arguments).residuals[-1]
                    yield edit, positions.scores(decoder, resid, whole)

    def replayed(self, group: Group, edits: Sequence[Edits], tokens: int) -> Found:
        """All batches side by side, block by block; each ablation from its first layer on."""
        decoder = models.decoder(self.model)
        prefix = record_prefix(decoder, group.prefix) if group.prefix else None
        # what runs on after the last block needs all of what leaves it
        reordered = any(
            edit.order for edit in edits if edit.first_layer(decoder.n_layers) == decoder.n_layers
        )
        batches = [
            LayerInput(
                batch,
                ScoredPositions.of(batch, decoder.device),
                batch_calls(decoder, batch, prefix).residuals[0],
                layer=0,
                last_block=self.shortcuts.last_block_positions and not reordered,
            )
            for batch in self._batches(group, tokens)
        ]
        return self._onward(batches, prefix, edits, tokens)

    def _onward(
        self,
        batches: list[LayerInput],
        prefix: Prefix | None,
        edits: Sequence[Edits],
        tokens: int,
    ) -> Found:
        """Scores under ablations that agree below the layer before which the batches stand."""
        first, n_layers = batches[0].layer, models.decoder(self.model).n_layers
        starting_at: dict[int, list[Edits]] = {}
        for edit in edits:
            starting_at.setdefault(edited_from(edit, first, n_layers), []).append(edit)
        compared = self.divergence and batches[0].whole is None
        entering = self._beside_whole if compared else self._entering
        for batches_at_layer in entering(batches, prefix, starting_at):
            layer = batches_at_layer[0].layer
            beginnings, starting_here = self._beginnings(
                batches_at_layer, starting_at.get(layer, [])
            )
            stack, stacked = self._stack(batches_at_layer, prefix, starting_here, tokens)
            for edit in starting_here:
                if not edit and batches_at_layer[0].whole is not None:
                    yield from (
                        (edit, batch.whole.own) for batch in batches_at_layer if batch.whole
                    )
                elif edit not in stacked:
                    places = Places()
                    with edited(self.model, edit, self.means, places=places) as edited_model:
                        for scores in self._alone(
                            edited_model, batches_at_layer, prefix, edit, places
                        ):
                            yield edit, scores
            if stacked:
                yield from stack.scores(batches_at_layer, stacked)
            for members in beginnings:
                begun, under = self._begun(batches_at_layer, prefix, up_to(members[0], layer))
                yield from self._onward(begun, under, members, tokens)

    def _beginnings(
        self, batches: Sequence[LayerInput], here: list[Edits]
    ) -> tuple[list[list[Edits]], list[Edits]]:
        """Ablations that go on together from here; none where a second stream does not fit."""
        decoder = models.decoder(self.model)
        size = sum(batch.resid.numel() * batch.resid.element_size() for batch in batches)
        if len(here) < 2 or not self.shortcuts.stacked or not fits(decoder, 2 * size):
            return [], here
        return shared_beginnings(here, batches[0].layer, decoder.n_layers)

    def _begun(
        self, batches: Sequence[LayerInput], prefix: Prefix | None, beginning: Edits
    ) -> tuple[list[LayerInput], Prefix | None]:
        """The batches after an edited layer, and their prefix under the edits so far."""
        decoder, layer, under = models.decoder(self.model), batches[0].layer, None
        with edited(self.model, beginning, self.means) as edited_model:
            if prefix is not None:
                under = prefix_under(edited_model, prefix, layer, last_block=batches[0].last_block)
            caches = [under.cache] if under else []
            reused = attention_unchanged(beginning, layer)
            begun = [
                batch.through(
                    edited_model, layer + 1, batch_calls(decoder, batch.batch, prefix), caches,
                    reused=reused,
                )
                for batch in batches
            ]  # fmt: skip
        return begun, under

    def _entering(
        self,
        batches: list[LayerInput],
        prefix: Prefix | None,
        starting_at: Mapping[int, Sequence[Edits]],
    ) -> Iterator[list[LayerInput]]:
        """The batches before each layer at which an ablation starts, in the baseline."""
        decoder = models.decoder(self.model)
        for layer in range(batches[0].layer, max(starting_at) + 1):
            starting_here = starting_at.get(layer, [])
            if self.shortcuts.sublayers and any(
                attention_unchanged(edit, layer) for edit in starting_here
            ):
                batches = [replace(batch, attention=CachedZ()) for batch in batches]
            following = batches
            if batches[0].attention is not None or layer < max(starting_at):
                following = [batch.next(decoder, prefix) for batch in batches]
            if starting_here:
                yield batches
            batches = following

    def _beside_whole(
        self,
        batches: list[LayerInput],
        prefix: Prefix | None,
        starting_at: Mapping[int, Sequence[Edits]],
    ) -> Iterator[list[LayerInput]]:
        """As `_entering`, each batch with what the whole model predicts where it is scored.

        The baseline runs to its end first. The streams on its way are kept where they fit in
        memory, else they are computed once more.
        """
        decoder = models.decoder(self.model)
        to_the_end = {**starting_at, decoder.n_layers: starting_at.get(decoder.n_layers, [Edits()])}
        numbers = sum(batch.resid.numel() for batch in batches) * len(to_the_end)
        keeps = fits(decoder, 2 * numbers * batches[0].resid.element_size())
        kept, last = [], batches
        for last in self._entering(batches, prefix, to_the_end):
            if keeps:
                kept.append(last)
        whole = [batch.predicted(decoder) for batch in last]
        for entering in kept if keeps else self._entering(batches, prefix, starting_at):
            pairs = zip(entering, whole, strict=True)
            yield [replace(batch, whole=other) for batch, other in pairs]

    def _stack(
        self,
        batches: Sequence[LayerInput],
        prefix: Prefix | None,
        here: Sequence[Edits],
        tokens: int,
    ) -> tuple[Stack, list[Edits]]:
        """What ablations of this layer alone have in common, and which are run together."""
        layer, most = batches[0].layer, 1
        stacked = [edit for edit in here if self.shortcuts.stacked and ends_at(edit, layer)]
        if len(stacked) > 1:
            most = most_stacked(models.decoder(self.model), batches, prefix, tokens)
        last_block = self.shortcuts.last_block_positions
        stack = Stack(self.model, prefix, self.means, last_block, most)
        return stack, stacked if most > 1 else []

    def _alone(
        self,
        decoder: Decoder,
        batches: Sequence[LayerInput],
        prefix: Prefix | None,
        edits: Edits,
        places: Places,
    ) -> Iterator[dict[int, Score]]:
        """Scores under one ablation, batch by batch; call it inside `edited(...)`.

        Calls of the blocks are made by the model in its own order, whatever that of `decoder` is.
        """
        layer, last_block = batches[0].layer, batches[0].last_block
        last = models.decoder(self.model).n_layers - 1
        other = bool(decoder.order) and decoder.order[-1] != last
        if other or _routes_by_position(edits, last):
            # that the last block can be narrowed was tried on the model's own last block, and
            # inside of it a router would not know at which positions it is
            batches, last_block = [replace(batch, last_block=False) for batch in batches], False
        places.of_prompt(len(prefix or ()))
        caches = [prefix_cache(decoder, prefix, layer, last_block=last_block)] if prefix else []
        reused = attention_unchanged(edits, layer)
        for batch in batches:
            places.at(batch_labels(batch.batch))
            calls = batch_calls(models.decoder(self.model), batch.batch, prefix)
            yield batch.through(decoder, decoder.n_layers, calls, caches, reused=reused).scores(
                decoder
            )

    def _batches(self, group: Group, tokens: int) -> list[Batch]:
        make = packed_batches if self.shortcuts.options else padded_batches
        return make(group.trees, tokens)


def _routes_by_position(edits: Edits, layer: int) -> bool:
    """Whether experts of a layer are left out at some positions only."""
    scoped = edits[layer].scoped if layer in edits else ()
    return any(edit.removed_experts or edit.zeroed_experts for _, edit in scoped)

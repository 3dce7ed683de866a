"""Log-likelihoods of every request under the baseline and every ablation.

All batches of a group go through the model side by side, one block at a time: the residual stream
that enters layer l is there for every example when the ablations that first act at layer l are
replayed from it, and then it moves on. So memory holds one residual stream, not one a layer, and
the prefix's keys and values under the few ablations that are stacked (`stacking.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits, HeadMeans, edited
from interp.engine.memory import halving, token_budget
from interp.engine.prefix import Prefix, prefix_cache, record_prefix
from interp.engine.replay import record
from interp.engine.scoring.batch_state import (
    Entering,
    KeptAttention,
    batch_arguments,
    batch_calls,
    behind_attention,
)
from interp.engine.scoring.packing import (
    Batch,
    Group,
    group_examples,
    packed_batches,
    padded_batches,
)
from interp.engine.scoring.stacking import Stack, most_stacked
from interp.engine.scoring.targets import Score, Targets
from interp.engine.scoring.with_hooks import hooked_scores
from interp.engine.shortcuts import EVERY, NONE, Shortcuts, exact_shortcuts
from interp.models import Decoder, decoder
from interp.tasks import OptionRequest


def score_requests(
    model: TransformerBridge,
    requests: Sequence[OptionRequest],
    edits: Sequence[Edits],
    *,
    means: HeadMeans | None = None,
    shortcuts: Shortcuts = EVERY,
    done: Callable[[int], Any] = lambda pairs: None,
) -> list[list[Score]]:
    """Score every request under every ablation.

    Args:
        model: a bridge.
        requests: contexts and continuations.
        edits: what each ablation changes; `Edits()` is the baseline.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        shortcuts: what to share and leave out; never changes a result.
        done: told how many (example, ablation) pairs have been computed, as they are.

    Returns:
        For each ablation, for each request: the sum of log-probabilities of its continuation in
        nats, and whether greedy decoding would write it; `FAILED` where logits are not finite.
    """
    parts = decoder(model)
    longest = max((len(r.context) + len(r.continuation) for r in requests), default=0)
    shortcuts = exact_shortcuts(model, shortcuts, longest)
    found: list[dict[int, Score]] = [{} for _ in edits]
    examples = len({request.doc_id for request in requests})
    progress = _Progress(done, examples / max(1, len(requests)))
    by_hooks = [i for i, edit in enumerate(edits) if edit.is_hooked]
    if by_hooks:
        some = [edits[i] for i in by_hooks]
        for number, scores in hooked_scores(model, requests, some, means, shortcuts):
            progress.add(by_hooks[number], scores)
            found[by_hooks[number]].update(scores)
    native = [i for i in range(len(edits)) if i not in by_hooks]
    ours = [edits[i] for i in native]
    for group in group_examples(
        requests, prefixes=shortcuts.prefixes and shortcuts.replay, trees=shortcuts.options
    ):
        budget = shortcuts.token_budget or token_budget(parts, len(group.prefix))

        def work(
            tokens: int, group: Group = group, budget: int = budget
        ) -> Iterator[tuple[int, dict[int, Score]]]:
            run = _replayed if shortcuts.replay else _plain
            # once memory has run out, nothing is held for several ablations at a time
            few = shortcuts if tokens == budget else replace(shortcuts, stacked=False)
            return run(model, group, ours, means, few, tokens)

        for variant, scores in halving(work, budget):
            progress.add(native[variant], scores)
            found[native[variant]].update(scores)
    for edit, scores in zip(edits, found, strict=True):
        scores.update(_settled(model, requests, edit, means, scores))
    return [[scores[n] for n in range(len(requests))] for scores in found]


def _settled(
    model: TransformerBridge,
    requests: Sequence[OptionRequest],
    edit: Edits,
    means: HeadMeans | None,
    scores: Mapping[int, Score],
) -> dict[int, Score]:
    """The failures of one ablation again, in batches of rows of equal length.

    Zero times NaN is NaN: a request whose attention gives no weight to a neighbour in its row, or
    to padding, fails with it. In rows of their own without padding only those fail that do so
    when they are run alone.
    """
    failed = [number for number, (value, _) in sorted(scores.items()) if not isfinite(value)]
    by_length: dict[int, list[int]] = {}
    for number in failed:
        one = requests[number]
        by_length.setdefault(len(one.context) + len(one.continuation), []).append(number)
    found: dict[int, Score] = {}
    for numbers in by_length.values():
        own = [requests[number] for number in numbers]
        if edit.is_hooked:
            again = hooked_scores(model, own, [edit], means, NONE)
        else:
            (group,) = group_examples(own, prefixes=False, trees=False)
            again = _plain(model, group, [edit], means, NONE, token_budget(decoder(model), 0))
        for _, some in again:
            found.update((numbers[at], score) for at, score in some.items())
    return found


class _Progress:
    """Tells of examples as their requests are scored, once, also where some are scored again."""

    def __init__(self, done: Callable[[int], Any], examples_each: float) -> None:
        self._done, self._examples_each = done, examples_each
        self._scored: set[tuple[int, int]] = set()

    def add(self, variant: int, scores: dict[int, Score]) -> None:
        before = round(len(self._scored) * self._examples_each)
        self._scored.update((variant, number) for number in scores)
        self._done(round(len(self._scored) * self._examples_each) - before)


def _plain(
    model: TransformerBridge,
    group: Group,
    edits: Sequence[Edits],
    means: HeadMeans | None,
    shortcuts: Shortcuts,
    tokens: int,
) -> Iterator[tuple[int, dict[int, Score]]]:
    """Every ablated model runs every block on every row."""
    parts = decoder(model)
    for batch in _batches(group, shortcuts, tokens):
        targets = Targets.of(batch, parts.device)
        arguments = batch_arguments(parts, batch, 0)
        ids = torch.from_numpy(batch.ids).to(parts.device)
        for variant, edit in enumerate(edits):
            with edited(model, edit, means):
                resid = record(parts, ids, use_cache=False, **arguments).residuals[-1]
                yield variant, targets.scores(parts, resid)


def _replayed(
    model: TransformerBridge,
    group: Group,
    edits: Sequence[Edits],
    means: HeadMeans | None,
    shortcuts: Shortcuts,
    tokens: int,
) -> Iterator[tuple[int, dict[int, Score]]]:
    """All batches side by side, block by block; each ablation from its first layer on."""
    parts = decoder(model)
    prefix = record_prefix(parts, group.prefix) if group.prefix else None
    first = [edit.first_layer(parts.n_layers) for edit in edits]
    batches = [
        Entering(
            batch,
            Targets.of(batch, parts.device),
            batch_calls(parts, batch, prefix).residuals[0],
            layer=0,
            narrowed=shortcuts.places,
        )
        for batch in _batches(group, shortcuts, tokens)
    ]
    for layer in range(max(first, default=-1) + 1):
        here = [i for i, at in enumerate(first) if at == layer]
        if shortcuts.sublayers and any(behind_attention(edits[i], layer) for i in here):
            batches = [replace(one, attention=KeptAttention()) for one in batches]
        behind = batches
        if batches[0].attention is not None or layer < max(first):
            behind = [one.next(parts, prefix) for one in batches]
        together = [i for i in here if shortcuts.stacked and set(edits[i]) == {layer}]
        most = most_stacked(parts, batches, prefix, tokens)
        if most == 1 or len(together) == 1:
            together = []
        for variant in (i for i in here if i not in together):
            with edited(model, edits[variant], means):
                for scores in _alone(parts, batches, prefix, edits[variant], shortcuts):
                    yield variant, scores
        if together:
            stack = Stack(model, prefix, means, shortcuts.places, most)
            yield from stack.scores(batches, {i: edits[i] for i in together})
        batches = behind


def _alone(
    parts: Decoder,
    batches: Sequence[Entering],
    prefix: Prefix | None,
    edits: Edits,
    shortcuts: Shortcuts,
) -> Iterator[dict[int, Score]]:
    """Scores under one ablation, batch by batch; call it inside `edited(...)`."""
    layer = batches[0].layer
    caches = [prefix_cache(parts, prefix, layer, narrowed=shortcuts.places)] if prefix else []
    reused = behind_attention(edits, layer)
    for one in batches:
        calls = batch_calls(parts, one.batch, prefix)
        yield one.through(parts, parts.n_layers, calls, caches, reused=reused).scores(parts)


def _batches(group: Group, shortcuts: Shortcuts, tokens: int) -> list[Batch]:
    make = packed_batches if shortcuts.options else padded_batches
    return make(group.trees, tokens)

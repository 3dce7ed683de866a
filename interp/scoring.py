"""Log-likelihoods of every request under the baseline and every ablation.

All batches of a group go through the model side by side, one block at a time: the residual stream
that enters layer l is there for every example when the ablations that first act at layer l are
replayed from it, and then it moves on. So memory holds one residual stream, not one a layer, and
the prefix's keys and values under one ablation at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.editing import edited, forward_replaced
from interp.ablations.means import HeadMeans
from interp.ablations.values import Edits
from interp.hook_scoring import hooked_scores, is_hooked
from interp.models import Decoder, decoder
from interp.narrowing import only_at
from interp.packing import Batch, Group, group_examples, packed_batches, padded_batches
from interp.prefix import Prefix, borrow, calls_behind, prefix_cache, record_prefix
from interp.replay import Pass, record, run_block
from interp.requests import OptionRequest
from interp.shortcuts import EVERY, Shortcuts, exact_shortcuts, mask_arguments
from interp.targets import Score, Targets
from interp.token_budget import halving, token_budget


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
        edits: what each ablation changes; `{}` is the baseline.
        means: `[layer, head, d_head]`, where an edit puts mean z.
        shortcuts: what to share and leave out; never changes a result.
        done: told how many (example, ablation) pairs have been computed, as they are.

    Returns:
        For each ablation, for each request: the sum of log-probabilities of its continuation in
        nats, and whether greedy decoding would write it.
    """
    parts = decoder(model)
    longest = max((len(r.context) + len(r.continuation) for r in requests), default=0)
    shortcuts = exact_shortcuts(model, shortcuts, longest)
    found: list[dict[int, Score]] = [{} for _ in edits]
    examples = len({request.doc_id for request in requests})
    progress = _Progress(done, examples / max(1, len(requests)))
    by_hooks = [i for i, edit in enumerate(edits) if is_hooked(edit)]
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

        def work(tokens: int, group: Group = group) -> Iterator[tuple[int, dict[int, Score]]]:
            run = _replayed if shortcuts.replay else _plain
            return run(model, group, ours, means, shortcuts, tokens)

        for variant, scores in halving(work, budget):
            progress.add(native[variant], scores)
            found[native[variant]].update(scores)
    return [[scores[n] for n in range(len(requests))] for scores in found]


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
        arguments = _arguments(parts, batch, 0)
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
    batches = _batches(group, shortcuts, tokens)
    prefix = record_prefix(parts, group.prefix) if group.prefix else None
    targets = [Targets.of(batch, parts.device) for batch in batches]

    def last(layer: int, wanted: Targets) -> AbstractContextManager[None]:
        """The last block, narrowed to where logits are read; any other as it is."""
        if not shortcuts.places or layer < parts.n_layers - 1:
            return nullcontext()
        return only_at(parts, layer, wanted.rows, wanted.columns)

    first = [min(edit, default=parts.n_layers) for edit in edits]
    residuals = [_calls(parts, batch, prefix).residuals[0] for batch in batches]
    for layer in range(max(first, default=-1) + 1):
        here = [i for i, at in enumerate(first) if at == layer]
        behind = [i for i in here if shortcuts.sublayers and _behind_attention(edits[i], layer)]
        entering = [
            _Entering(batch, resid, _Attention() if behind else None)
            for batch, resid in zip(batches, residuals, strict=True)
        ]
        if behind or layer < max(first):
            residuals = [
                _advance(parts, layer, one, prefix, last(layer, wanted))
                for one, wanted in zip(entering, targets, strict=True)
            ]
        for variant in here:
            with edited(model, edits[variant], means):
                cache = prefix_cache(parts, prefix, layer) if prefix else None
                for one, wanted in zip(entering, targets, strict=True):
                    attention = one.attention if variant in behind else None
                    calls = _calls(parts, one.batch, prefix)
                    resid = one.resid
                    own = borrow(cache, len(resid)) if cache is not None else None
                    for at in range(layer, parts.n_layers):
                        with ExitStack() as stack:
                            if attention is not None and at == layer:
                                stack.enter_context(attention.reused(parts, layer))
                            stack.enter_context(last(at, wanted))
                            resid = run_block(parts, at, resid, calls, cache=own)
                    yield variant, wanted.scores(parts, resid)


def _behind_attention(edit: Edits, layer: int) -> bool:
    """Whether the attention of the first edited layer computes what it does in the baseline."""
    if layer not in edit or edit[layer].skip:
        return False
    return all(part == "mlp" for part, _ in edit[layer].swaps)


class _Attention:
    """What one attention computed in the baseline: z, and how it hands out its result."""

    def __init__(self) -> None:
        self.z: Tensor | None = None
        self.others: int | None = None

    def kept(self, parts: Decoder, layer: int) -> ExitStack:
        """Inside the context, the attention's z is kept."""

        def keep_z(_module: Any, args: tuple[Any, ...]) -> None:
            self.z = args[0]

        def keep_form(_module: Any, _args: Any, out: Any) -> None:
            self.others = len(out) - 1 if isinstance(out, tuple) else None

        stack = ExitStack()
        projection, attention = parts.output_projections[layer], parts.attentions[layer]
        stack.callback(projection.register_forward_pre_hook(keep_z).remove)
        stack.callback(attention.register_forward_hook(keep_form).remove)
        return stack

    def reused(self, parts: Decoder, layer: int) -> Any:
        """Inside the context, the attention projects the kept z (edits of it still apply)."""

        def forward(*_args: Any, **_kwargs: Any) -> Any:
            out = parts.output_projections[layer](self.z)
            return out if self.others is None else (out, *[None] * self.others)

        return forward_replaced(parts.attentions[layer], forward)


@dataclass(frozen=True, eq=False)
class _Entering:
    """A batch in front of a layer."""

    batch: Batch
    resid: Tensor
    attention: _Attention | None


def _advance(
    parts: Decoder,
    layer: int,
    one: _Entering,
    prefix: Prefix | None,
    narrowed: AbstractContextManager[None],
) -> Tensor:
    """The baseline's residual stream behind a layer; keeps z where it will be used again."""
    calls = _calls(parts, one.batch, prefix)
    cache = borrow(prefix.cache, len(one.resid)) if prefix else None
    with one.attention.kept(parts, layer) if one.attention else ExitStack(), narrowed:
        return run_block(parts, layer, one.resid, calls, cache=cache)


def _batches(group: Group, shortcuts: Shortcuts, tokens: int) -> list[Batch]:
    make = packed_batches if shortcuts.options else padded_batches
    return make(group.trees, tokens)


def _arguments(parts: Decoder, batch: Batch, prefix: int) -> dict[str, Any]:
    if batch.sees is None or batch.depths is None:
        # causal attention never looks right, so padding there needs no mask
        return {}
    return mask_arguments(parts, batch.sees, batch.depths, prefix)


def _calls(parts: Decoder, batch: Batch, prefix: Prefix | None) -> Pass:
    """The batch's call arguments: made anew when wanted, for masks are large and quickly made."""
    ids = torch.from_numpy(batch.ids).to(parts.device)
    return calls_behind(parts, ids, prefix, **_arguments(parts, batch, len(prefix or ())))

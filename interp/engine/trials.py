"""Trials of the shortcuts on a model: random tokens, against its own pass over each row alone."""

import weakref
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits, Example, LayerEdit, edited
from interp.engine.comparing import (
    CANNOT,
    LARGEST,
    around,
    close,
    holds,
    projects,
    random_tokens,
    same_logits,
)
from interp.engine.generation.plain import PlainRow, RowCaching, forced_logits
from interp.engine.generation.probing import ragged_residuals
from interp.engine.kinds_of_layers import filled, only, standing_for_all
from interp.engine.last_block import compute_at_positions
from interp.engine.prefix import (
    Prefix,
    calls_after,
    prefix_cache,
    read_only_cache,
    record_prefix,
)
from interp.engine.replay import Pass, call_arguments, record, replay, run_block, unembed
from interp.engine.scoring.masks import mask_arguments
from interp.models import Decoder

Caching = Literal["kept", "rebuilt", "none"]


class Trials:
    """What can be tried on a model; `at` is a length that rows exceed, 0 for short rows."""

    def __init__(self, model: TransformerBridge) -> None:
        self._model = weakref.ref(model)

    @property
    def model(self) -> TransformerBridge:
        """The bridge, which must be alive."""
        model = self._model()
        if model is None:
            raise ReferenceError("the model is gone")
        return model

    @property
    def _decoder(self) -> Decoder:
        return models.decoder(self.model)

    @cached_property
    def _two_rows(self) -> tuple[Tensor, Pass]:
        """Two rows of a few tokens, and the model's own pass over both; several trials begin so."""
        ids = random_tokens(self._decoder, 2, min(5, self._decoder.max_length))
        return ids, record(self._decoder, ids, use_cache=False)

    @cached_property
    def replays(self) -> bool:
        """Whether blocks called one by one, from any of them on, give what the model gives."""
        dec = self._decoder

        def same() -> bool:
            ids, whole = self._two_rows
            # anew: blocks may hand on what they compute in their arguments (Gemma 4)
            calls = call_arguments(dec, ids, use_cache=False)
            ends = sorted({0, dec.n_layers // 2, dec.n_layers - 1, dec.n_layers})
            # the last part first, so that none can use what an earlier one computed
            for first, end in reversed(list(pairwise(ends))):
                resid = whole.residuals[first]
                for layer in range(first, end):
                    resid = run_block(dec, layer, resid, calls)
                if not torch.equal(resid, whole.residuals[end]):
                    return False
            return True

        return holds(same)

    @cached_property
    def _layers(self) -> tuple[int, ...]:
        """Layers that stand for all; all of them where a block depends on others."""
        dec = self._decoder
        return (
            standing_for_all(dec, self._two_rows[1]) if self.replays else tuple(range(dec.n_layers))
        )

    def _holds(self, same: Callable[[], bool]) -> bool:
        """What a trial says on the layers that stand for all."""
        with only(self._decoder, self._layers):
            return holds(same)

    def runs_without(self, layers: tuple[int, ...]) -> bool:
        """Whether the model runs at all when these layers are skipped."""
        ids = random_tokens(self._decoder, 1, 3)
        skips = Edits({layer: LayerEdit(skip=True) for layer in layers})

        def runs() -> bool:
            with edited(self.model, skips) as dec:
                record(dec, ids, use_cache=False)
            return True

        return holds(runs)

    def cuts(self, layer: int) -> bool:
        """Whether a position of a block no longer depends on those from which it is cut off."""
        dec, ids = self._decoder, random_tokens(self._decoder, 1, 7)
        edits = Edits({layer: LayerEdit(cuts=frozenset([("answering", "hidden")]))})
        answering = slice(5, None)

        def same() -> bool:
            baseline = record(dec, ids, use_cache=False)
            resid = baseline.residuals[layer]
            perturbed = resid.clone()
            perturbed[:, 3:5] = -resid[:, 3:5].flip(-1)

            def run(entering: Tensor, hidden: frozenset[int]) -> Tensor:
                example = Example(6, {"hidden": hidden})
                with edited(self.model, edits, example=example):
                    return run_block(dec, layer, entering, baseline)

            plain, cut = run_block(dec, layer, resid, baseline), frozenset({3, 4})
            with_cut, seen = run(resid, cut), run(perturbed, frozenset())[:, answering]
            return (
                close(run(resid, frozenset()), plain)
                and close(with_cut[:, :5], plain[:, :5])
                and close(run(perturbed, cut)[:, answering], with_cut[:, answering])
                and not close(seen, plain[:, answering])
            )

        return holds(same)

    def windows(self, layer: int) -> bool:
        """Whether one head of a block loses sight of some positions, and no other head does."""
        dec, ids = self._decoder, random_tokens(self._decoder, 1, 7)

        def z(edit: LayerEdit) -> Float[Tensor, "pos head d_head"]:
            inputs: list[Tensor] = []
            projection = dec.output_projections[layer]
            handle = projection.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
            try:
                with edited(self.model, Edits({layer: edit}), example=Example(6, {})):
                    run_block(dec, layer, baseline.residuals[layer], baseline)
            finally:
                handle.remove()
            return inputs[0][0].flatten(start_dim=1).unflatten(-1, (dec.n_heads, -1))

        def same() -> bool:
            whole, with_window = z(LayerEdit()), z(LayerEdit(windows=frozenset([(0, 1, 2)])))
            # what position 5 of the first head no longer sees
            by_hand = z(LayerEdit(cuts=frozenset([("5", "1-3")])))
            return (
                close(with_window[:, 1:], whole[:, 1:])
                and close(with_window[:3, :1], whole[:3, :1])
                and close(with_window[5:6, :1], by_hand[5:6, :1])
                and not close(with_window[5:6, :1], whole[5:6, :1])
            )

        baseline = record(dec, ids, use_cache=False)
        return holds(same)

    def reuses_attention(self) -> bool:
        """Whether each attention's output is its output projection of z and nothing else.

        Then an ablated head's attention follows from the baseline's z.
        """
        dec = self._decoder
        ids = random_tokens(dec, 1, 5)
        # one layer of each kind, and the last
        kinds = {parts.kind: layer for layer, parts in enumerate(dec.parts)}
        layers = sorted({0, dec.n_layers - 1, *kinds.values()})
        with only(dec, (*layers, *self._layers)):
            return holds(lambda: projects(dec, ids, layers))

    def narrows_last_block(self) -> bool:
        """Whether the last block gives the same at a position when it is computed there only.

        It is not so where the MLP takes the residual stream beside its input (BLOOM) or sees rows
        and positions as one axis (OPT).
        """
        dec, last = self._decoder, self._decoder.n_layers - 1
        rows = torch.tensor([0, 1, 1], device=dec.device)
        columns = torch.tensor([4, 0, 3], device=dec.device)

        def same() -> bool:
            _, whole = self._two_rows
            with compute_at_positions(dec, last, rows, columns):
                narrowed = run_block(dec, last, whole.residuals[last], whole)[rows, columns]
            return close(narrowed, whole.residuals[-1][rows, columns])

        return holds(same)

    def _whole(self, row: Int[Tensor, " pos"]) -> Float[Tensor, "pos d_model"]:
        """The residual stream that leaves the last block, of one row alone."""
        return record(self._decoder, row[None], use_cache=False).residuals[-1][0]

    def _whole_rows(self, rows: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos d_model"]:
        """The same of rows of one length: together where that is exact, else one by one."""
        if self._rows_are_apart:
            return record(self._decoder, rows, use_cache=False).residuals[-1]
        return torch.stack([self._whole(row) for row in rows])

    @cached_property
    def _rows_are_apart(self) -> bool:
        """Whether two short rows, padded on the right, are as each alone."""
        dec = self._decoder
        ids, _ = self._two_rows
        with only(dec, self._layers):
            whole = record(dec, ids, use_cache=False)
            return self._padded(ids, whole, min(3, ids.shape[1] - 1))

    def pads(self, at: int, *, beyond: bool = False) -> bool:
        """Two rows of different lengths, padded on the right, against each alone."""
        dec = self._decoder
        if not at:
            return holds(lambda: self._rows_are_apart)
        short, long = around(at, dec.max_length, 3, 5)
        if beyond:
            short, long = at + 1, min(at + 5, dec.max_length)
        ids = random_tokens(dec, 2, long)
        return self._holds(lambda: self._padded(ids, record(dec, ids, use_cache=False), short))

    def _padded(self, ids: Int[Tensor, "row pos"], whole: Pass, short: int) -> bool:
        """Whether the first tokens of one row, and another row, are what each is alone."""
        final_residuals = whole.residuals[-1]
        with torch.no_grad():
            return close(final_residuals[0, :short], self._whole(ids[0, :short])) and close(
                final_residuals[1], self._whole(ids[1])
            )

    def prefixes(self, at: int) -> bool:
        """Two rows after a cached prefix, from the first block and from a later one on."""
        dec = self._decoder
        length, long = around(at, dec.max_length, 4, 9)
        ids = random_tokens(dec, 2, long)
        ids[1, :length] = ids[0, :length]

        def same() -> bool:
            shared = self._prefix(ids[0, :length])
            calls = calls_after(dec, ids[:, length:], shared)
            expected = self._whole_rows(ids)[:, length:]
            for first in sorted({0, dec.n_layers // 2}):
                resid = calls.residuals[0]
                shared_cache = read_only_cache([shared.cache] * len(ids))
                for layer in range(first):
                    resid = run_block(dec, layer, resid, calls, cache=shared_cache)
                own = filled(prefix_cache(dec, shared, first), dec.n_layers)
                caches = read_only_cache([own] * len(ids))
                for layer in range(first, dec.n_layers):
                    resid = run_block(dec, layer, resid, calls, cache=caches)
                if not close(resid, expected):
                    return False
            return True

        return self._holds(same)

    def _prefix(self, tokens: Int[Tensor, " pos"]) -> Prefix:
        """Keys and values of a prefix, in the layers that compute; the others' are never read."""
        shared = record_prefix(self._decoder, tokens.tolist())
        filled(shared.cache, self._decoder.n_layers)
        return shared

    def packs(self, at: int, *, before: bool = False, prefixes: bool = True) -> bool:
        """Two questions of two options each in one row, against four rows of their own.

        Args:
            at: the length that the rows exceed.
            before: the rows end before it, and only the packed row exceeds it.
            prefixes: try it after a cached prefix, too.
        """
        dec = self._decoder
        n_prefix = max(1, at - 6 if before else at - 3) if at else 5
        n_prefix = min(n_prefix, dec.max_length - 8)
        if n_prefix < 1:
            return False
        drawn = random_tokens(dec, n_prefix + 12)
        prefix, tokens = drawn[:n_prefix], drawn[n_prefix:]
        parents, ends = [-1, 0, 1, 2, 1, 4, -1, 6, 7, 8, 7, 10], [3, 5, 9, 11]
        sees = np.eye(12, dtype=bool)
        depths = np.zeros(12, dtype=np.int64)
        for node, parent in enumerate(parents):
            if parent >= 0:
                sees[node] |= sees[parent]
                depths[node] = depths[parent] + 1
        # with a prefix that is cached, and with one that is part of the packed row
        whole_sees = np.tril(np.ones((n_prefix + 12, n_prefix + 12), dtype=bool))
        whole_sees[n_prefix:, n_prefix:] = sees
        whole_depths = np.concatenate([np.arange(n_prefix), n_prefix + depths])

        def same() -> bool:
            nodes = [torch.from_numpy(np.flatnonzero(sees[end])) for end in ends]
            # all are of one length
            rows = self._whole_rows(torch.stack([torch.cat([prefix, tokens[p]]) for p in nodes]))

            def same_paths(packed: Tensor) -> bool:
                return all(
                    close(packed[path], row[n_prefix:])
                    for path, row in zip(nodes, rows, strict=True)
                )

            if prefixes:
                shared = self._prefix(prefix)
                arguments = mask_arguments(dec, sees[None], depths[None], n_prefix)
                calls = calls_after(dec, tokens[None], shared, **arguments)
                if not same_paths(replay(dec, calls, 0)[0]):
                    return False
            arguments = mask_arguments(dec, whole_sees[None], whole_depths[None], 0)
            calls = calls_after(dec, drawn[None], None, **arguments)
            return same_paths(replay(dec, calls, 0)[0, n_prefix:])

        return self._holds(same)

    def ragged(self, at: int, first: int) -> float | None:
        """Largest difference of logits under the ragged attention; None where it is no rounding."""
        dec, n_own = self._decoder, 13
        # below the first change, or across one
        start = at - 6 if at else min(11, first - n_own)
        n_prefix = max(1, min(start, dec.max_length - n_own - 1))
        if dec.max_length < n_prefix + n_own + 1 or not self.replays:
            return None
        size = int(dec.root.config.get_text_config().vocab_size)
        ids = torch.arange(2 * (n_prefix + n_own), device=dec.device) * 7919 % size
        ids = ids.view(2, -1)
        ids[1, :n_prefix] = ids[0, :n_prefix]
        try:
            whole = torch.stack([self._whole(row)[n_prefix:] for row in ids])
            residuals = ragged_residuals(dec, ids, n_prefix)
            expected, residuals = (
                torch.cat(list(unembed(dec, x.flatten(0, 1)))).float() for x in (whole, residuals)
            )
        except CANNOT:
            # an architecture that cannot even be called so
            return None
        difference = (residuals - expected).abs().max().item()
        largest = LARGEST.get(next(dec.root.parameters()).dtype, 1e-4)
        return difference if difference <= largest * expected.abs().max().item() else None

    def caching(self, at: int) -> Caching:
        """One row, token by token: which way of caching gives what the whole text gives."""
        model = self.model
        dec = self._decoder
        prompt, end = around(at, dec.max_length, 4, 8)
        row = random_tokens(dec, end)
        ways: tuple[Caching, ...] = ("kept", "rebuilt")
        for caching in ways:

            def same(caching: Caching = caching) -> bool:
                beyond = (at,) if caching == "rebuilt" else ()
                plain = PlainRow(model, row[:prompt].tolist(), Edits(), RowCaching(True, beyond))
                written = row[prompt:].tolist()
                stepwise = [plain.next_logits(written[:n]) for n in range(len(written))]
                lengths = range(prompt, end)
                expected = [self._whole(row[:length])[-1] for length in lengths]
                logits = torch.cat(list(unembed(dec, torch.stack(expected))))
                return same_logits(torch.stack(stepwise), logits)

            if self._holds(same):
                return caching
        return "none"

    def pads_left(self, at: int) -> bool:
        """Two prompts padded on the left, decoded twice from one pass over them."""
        model = self.model
        dec = self._decoder
        short, long = around(at, dec.max_length, 3, 8)
        ids = random_tokens(dec, 2, long)
        prompts = [ids[0, : long - 4], ids[1, : short - 1 if short > 2 else 1]]
        forced = ids[:, -2:]

        def same() -> bool:
            token_rows = [prompt.tolist() for prompt in prompts]
            # twice: what one ablation decodes must not reach the next
            for logits in forced_logits(model, token_rows, forced, times=2):
                rows = [
                    torch.cat([prompt, tokens[:n]])
                    for n in range(3)
                    for prompt, tokens in zip(prompts, forced, strict=True)
                ]
                last = torch.stack([self._whole(row)[-1] for row in rows])
                if not same_logits(logits.flatten(0, 1), torch.cat(list(unembed(dec, last)))):
                    return False
            return True

        return self._holds(same)

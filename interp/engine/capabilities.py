"""What is exact on a model: tried on the model itself, once, in the regimes where it could fail.

Nothing here is looked up in a list of architectures. A shortcut is run on random tokens and
compared with the model's own pass over each row alone. Some architectures compute differently
beyond a length: a sliding window, a chunk of attention, a rotary table that is exchanged for
another (LongRoPE), a scale of the queries by position (Llama 4), keys that are chosen (DeepSeek's
sparse attention). Each such length that the work reaches is a separate regime: a shortcut is tried
again there, with rows on both sides of it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Edits
from interp.engine.comparing import random_tokens
from interp.engine.generation.plain import RowCaching
from interp.engine.generation.probing import replaceable
from interp.engine.replay import record
from interp.engine.trials import Caching, Trials
from interp.errors import UserError
from interp.models import decoder, model_name

# names of configuration entries that say at which length something changes
CHANGES = re.compile(r"window|chunk|original_max_position|floor_scale|index_topk")
# packed rows are at least about so long, whatever the length of the examples in them
PACKED_ROW = 256


class Capabilities:
    """Which shortcuts give a model's own results; each is tried when it is first asked for."""

    def __init__(self, model: TransformerBridge) -> None:
        self._trials = Trials(model)
        self._tried: dict[tuple[Any, ...], Any] = {}
        self.said: set[str] = set()

    @cached_property
    def changes(self) -> tuple[int, ...]:
        """Lengths in tokens beyond which the model may compute differently, ascending."""
        dec = decoder(self._trials.model)
        config = dec.root.config.get_text_config().to_dict()
        return tuple(sorted(set(_lengths(config, dec.max_length))))

    def reached(self, longest: int) -> tuple[int, ...]:
        """The regimes of rows of up to `longest` tokens: 0, and every length that they exceed."""
        return (0, *(at for at in self.changes if at < longest))

    @cached_property
    def replays(self) -> bool:
        """Whether blocks called one by one, from any of them on, give what the model gives."""
        return self._trials.replays

    @cached_property
    def reuses_attention(self) -> bool:
        """Whether each attention's output is its output projection of z and nothing else.

        Then an ablated head's attention follows from the baseline's z.
        """
        return self._trials.reuses_attention()

    @cached_property
    def narrows_last_block(self) -> bool:
        """Whether the last block gives the same at a position when it is computed there only.

        It is not so where the MLP takes the residual stream beside its input (BLOOM) or sees rows
        and positions as one axis (OPT).
        """
        return self._trials.narrows_last_block()

    def crosses(self, at: int) -> bool:
        """Whether rows on both sides of a change can share what rows below it share."""
        trials: dict[str, Callable[[int], Any]] = {
            "pads": self._trials.pads, "prefixes": self._trials.prefixes, "packs": self._packs
        }  # fmt: skip
        return all(
            self._try(name, at, trial) or not self._try(name, 0, trial)
            for name, trial in trials.items()
        )

    def pads_beyond(self, at: int) -> bool:
        """Whether rows of different lengths, all beyond a change, can be padded together."""
        return bool(self._try("pads beyond", at, lambda at: self._trials.pads(at, beyond=True)))

    def pads(self, longest: int) -> bool:
        """Whether short rows and long ones can be padded on the right and run together."""
        return all(self._try("pads", at, self._trials.pads) for at in self.reached(longest))

    def shares_prefixes(self, longest: int) -> bool:
        """Whether rows can be run after the cached keys and values of what they start with."""
        return all(self._try("prefixes", at, self._trials.prefixes) for at in self.reached(longest))

    def packs(self, longest: int) -> bool:
        """Whether options can be packed in one row, with a mask and positions that are given to it.

        Packed rows are longer than what is in them, so that their columns reach a change of the
        model where the positions of their tokens do not.
        """
        inside = all(self._try("packs", at, self._packs) for at in self.reached(longest))
        return inside and all(
            self._try("packs before", at, lambda at: self._packs(at, before=True))
            for at in self.reached(longest + PACKED_ROW)
            if at >= longest
        )

    def rounding(self, longest: int) -> float | None:
        """By how much logits of the ragged attention differ from the model's own, at most.

        None where they do by more than rounding: an architecture that does something else in its
        attention (ALiBi, attention sinks, a wrapper of its own) is decoded by the plain path.
        """
        if not replaceable(decoder(self._trials.model)):
            return None
        roundings = [self._try("ragged", at, self._ragged) for at in self.reached(longest)]
        return None if None in roundings else max(roundings)

    def caching(self, longest: int) -> RowCaching:
        """How one row is decoded exactly up to a length: with a cache, or without."""
        by_layer: dict[int, Caching] = {
            at: self._try("caching", at, self._trials.caching) for at in self.reached(longest)
        }
        return RowCaching(
            cached="none" not in by_layer.values(),
            rebuilt_beyond=tuple(at for at, outcome in by_layer.items() if outcome == "rebuilt"),
        )

    def pads_left(self, longest: int) -> bool:
        """Whether prompts padded on the left can be decoded together, ablation by ablation."""
        return all(
            self._try("pads left", at, self._trials.pads_left) for at in self.reached(longest)
        )

    def runs_without(self, layers: tuple[int, ...]) -> bool:
        """Whether the model runs at all when these layers are skipped."""
        key = ("runs without", layers)
        if key not in self._tried:
            self._tried[key] = self._trials.runs_without(layers)
        return bool(self._tried[key])

    def cuts(self, layer: int) -> bool:
        """Whether attention of some positions to others can be cut in a layer."""
        return bool(self._try("cuts", layer, self._trials.cuts))

    def windows(self, layer: int) -> bool:
        """Whether one head alone can lose sight of some positions in a layer."""
        return bool(self._try("windows", layer, self._trials.windows))

    def _packs(self, at: int, *, before: bool = False) -> bool:
        prefixes = self._try("prefixes", at, self._trials.prefixes)
        return self._trials.packs(at, before=before, prefixes=prefixes)

    def _ragged(self, at: int) -> float | None:
        dec = decoder(self._trials.model)
        return self._trials.ragged(at, min(self.changes, default=dec.max_length))

    def _try(self, name: str, at: int, trial: Callable[[int], Any]) -> Any:
        if (name, at) not in self._tried:
            self._tried[name, at] = trial(at)
        return self._tried[name, at]


def capabilities(model: TransformerBridge) -> Capabilities:
    """What is exact on a model; the same object each time, kept with the model's decoder."""
    attributes = decoder(model).__dict__
    if "capabilities" not in attributes:
        attributes["capabilities"] = Capabilities(model)
    known: Capabilities = attributes["capabilities"]
    return known


def refuse_impossible(model: TransformerBridge, ablations: Sequence[Edits]) -> None:
    """Refuse ablations under which the model cannot run at all, before any work.

    In some models (Gemma 3n, Gemma 4) later layers use the keys and values of earlier ones: what
    makes those cannot be skipped. Only ablations that skip layers are tried, only on such models,
    whose blocks are not replayed, and every set of skipped layers once for each loaded model. Where
    tokens are mixed by something else than attention (a recurrence, a convolution) nothing is cut.

    Args:
        model: a bridge.
        ablations: what each ablation changes.

    Raises:
        UserError: a layer cannot be skipped, or attention cannot be cut in it.
    """
    can = capabilities(model)
    # of all pairs of heads a hundred thousand ablations have a few hundred edits
    every = {id(edit): (n, edit) for edits in ablations for n, edit in edits.items()}.values()
    for layer in sorted({n for n, edit in every if edit.cuts}):
        if not can.cuts(layer):
            _refuse_not_finite(model)
            raise UserError(
                f"model {model_name(model)}: what mixes the tokens of layer {layer} takes no mask "
                "of ours, so that nothing can be cut there"
            )
    for layer in sorted({n for n, edit in every if edit.windows}):
        if not can.windows(layer):
            _refuse_not_finite(model)
            raise UserError(
                f"model {model_name(model)}: layer {layer} takes no mask of ours for each head, so "
                "that no head of it can have a window"
            )
    if can.replays:
        return
    for edits in ablations:
        missing = tuple(n for n, edit in edits.items() if not edit.runs_block)
        if missing and not can.runs_without(missing):
            _refuse_not_finite(model)
            shown = ", ".join(map(str, missing))
            raise UserError(
                f"model {model_name(model)}: it cannot run without layer {shown}, whose keys and "
                "values later layers use; skip its attention or its MLP (attn:N, mlp:N)"
            )


def _refuse_not_finite(model: TransformerBridge) -> None:
    """Name the true reason where nothing can be tried: the model itself gives no numbers."""
    dec = decoder(model)
    residuals = record(dec, random_tokens(dec, 1, 5), use_cache=False).residuals
    for depth, residual in enumerate(residuals):
        if not bool(residual.isfinite().all()):
            raise UserError(
                f"model {model_name(model)}: its residual stream is not finite (NaN) at depth "
                f"{depth}, so that nothing can be cut or skipped in it"
            )


def _lengths(config: dict[Any, Any], most: int) -> Iterator[int]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _lengths(value, most)
        elif CHANGES.search(str(name)) and type(value) is int and 1 < value < most:
            yield value

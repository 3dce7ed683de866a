"""`with interp.ablate(model, "layer:7"):` on the bridge, by TransformerLens' own hooks."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.base import Ablation, Combination
from interp.ablations.edits import Edits, LayerEdit
from interp.ablations.kinds import Activations, Hook, kinds_of
from interp.ablations.mean import Means, mean_outputs
from interp.ablations.one_thread import busy, one_thread
from interp.ablations.resample import outputs_on
from interp.ablations.shapes import shape_of
from interp.ablations.text import as_ablation
from interp.ablations.user_hooks import with_points
from interp.ablations.value_checks import function_or_refusal, layer_of_point
from interp.ablations.values import check_donor_used, with_donor
from interp.ablations.weights import check_donor
from interp.errors import UserError
from interp.models import (
    Decoder,
    bridge_in_order,
    check_expert,
    check_order_can_change,
    decoder,
    evaluation_mode,
    model_name,
)


@dataclass(frozen=True, eq=False)
class _Context:
    """What one `ablate` context does to a model."""

    edits: Edits
    means: Means | None
    n_hooks: int


# hooks are the model's, so what is active is kept by model; `one_thread` lets one thread in
_contexts: "WeakKeyDictionary[TransformerBridge, list[_Context]]" = WeakKeyDictionary()


def checked_edits(
    model: TransformerBridge,
    ablation: str | Ablation | Iterable[str | Ablation],
    *,
    donor: TransformerBridge | None = None,
) -> Edits:
    """The edits of an ablation, checked against the model before any work is done.

    Args:
        model: a bridge.
        ablation: a text, an ablation, or several of them (their combination).
        donor: the other model, for swaps that do not name one.

    Returns:
        What changes in each layer, without an entry for a layer that stays as it is.

    Raises:
        UserError: malformed text, a number out of range, a missing or unfitting donor.
    """
    (edits,) = checked_edits_of([as_ablation(ablation)], model, donor=donor)
    return edits


def checked_edits_of(
    ablations: Iterable[Ablation],
    model: TransformerBridge,
    *,
    donor: TransformerBridge | None = None,
) -> list[Edits]:
    """The edits of many ablations, each checked against the model.

    Parts that several combinations share are looked at once: all pairs of the heads of a model are
    a hundred thousand combinations of a few hundred parts.

    Args:
        ablations: the ablations.
        model: a bridge.
        donor: the other model, for swaps that do not name one.

    Returns:
        For each of them what changes in each layer.

    Raises:
        UserError: a number out of range, a missing or unfitting donor.
    """
    shape, checked = shape_of(model), []
    # by identity; the value beside it keeps the part alive
    parts: dict[int, tuple[Ablation, Edits]] = {}
    looked_at: dict[int, LayerEdit] = {}
    for ablation in ablations:
        parts_of_ablation = ablation.parts if isinstance(ablation, Combination) else (ablation,)
        for part in parts_of_ablation:
            if id(part) not in parts:
                parts[id(part)] = part, with_points(model, with_donor(part, donor)).edits(shape)
        own = [parts[id(part)][1] for part in parts_of_ablation]
        edits = own[0] if len(own) == 1 else Edits.merged(own)
        if edits.is_scoped or not all(id(edit) in looked_at for edit in edits.values()):
            _check(model, ablation, edits)
            looked_at |= {id(edit): edit for edit in edits.values()}
        checked.append(edits)
    return checked


def _check(model: TransformerBridge, named: Ablation, edits: Edits) -> None:
    """Raise UserError for edits that the model, or a donor, does not allow."""
    if edits.order:
        check_order_can_change(model)
    if edits.is_scoped:
        _check_scopes(edits, named)
    for layer, edit in edits.items():
        every = edit.everywhere_and_scoped
        if any(
            block_edit.zero_heads
            or block_edit.mean_heads
            or block_edit.resample_heads
            or block_edit.windows
            for block_edit in every
        ):
            decoder(model).check_heads(layer)
        _check_parts(decoder(model), layer, every)
        for part, other in edit.swaps:
            decoder(other)
            check_donor(model, other, layer, part)


def _check_parts(decoder: Decoder, layer: int, every: Sequence[LayerEdit]) -> None:
    """Raise UserError where a layer does not have the part that is skipped or replaced."""
    for edit in every:
        for part, skipped in (("attention", edit.skip_attention), ("mlp", edit.skip_mlp)):
            if skipped:
                decoder.check_part(layer, part)
        replaced = edit.mean_parts | edit.resample_parts
        if edit.linear or "layer" in replaced:
            decoder.check_one_stream(f"layer {layer}: a replaced layer")
        for part in replaced:
            decoder.check_part(layer, part, alone=True)
        for expert in sorted(edit.removed_experts | edit.zeroed_experts):
            check_expert(decoder, layer, expert)
        for patch in edit.patches:
            decoder.check_part(layer, patch.site, alone=True)
            if patch.site == "resid":
                decoder.check_one_stream(f"layer {layer}: a patch of what enters it")
            if patch.site == "z":
                decoder.check_heads(layer)


def _check_scopes(edits: Edits, named: Ablation) -> None:
    """Raise UserError for what cannot act at some positions only."""
    if edits.is_by_example or edits.is_hooked:
        raise UserError(
            f"{named}: a scope is not combined with @resample, cuts or hooks of your own"
        )
    for edit in edits.values():
        for _, inner in edit.scoped:
            for kind in kinds_of(inner):
                if isinstance(kind.on_positions, str):
                    raise UserError(f"{named}: {kind.on_positions}")


@contextmanager
def ablate(
    model: TransformerBridge,
    ablation: str | Ablation | Iterable[str | Ablation],
    *,
    donor: TransformerBridge | None = None,
    reference: Sequence[str] | None = None,
) -> Iterator[TransformerBridge]:
    """Ablate a model inside a `with` block: forward, `generate`, `run_with_cache`, your hooks.

    Works through TransformerLens' hooks, so cached activations show the ablated values, and
    leaves the model exactly as it was, also after an exception. Contexts nest.

    Args:
        model: a TransformerBridge from `interp.load_model`, or booted by hand.
        ablation: a text such as `"layer:7"`, a value such as `SkipLayer(7)`, or several.
        donor: the other model, for swaps that do not name one.
        reference: texts over which `@mean` averages, and whose activations `@resample` takes: row
            i of a batch takes those of text i (after the last text the first again), aligned at the
            last position; a call with one position, as in decoding, takes the text's last.

    Yields:
        The same model. It is ablated until the block ends.

    Raises:
        UserError: as `checked_edits`; `@mean` or `@resample` without a reference set; a donor and
            no swap.
        RuntimeError: a block ran but the hook that should have changed it never fired.
    """
    given = as_ablation(ablation)
    check_donor_used([given], donor)
    edits = checked_edits(model, given, donor=donor)
    with bridge_edited(model, edits, _activations(model, edits, reference)):
        yield model


@contextmanager
def bridge_edited(
    model: TransformerBridge, edits: Edits, given: Activations | None = None
) -> Iterator[None]:
    """Inside the context, the bridge computes as the edits say, by TransformerLens' own hooks.

    The model is in evaluation mode for the duration: dropout would act beside the ablation.

    Args:
        model: a bridge.
        edits: what changes, layer by layer (`checked_edits`).
        given: means and other examples' activations, where an edit puts them.

    Yields:
        None; the bridge is as it was afterwards.

    Raises:
        UserError: another thread is ablating the model, or runs it.
        RuntimeError: a block ran but the hook that should have changed it never fired.
    """
    given, watch = given or Activations(), _Watch(model)
    if given.places is None and edits.needs_positions:
        raise UserError(
            "a hook of your own asks for positions, and a forward pass does not say where its "
            "prompt ends; use a sweep or interp.generate, or give the argument a default"
        )
    Edits.merged([*(context.edits for context in _contexts.get(model, [])), edits])
    with ExitStack() as stack:
        stack.enter_context(one_thread(model))
        stack.enter_context(evaluation_mode(model))
        if edits.order:
            stack.enter_context(bridge_in_order(model, edits.order))
        hooks = []
        for layer, edit in edits.items():
            for kind in kinds_of(edit):
                if kind.weights is not None:
                    stack.enter_context(kind.weights(model, layer, edit))
                pairs = function_or_refusal(kind.on_bridge, layer)(model, layer, edit, given)
                hooks += [(name, watch.counted(name, hook)) for name, hook in pairs]
        points = {layer_of_point(name) for name, _ in hooks}
        for layer in (point for point in points if point is not None):
            handle = model.blocks[layer].register_forward_pre_hook(watch.block(layer))
            stack.callback(handle.remove)
        stack.enter_context(model.hooks(fwd_hooks=hooks))
        context = _Context(edits, given.means, len(hooks))
        contexts = _contexts.setdefault(model, [])
        contexts.append(context)
        stack.callback(contexts.remove, context)
        yield
    watch.check(model_name(model))


def active_edits(model: TransformerBridge) -> tuple[Edits, Means | None]:
    """What the `ablate` contexts around a model change together, and their means.

    Args:
        model: a bridge.

    Returns:
        The merged edits (empty outside of `ablate`), and the means that `@mean` puts, or None where
        no context has any.

    Raises:
        UserError: other hooks are active, or two contexts hold different means.
    """
    contexts = _contexts.get(model, [])
    means: Means | None = None
    for context in contexts:
        if context.means is not None and means is not None:
            raise UserError("@mean: only one of the nested contexts may hold a reference set")
        means = context.means if context.means is not None else means
        if context.edits.is_hooked or context.edits.is_resampled or context.edits.is_windowed:
            raise UserError(
                f"model {model_name(model)}: hooks of your own, @resample and @window do not reach "
                "the native blocks; use model.generate"
            )
    n_own_hooks = sum(context.n_hooks for context in contexts)
    # one point has several names
    points = {id(point): point for point in model.hook_dict.values()}.values()
    active = sum(not hook.is_permanent for point in points for hook in point.fwd_hooks)
    if active > n_own_hooks:
        raise UserError(
            f"model {model_name(model)}: {active - n_own_hooks} hooks of your own are active and "
            "the native blocks would not see them; use model.generate, or call model.reset_hooks()"
        )
    return Edits.merged(context.edits for context in contexts), means


class _Watch:
    """Counts what ran, so that an ablation that silently does nothing is an error."""

    def __init__(self, model: TransformerBridge) -> None:
        self.model, self.thread = model, threading.get_ident()
        self.fired: dict[str, int] = {}
        self.ran: set[int] = set()

    def counted(self, name: str, function: Hook) -> Hook:
        self.fired.setdefault(name, 0)

        # TransformerLens calls hooks as f(value, hook=point)
        def counting(value: Any, hook: Any = None) -> Tensor | None:
            if threading.get_ident() != self.thread:
                raise busy(self.model)
            self.fired[name] += 1
            return function(value, hook=hook)

        return counting

    def block(self, layer: Any) -> Callable[..., None]:
        return lambda *_: self.ran.add(layer)

    def check(self, name: str) -> None:
        for point, count in self.fired.items():
            if count == 0 and layer_of_point(point) in self.ran:
                raise RuntimeError(
                    f"model {name}: hook {point} never fired although its block ran; the "
                    "ablation did nothing"
                )


def refuse_hooks(model: TransformerBridge, work: str) -> None:
    """Raise UserError where hooks are active that work on the native blocks would not see.

    Args:
        model: a bridge.
        work: what is about to run, for the message (`a sweep`).
    """
    # permanent hooks are TransformerLens' own, part of how it runs an architecture (OPT)
    active = [
        name
        for name, point in model.hook_dict.items()
        if any(not hook.is_permanent for hook in point.fwd_hooks)
    ]
    if active:
        raise UserError(
            f"model {model_name(model)}: {len(active)} hooks are active ({active[0]}) and {work} "
            "would not see them; leave the `with` block, or call model.reset_hooks()"
        )


def _activations(
    model: TransformerBridge, edits: Edits, reference: Sequence[str] | None
) -> Activations:
    """What `@mean` and `@resample` take from the reference texts."""
    texts = [reference] if isinstance(reference, str) else reference
    if not texts:
        if edits.uses_mean:
            raise UserError(
                f"{edits.named('mean')}: it needs a reference set; give reference=[TEXTS]"
            )
        if edits.is_resampled:
            raise UserError(
                f"{edits.named('resample')}: another example is needed; give reference=[TEXTS]"
            )
        return Activations()
    places, encode = edits.resampled, decoder(model).tokenizer.encode
    return Activations(
        means=mean_outputs(model, texts, linear=edits.linear_layers) if edits.uses_mean else None,
        sources=[outputs_on(model, encode(text), places) for text in texts] if places else (),
    )

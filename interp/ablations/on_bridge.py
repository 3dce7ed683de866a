"""`with interp.ablate(model, "layer:7"):` on the bridge, by TransformerLens' own hooks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.edits import Edits, LayerEdit
from interp.ablations.families import shape_of
from interp.ablations.mean import HeadMeans, head_means
from interp.ablations.resample import aligned, head_outputs
from interp.ablations.text import as_ablation
from interp.ablations.user_hooks import with_points
from interp.ablations.values import Ablation, layer_of_point, with_donor
from interp.ablations.weights import check_donor, swapped
from interp.errors import UserError
from interp.models import decoder, model_name

Hook = Callable[..., Tensor | None]

# what the contexts around a model do: edits, mean z, and the number of hooks that carry them out
_inside: "WeakKeyDictionary[TransformerBridge, list[tuple[Edits, HeadMeans | None, int]]]" = (
    WeakKeyDictionary()
)


def checked_edits(
    model: TransformerBridge,
    ablation: str | Ablation | Iterable[str | Ablation],
    *,
    donor: TransformerBridge | None = None,
) -> Edits:
    """The edits of an ablation, checked against the model before any work is done.

    Raises:
        UserError: malformed text, a number out of range, a missing or unfitting donor.
    """
    named = with_points(model, with_donor(as_ablation(ablation), donor))
    edits = named.edits(shape_of(model))
    for layer, edit in edits.items():
        for part, other in edit.swaps:
            check_donor(model, other, layer, part)
    return edits


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
        reference: texts over which `@mean` averages, and whose z `@resample` takes: row i of a
            batch takes that of text i (after the last text the first again), aligned at the last
            position; a call with one position, as in decoding, takes the text's last.

    Raises:
        UserError: as `checked_edits`; `@mean` or `@resample` without a reference set.
        RuntimeError: a block ran but the hook that should have changed it never fired.
    """
    edits = checked_edits(model, ablation, donor=donor)
    means = _means(model, edits, reference)
    with bridge_edited(model, edits, means, more=_resampled(model, edits, reference)):
        yield model


@contextmanager
def bridge_edited(
    model: TransformerBridge,
    edits: Edits,
    means: HeadMeans | None = None,
    *,
    more: Sequence[tuple[str, Hook]] = (),
) -> Iterator[None]:
    """Inside the context, the bridge computes as the edits say, by TransformerLens' own hooks.

    Args:
        model: a bridge.
        edits: what changes, layer by layer (`checked_edits`).
        means: `[layer, head, d_head]`, where an edit puts mean z.
        more: further hooks that must fire.

    Raises:
        RuntimeError: a block ran but the hook that should have changed it never fired.
    """
    watch = _Watch()
    ours = [pair for layer, edit in edits.items() for pair in _hooks(model, layer, edit, means)]
    users = [pair for edit in edits.values() for pair in edit.hooks]
    hooks = [
        *((name, watch.counted(name, _without_point(hook))) for name, hook in (*ours, *more)),
        *((name, watch.counted(name, hook)) for name, hook in users),
    ]
    with ExitStack() as stack:
        for layer, edit in edits.items():
            for part, donor in edit.swaps:
                stack.enter_context(swapped(model, donor, layer, part))
        points = {layer_of_point(name) for name, _ in hooks}
        for layer in (point for point in points if point is not None):
            handle = model.blocks[layer].register_forward_pre_hook(watch.block(layer))
            stack.callback(handle.remove)
        stack.enter_context(model.hooks(fwd_hooks=hooks))
        contexts = _inside.setdefault(model, [])
        contexts.append((edits, means, len(hooks)))
        stack.callback(contexts.pop)
        yield
    watch.check(model_name(model))


def active_edits(model: TransformerBridge) -> tuple[Edits, HeadMeans | None]:
    """What the `ablate` contexts around a model change together, and their mean z.

    Raises:
        UserError: other hooks are active, or two contexts hold different means.
    """
    contexts = _inside.get(model, [])
    found: HeadMeans | None = None
    for edits, means, _ in contexts:
        if means is not None and found is not None:
            raise UserError("@mean: only one of the nested contexts may hold a reference set")
        found = means if means is not None else found
        if edits.is_hooked or edits.is_resampled:
            raise UserError(
                f"model {model_name(model)}: hooks of your own and @resample do not reach the "
                "native blocks; use model.generate"
            )
    ours = sum(count for _, _, count in contexts)
    # one point has several names
    points = {id(point): point for point in model.hook_dict.values()}.values()
    active = sum(not hook.is_permanent for point in points for hook in point.fwd_hooks)
    if active > ours:
        raise UserError(
            f"model {model_name(model)}: {active - ours} hooks of your own are active and the "
            "native blocks would not see them; use model.generate, or call model.reset_hooks()"
        )
    return Edits.merged(edits for edits, _, _ in contexts), found


def _without_point(hook: Hook) -> Hook:
    """A function of the value alone as TransformerLens calls hooks."""
    return lambda value, **_: hook(value)


class _Watch:
    """Counts what ran, so that an ablation that silently does nothing is an error."""

    def __init__(self) -> None:
        self.fired: dict[str, int] = {}
        self.ran: set[int] = set()

    def counted(self, name: str, function: Hook) -> Hook:
        self.fired[name] = 0

        # TransformerLens calls hooks as f(value, hook=point)
        def counting(value: Any, hook: Any = None) -> Tensor | None:
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
    """Raise UserError where hooks are active that work on the native blocks would not see."""
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


def _means(
    model: TransformerBridge, edits: Edits, reference: Sequence[str] | None
) -> HeadMeans | None:
    for layer, edit in edits.items():
        if edit.mean_heads and reference is None:
            head = min(edit.mean_heads)
            raise UserError(
                f"head:{layer}.{head}@mean: a mean needs a reference set; give reference=[TEXTS]"
            )
    return head_means(model, reference) if edits.uses_mean and reference is not None else None


def _resampled(
    model: TransformerBridge, edits: Edits, reference: Sequence[str] | None
) -> list[tuple[str, Hook]]:
    """The hooks that put the reference texts' z, aligned at the last position."""
    chosen = {layer: edit for layer, edit in edits.items() if edit.resample_heads}
    if not chosen:
        return []
    if not reference:
        layer, edit = next(iter(chosen.items()))
        raise UserError(
            f"head:{layer}.{min(edit.resample_heads)}@resample: another example is needed; give "
            "reference=[TEXTS]"
        )
    parts = decoder(model)
    every = [head_outputs(model, parts.tokenizer.encode(text), chosen) for text in reference]

    def hook_of(layer: int) -> Hook:
        def hook(z: Tensor) -> Tensor:
            shape, heads = z.shape, sorted(chosen[layer].resample_heads)
            z = z.clone().view(*shape[:2], -1, parts.d_head)
            for row in range(shape[0]):
                donor = every[row % len(every)][layer]
                there = aligned(
                    donor, end=shape[1] - 1, donor_end=len(donor) - 1, length=shape[1]
                ).view(shape[1], -1, parts.d_head)
                z[row][:, heads] = there[:, heads]
            return z.view(shape)

        return hook

    return [(f"blocks.{layer}.attn.hook_z", hook_of(layer)) for layer in chosen]


def _hooks(
    model: TransformerBridge, layer: int, edit: LayerEdit, means: HeadMeans | None
) -> list[tuple[str, Hook]]:
    """The TransformerLens hooks that carry out one layer's edit."""
    parts, block = decoder(model), f"blocks.{layer}"
    if edit.skip:
        entered: list[Tensor] = []

        def keep(resid_pre: Tensor) -> None:
            entered[:] = [resid_pre]

        def pass_on(_resid_post: Tensor) -> Tensor:
            return entered.pop()

        return [(f"{block}.hook_in", keep), (f"{block}.hook_out", pass_on)]
    hooks: list[tuple[str, Hook]] = []
    if edit.zero_heads or edit.mean_heads:
        mean = means[layer].to(parts.device_of(layer)) if means is not None else None
        hooks.append((f"{block}.attn.hook_z", _replace_heads(edit, mean, parts.d_head)))
    if edit.skip_attention:
        # where the sublayer itself adds the residual, only its projection is its own
        inside = parts.attention_adds_residual
        hooks.append((f"{block}.attn.{'o.' if inside else ''}hook_out", torch.zeros_like))
    if edit.skip_mlp:
        inside = parts.mlp_adds_residual
        hooks.append((f"{block}.mlp.{'out.' if inside else ''}hook_out", torch.zeros_like))
    return hooks


def _replace_heads(edit: LayerEdit, mean: Tensor | None, d_head: int) -> Hook:
    def hook(z: Tensor) -> Tensor:
        shape = z.shape
        z = z.clone().view(*shape[:2], -1, d_head)
        z[:, :, sorted(edit.zero_heads)] = 0
        if mean is not None:
            for head in edit.mean_heads:
                z[:, :, head] = mean[head]
        return z.view(shape)

    return hook

"""Activation patching: at some positions stands what the twin, or a later layer, has."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations
from interp.ablations.edits import Edits, LayerEdit, Patched
from interp.ablations.example import Example
from interp.ablations.native_hooks import Call, called_positions, in_rows
from interp.ablations.replaced_parts import Pairs, part_adding, part_on_bridge
from interp.errors import UserError


def patched_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Pairs:
    """Hooks under which a layer has what the example's twin has, in whole rows."""
    example, hooks = _example(layer, given), list[Any]()
    decoder = models.decoder(model)
    n_heads = decoder.n_heads
    for patched in sorted(edit.patches):
        source = _source(example, layer, patched)

        def put(
            value: Tensor,
            shape: tuple[int, int],
            source: Tensor = source,
            patched: Patched = patched,
        ) -> Tensor:
            rows, length = shape
            places = torch.arange(length, device=source.device).clamp(max=source.shape[1] - 1)
            source_values = source[:, places].to(value).repeat(rows, 1, 1).view_as(value)
            inside = example.inside(patched.positions, 0, length)[None]
            return in_rows(lambda: inside, source_values, value)

        def whole(value: Tensor, hook: Any, put: Any = put, head: int = patched.head) -> Tensor:
            flat = value.flatten(start_dim=2)
            kept = put(flat, (flat.shape[0], flat.shape[1]))
            return (kept if head < 0 else _one_head(flat, kept, head, n_heads)).view_as(value)

        if patched.site == "attention" or patched.site == "mlp":
            hooks += part_on_bridge(model, layer, patched.site, put)
        else:
            at_z = patched.site != "resid"
            hooks.append((decoder.hook_of_z(layer) if at_z else f"blocks.{layer}.hook_in", whole))
    return hooks


def _example(layer: int, given: Activations) -> Example:
    if given.example is None:
        raise UserError(
            f"layer {layer}: a patch needs an example that has a twin, and a prompt alone does "
            "not say it; use a sweep"
        )
    return given.example


def _source(example: Example, layer: int, patched: Patched) -> Tensor:
    """What is put in a place, at every position of the prompt."""
    if patched.origin < 0:
        assert example.twin is not None
        return example.twin[layer, patched.site]
    assert example.later is not None
    return example.later[patched.origin, "resid"]


def patches_what_enters(edit: LayerEdit) -> bool:
    """Whether an edit does nothing but replace the residual stream that enters its layer.

    Args:
        edit: the edit of one layer.

    Returns:
        True where the layer itself then computes as ever.
    """
    alone = replace(edit, patches=frozenset()) == LayerEdit()
    return alone and bool(edit.patches) and all(patch.site == "resid" for patch in edit.patches)


def entering_patched(
    example: Example,
    edits: Edits,
    layer: int,
    resid: Float[Tensor, "batch pos d_model"],
    start: int,
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream that enters a layer whose edit replaces nothing else.

    Args:
        example: what its twin, or its later layers, have.
        edits: what the ablation changes.
        layer: which layer; `patches_what_enters` its edit.
        resid: the stream of the unablated pass, from `start` on.
        start: the position that it begins at.

    Returns:
        Of the shape of `resid`.
    """
    length = resid.shape[1]
    for patched in sorted(edits[layer].patches):
        source = _source(example, layer, patched)
        places = torch.arange(start, start + length, device=source.device)
        source_values = source[:, places.clamp(max=source.shape[1] - 1)].to(resid)
        inside = example.inside(patched.positions, start, start + length)[None]
        resid = in_rows(partial(_mask, inside), source_values, resid)
    return resid


def _mask(inside: Tensor) -> Tensor:
    return inside


@contextmanager
def patched_on_blocks(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Iterator[None]:
    """Inside the context, a layer has what the example's twin has, where its patches say."""
    example, decoder = _example(layer, given), models.decoder(model)
    with ExitStack() as stack:
        call = stack.enter_context(called_positions(decoder, layer))
        for patched in sorted(edit.patches):
            where = partial(_inside, example, patched, call)
            put = partial(call.put, _source(example, layer, patched))
            if patched.site == "attention" or patched.site == "mlp":
                hook = part_adding(decoder, layer, patched.site, put, where)
                stack.enter_context(hook)
            elif patched.site == "resid":
                block = decoder.blocks[layer]
                entering = partial(_entering, put, where)
                handle = block.register_forward_pre_hook(entering, with_kwargs=True)
                stack.callback(handle.remove)
            else:
                projection = decoder.output_projections[layer]
                heads = partial(_head, put, where, patched.head, decoder.n_heads)
                stack.callback(projection.register_forward_pre_hook(heads).remove)
        yield


def _inside(example: Example, patched: Patched, call: Call) -> Tensor:
    """`[1, pos]`, True at the positions of a call that are patched."""
    return example.inside(patched.positions, call.start, call.start + call.positions)[None]


def _entering(
    put: Any, where: Any, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A block's pre-hook: the residual stream that enters it is replaced at some positions."""
    resid = models.hidden_states_of(args, kwargs)
    kept = in_rows(where, put(resid), resid)
    return ((kept, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": kept})


def _head(
    put: Any, where: Any, head: int, n_heads: int, _module: nn.Module, args: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """An output projection's pre-hook: z of one head is replaced at some positions."""
    z = args[0].flatten(start_dim=2)
    kept = in_rows(where, put(z), z)
    return (_one_head(z, kept, head, n_heads).view_as(args[0]), *args[1:])


def _one_head(z: Tensor, other: Tensor, head: int, n_heads: int) -> Tensor:
    """Z `[batch, pos, head * d_head]` with one head of another."""
    kept = z.clone().unflatten(-1, (n_heads, -1))
    kept[:, :, head] = other.unflatten(-1, (n_heads, -1))[:, :, head]
    return kept.flatten(start_dim=2)

"""A block, an attention or an MLP adds its mean, an affine map, or that of another example.

For `layer:7@mean`, `layer:7@linear`, `mlp:7@resample` and their like, on the bridge, on native
blocks and in rows of a batch. What a part adds is read, and put, after the norm that follows a
sublayer where there is one. A whole block that is replaced is not run, as one that is skipped.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations, Rows
from interp.ablations.edits import PART_FORMS, LayerEdit, Part
from interp.ablations.linear import affine
from interp.ablations.native_hooks import (
    Where,
    block_skipped,
    block_skipped_in,
    called_positions,
    hooked_after,
    output_replaced,
)
from interp.errors import UserError
from interp.models import Decoder

Pairs = Sequence[tuple[str, Callable[..., Tensor | None]]]
Put = Callable[[Tensor], Tensor]
Fitted = Literal["layer", "attention", "mlp", "linear"]


def fitted_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Pairs:
    """Hooks under which the parts of an edit add their means, or the block is an affine map."""
    hooks: list[Any] = []
    for part, put in _fitted(models.decoder(model), layer, edit, given):

        def added(value: Tensor, _shape: tuple[int, int], put: Put = put) -> Tensor:
            return put(value)

        hooks += part_on_bridge(model, layer, part, added)
    return hooks


def resample_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Pairs:
    """Hooks under which they add what they add on the reference texts, aligned at the ends."""
    hooks: list[Any] = []
    for part in outermost(edit.resample_parts):
        if not given.sources:
            raise UserError(
                f"{PART_FORMS[part]}:{layer}@resample: another example is needed; give "
                "reference=[TEXTS]"
            )

        def put(value: Tensor, shape: tuple[int, int], part: Part = part) -> Tensor:
            rows = [given.at_ends((layer, part), row, shape[1]) for row in range(shape[0])]
            return torch.stack(rows).to(value).view_as(value)

        hooks += part_on_bridge(model, layer, part, put)
    return hooks


@contextmanager
def fitted_on_blocks(
    decoder: Decoder, layer: int, edit: LayerEdit, given: Activations
) -> Iterator[None]:
    """Inside the context, the parts of an edit add their means, or the block is an affine map."""
    with ExitStack() as stack:
        for part, put in _fitted(decoder, layer, edit, given):
            stack.enter_context(part_adding(decoder, layer, part, put))
        yield


@contextmanager
def resample_on_blocks(
    decoder: Decoder, layer: int, edit: LayerEdit, given: Activations
) -> Iterator[None]:
    """Inside the context, they add what they add on another example, at a call's positions."""
    with ExitStack() as stack:
        call = stack.enter_context(called_positions(decoder, layer))
        for part in outermost(edit.resample_parts):
            if given.resample is None:
                raise UserError(f"{PART_FORMS[part]}:{layer}@resample: no other example was given")
            put = partial(call.put, given.resample[layer, part])
            stack.enter_context(part_adding(decoder, layer, part, put))
        yield


@contextmanager
def fitted_on_rows(decoder: Decoder, layer: int, rows: Rows, given: Activations) -> Iterator[None]:
    """Inside the context, what was fitted for each row's edit stands in that row."""
    named = dict.fromkeys(where for _, edit in rows.groups for where in _fitted_places(edit))
    with ExitStack() as stack:
        for place in named:
            mask = rows.where(partial(_puts, place))
            where = None if bool(mask.all()) else mask
            stack.enter_context(
                part_adding(decoder, layer, *_fitted_at(decoder, layer, place, given), where)
            )
        yield


def _puts(place: Fitted, edit: LayerEdit) -> bool:
    return place in _fitted_places(edit)


def _fitted_places(edit: LayerEdit) -> tuple[Fitted, ...]:
    """What of an edit was fitted; inside a block that is replaced as a whole nothing counts."""
    if edit.linear and "layer" not in edit.mean_parts:
        return ("linear",)
    return outermost(edit.mean_parts)


def _fitted(
    decoder: Decoder, layer: int, edit: LayerEdit, given: Activations
) -> list[tuple[Part, Put]]:
    return [_fitted_at(decoder, layer, place, given) for place in _fitted_places(edit)]


def _fitted_at(decoder: Decoder, layer: int, place: Fitted, given: Activations) -> tuple[Part, Put]:
    """Which part adds something else, and what; of a block, from what enters it."""
    fitted = given.mean(decoder, layer, place)
    if fitted is None:
        text = f"layer:{layer}@linear" if place == "linear" else f"{PART_FORMS[place]}:{layer}@mean"
        raise UserError(f"{text}: it needs a reference set")
    if place == "linear":
        return "layer", partial(affine, fitted)
    return place, partial(_spread, fitted)


@contextmanager
def fitted_at_positions(
    decoder: Decoder, layer: int, edit: LayerEdit, where: Where, given: Activations
) -> Iterator[None]:
    """Inside the context, what was fitted for an edit stands at some positions."""
    with ExitStack() as stack:
        for part, put in _fitted(decoder, layer, edit, given):
            stack.enter_context(part_adding(decoder, layer, part, put, where))
        yield


def outermost(named: Collection[Part]) -> tuple[Part, ...]:
    """The parts that have an effect: inside a block that is replaced as a whole nothing has."""
    return ("layer",) if "layer" in named else tuple(sorted(named))


def _spread(mean: Tensor, value: Tensor) -> Tensor:
    return mean.to(value).expand_as(value)


def part_adding(
    decoder: Decoder, layer: int, part: Part, put: Put, where: Where | None = None
) -> AbstractContextManager[Any]:
    """Inside the context, a block or a sublayer adds something else, at some places or at all."""
    if part == "layer":
        if where is None:
            return block_skipped(decoder, layer, put)
        return hooked_after(decoder.blocks[layer], block_skipped_in(where, put))
    if part == "attention":
        module, adds = decoder.attention_ends[layer], decoder.attention_adds_residual
    else:
        module, adds = decoder.mlp_ends[layer], decoder.mlp_adds_residual
    return hooked_after(module, output_replaced(put, adds, where))


def part_on_bridge(
    model: TransformerBridge,
    layer: int,
    part: Part,
    put: Callable[[Tensor, tuple[int, int]], Tensor],
) -> Pairs:
    """Hooks under which a part adds something else.

    Args:
        model: the bridge.
        layer: whose part.
        part: which.
        put: a function of what is replaced (of a block, what enters it) and of the batch's rows and
            positions, to what is added.

    Returns:
        Points and hooks, for `model.hooks`.
    """
    entered: list[Tensor] = []

    def keep(resid_pre: Tensor, hook: Any) -> None:
        entered[:] = [resid_pre]

    def replaced(value: Tensor, hook: Any) -> Tensor:
        resid_pre = entered[-1]
        shape = models.decoder(model).rows_and_positions(resid_pre)
        return resid_pre + put(resid_pre, shape) if part == "layer" else put(value, shape)

    return [(f"blocks.{layer}.hook_in", keep), (_point(model, layer, part), replaced)]


def _point(model: TransformerBridge, layer: int, part: Part) -> str:
    """The hook point where what a part adds passes; a block's output holds the stream too."""
    block, decoder = model.blocks[layer], models.decoder(model)
    if part == "layer":
        return f"blocks.{layer}.hook_out"
    parts = decoder.parts[layer]
    name, norm, last = (
        (parts.mixers[0], "ln1_post", "o")
        if part == "attention"
        else (parts.mlps[0], "ln2_post", "out")
    )
    adds = decoder.attention_adds_residual if part == "attention" else decoder.mlp_adds_residual
    if hasattr(block, norm):
        return f"blocks.{layer}.{norm}.hook_out"
    # where the sublayer itself adds the residual, only its projection is its own
    return f"blocks.{layer}.{name}.{last}.hook_out" if adds else f"blocks.{layer}.{name}.hook_out"

"""Run a block with the weights of another model's block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError


@contextmanager
def swapped(model: TransformerBridge, donor: TransformerBridge, layer: int) -> Iterator[None]:
    """Inside the context, block `layer` of the model holds the donor's weights.

    Only the storage behind each parameter is exchanged, so the bridge and its native blocks see
    the swap together and the model is as it was afterwards, also after an exception.

    Raises:
        UserError: the donor's block has other parameters, shapes or types.
    """
    pairs = _paired(model, donor, layer)
    saved = [mine.data for mine, _ in pairs]
    taken = [theirs.data for _, theirs in pairs]
    try:
        for (mine, _), data in zip(pairs, taken, strict=True):
            mine.data = data
        yield
    finally:
        for (mine, _), data in zip(pairs, saved, strict=True):
            mine.data = data


def check_donor(model: TransformerBridge, donor: TransformerBridge, layer: int) -> None:
    """Raise UserError where the donor's block does not fit."""
    _paired(model, donor, layer)


def _paired(
    model: TransformerBridge, donor: TransformerBridge, layer: int
) -> list[tuple[nn.Parameter, nn.Parameter]]:
    if layer >= len(donor.blocks):
        raise UserError(f"swap:{layer}: the donor has layers 0-{len(donor.blocks) - 1}")
    mine, theirs = dict(_parameters(model, layer)), dict(_parameters(donor, layer))
    if mine.keys() != theirs.keys():
        odd = sorted(mine.keys() ^ theirs.keys())[0]
        raise UserError(f"swap:{layer}: the donor is of another architecture ({odd} has no twin)")
    for name, parameter in mine.items():
        other = theirs[name]
        if parameter.shape != other.shape or parameter.dtype != other.dtype:
            raise UserError(
                f"swap:{layer}: the donor's {name} is {_described(other)}, the model's is "
                f"{_described(parameter)}"
            )
        if parameter.device != other.device:
            raise UserError(
                f"swap:{layer}: the donor is on {other.device}, the model on {parameter.device}"
            )
    return [(parameter, theirs[name]) for name, parameter in mine.items()]


def _parameters(model: TransformerBridge, layer: int) -> Iterator[tuple[str, nn.Parameter]]:
    return model.blocks[layer].named_parameters()


def _described(parameter: torch.Tensor) -> str:
    return f"{list(parameter.shape)} {str(parameter.dtype).removeprefix('torch.')}"

"""Run a block, or its attention or MLP alone, with the weights of another model's.

Which weights are swapped: `swap:7` takes every parameter of the block. `swap-attn:7` takes the
attention's matrices and biases (query and key norms too), the norm before it and, where there
is one, the norm after it; `swap-mlp:7` does the same for the MLP (all experts and their router).
The two have no parameter in common and together are `swap:7`. Embedding, final norm and
unembedding are never swapped: a swap of all layers is the donor's layers between the recipient's
embedding and its final norm.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.edits import Part
from interp.ablations.values import SwapLayer
from interp.errors import UserError
from interp.models import MIXERS, MLPS, refuse_quantised

COMPONENTS: dict[str, Part] = {
    **dict.fromkeys(MIXERS, "attention"),
    "ln1": "attention",
    "ln1_post": "attention",
    **dict.fromkeys(MLPS, "mlp"),
    "ln2": "mlp",
    "ln2_post": "mlp",
}
"""TransformerLens' names for the components of a block, and the sublayer that each goes with."""


@contextmanager
def swapped(
    model: TransformerBridge, donor: TransformerBridge, layer: int, part: Part = "layer"
) -> Iterator[None]:
    """Inside the context, block `layer` of the model, or a part of it, holds the donor's weights.

    Only the storage of each parameter is exchanged, so the bridge and its native blocks see
    the swap together and the model is as it was afterwards, also after an exception.

    Yields:
        None; the block holds its own weights again afterwards.

    Raises:
        UserError: the donor's block has other parameters, shapes or types, or the parts of the
            block cannot be told apart.
    """
    pairs = _paired(model, donor, layer, part)
    saved = [parameter.data for parameter, _ in pairs]
    # a copy of one block where the donor is elsewhere, or placed otherwise
    taken = [donor_parameter.data.to(parameter.device) for parameter, donor_parameter in pairs]
    try:
        for (parameter, _), data in zip(pairs, taken, strict=True):
            parameter.data = data
        yield
    finally:
        for (parameter, _), data in zip(pairs, saved, strict=True):
            parameter.data = data


def check_donor(
    model: TransformerBridge, donor: TransformerBridge, layer: int, part: Part = "layer"
) -> None:
    """Raise UserError where the donor's block does not fit.

    Args:
        model: a bridge.
        donor: the bridge whose weights are put in.
        layer: whose weights.
        part: `layer`, `attention` or `mlp`.
    """
    _paired(model, donor, layer, part)


def part_parameters(
    model: TransformerBridge, layer: int, part: Part = "layer"
) -> dict[str, nn.Parameter]:
    """The parameters of a block that are swapped with a part of it, by the bridge's names.

    Args:
        model: a bridge.
        layer: whose parameters.
        part: `layer`, `attention` or `mlp`.

    Returns:
        Each parameter by its name in the bridge's block. Changing one changes the model.

    Raises:
        UserError: attention and MLP share a norm (as in GPT-J, Falcon and Phi-2), or the block has
            parameters that belong to neither.
    """
    block = model.blocks[layer]
    every = dict(block.named_parameters())
    if part == "layer":
        return every
    components = model.adapter.component_mapping["blocks"].submodules
    text = SwapLayer(layer, part=part).text
    if not {"ln2", "ln2_post"} & set(components):
        raise UserError(
            f"{text}: the attention and the MLP of this model share one norm; allowed is "
            f"swap:{layer}"
        )
    owners: dict[int, Part] = {}
    for name in filter(COMPONENTS.__contains__, components):
        module = getattr(block, name, None)
        if module is None:
            continue
        # OPT keeps its two MLP matrices in the block itself
        inside = [] if components[name].name else components[name].submodules
        for submodule in [getattr(module, sub) for sub in inside] or [module]:
            owners |= {id(p): COMPONENTS[name] for p in submodule.parameters()}
    for name, parameter in every.items():
        if id(parameter) not in owners:
            raise UserError(
                f"{text}: {_plain(name)} of this model belongs neither to the attention nor to "
                f"the MLP; allowed is swap:{layer}"
            )
    return {name: p for name, p in every.items() if owners[id(p)] == part}


def _paired(
    model: TransformerBridge, donor: TransformerBridge, layer: int, part: Part
) -> list[tuple[nn.Parameter, nn.Parameter]]:
    text = SwapLayer(layer, part=part).text
    refuse_quantised(model, text)
    refuse_quantised(donor, text)
    if layer >= len(donor.blocks):
        raise UserError(f"{text}: the donor has layers 0-{len(donor.blocks) - 1}")
    parameters, donor_parameters = (
        part_parameters(model, layer, part),
        part_parameters(donor, layer, part),
    )
    if parameters.keys() != donor_parameters.keys():
        odd = sorted(parameters.keys() ^ donor_parameters.keys())[0]
        raise UserError(f"{text}: the donor is of another architecture ({odd} has no twin)")
    for name, parameter in parameters.items():
        donor_parameter = donor_parameters[name]
        if parameter.shape != donor_parameter.shape or parameter.dtype != donor_parameter.dtype:
            raise UserError(
                f"{text}: the donor's {name} is {_described(donor_parameter)}, the model's is "
                f"{_described(parameter)}"
            )
    return [(parameter, donor_parameters[name]) for name, parameter in parameters.items()]


def _plain(name: str) -> str:
    return name.replace("_original_component.", "")


def _described(parameter: torch.Tensor) -> str:
    return f"{list(parameter.shape)} {str(parameter.dtype).removeprefix('torch.')}"

"""Plain transformers with another order of blocks, or with something put at some positions."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from experiments.families.plain import Plain

Part = Literal["layer", "attn", "mlp"]
Put = Callable[[Float[Tensor, "pos width"], Float[Tensor, "pos width"]], Tensor]
"""From what enters a block and what a part adds `[pos, width]` to what it adds instead."""
NUMBERS = re.compile(r"^_?layer_(idx|number|id|index)$|^block_idx$")


def contributions(
    other: Plain, places: Sequence[tuple[Part, int]], tokens: Sequence[int]
) -> list[Float[Tensor, "pos width"]]:
    """What some parts add to the residual stream on one row.

    Args:
        other: the plain model.
        places: part and layer of each.
        tokens: of the row.

    Returns:
        For each place `[pos, width]`.
    """
    seen: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for at, (part, layer) in enumerate(places):

            def keep(_: Tensor, added: Tensor, at: int = at) -> Tensor:
                seen[at] = added
                return added

            stack.enter_context(adding(other, part, layer, keep))
        other.logits(tokens)
    return [seen[at] for at in range(len(places))]


def entering(other: Plain, layer: int, tokens: Sequence[int]) -> Float[Tensor, "pos width"]:
    """The residual stream that enters a block on one row."""
    seen: list[Tensor] = []

    def look(_module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.append(_stream(args, kwargs))

    block = other.module(other.decoder.blocks[layer])
    handle = block.register_forward_pre_hook(look, with_kwargs=True)
    other.logits(tokens)
    handle.remove()
    return seen[0].reshape(other.length, -1)


@contextmanager
def stream_replaced(
    other: Plain, layer: int, there: Float[Tensor, "pos width"], inside: Bool[Tensor, " pos"]
) -> Iterator[None]:
    """Inside the context another stream enters a block at some positions of the prompt.

    Args:
        other: the plain model.
        layer: which block.
        there: what enters it instead, at each position of the prompt.
        inside: at which of them.

    Yields:
        None; the model is as it was afterwards.
    """

    def put(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        stream = _stream(args, kwargs)
        flat = stream.reshape(other.length, -1).clone()
        flat[: len(inside)][inside] = there[inside]
        if args:
            return (flat.view_as(stream), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": flat.view_as(stream)}

    block = other.module(other.decoder.blocks[layer])
    handle = block.register_forward_pre_hook(put, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def adding(other: Plain, part: Part, layer: int, put: Put) -> Iterator[None]:
    """Inside the context a part adds something else to the residual stream.

    Args:
        other: the plain model.
        part: a block, what mixes tokens in it, or its MLP; each module where they are several.
        layer: which block.
        put: what is added instead.

    Yields:
        None; the model is as it was afterwards.
    """
    decoder = other.decoder
    modules = {
        "layer": (decoder.blocks[layer],),
        "attn": (decoder.attention_ends[layer], *decoder.further_mixers[layer]),
        "mlp": (decoder.mlp_ends[layer], *decoder.further_mlps[layer]),
    }[part]
    with_stream = {
        "layer": True,
        "attn": decoder.attention_adds_residual,
        "mlp": decoder.mlp_adds_residual,
    }[part]

    def hook(_module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        whole = out[0] if isinstance(out, tuple) else out
        before = torch.zeros_like(whole)
        if with_stream:
            before = _stream(args, kwargs) if part == "layer" else _residual(args, kwargs)
        # [stream, batch, pos, width] where an architecture keeps several streams so
        apart = whole.ndim == 4 and decoder.streams_first
        if apart:
            whole, before = whole.movedim(0, 2), before.movedim(0, 2)
        flat, stream = (x.reshape(other.length, -1) for x in (whole, before))
        added = (stream + put(stream, flat - stream)).view(whole.shape)
        added = added.movedim(2, 0) if apart else added
        return (added, *out[1:]) if isinstance(out, tuple) else added

    with ExitStack() as handles:
        for module in modules:
            handle = other.module(module).register_forward_hook(hook, with_kwargs=True)
            handles.callback(handle.remove)
        yield


def _stream(args: Any, kwargs: Mapping[str, Any]) -> Tensor:
    given: Tensor = args[0] if args else kwargs["hidden_states"]
    return given


def _residual(args: Any, kwargs: Mapping[str, Any]) -> Tensor:
    given: Tensor = kwargs["residual"] if "residual" in kwargs else args[1]
    return given


@contextmanager
def in_order(other: Plain, order: Sequence[int]) -> Iterator[None]:
    """Inside the context the blocks are listed in another order, copied and renumbered.

    Args:
        other: the plain model.
        order: old numbers of the blocks as they run; one may be there twice.

    Yields:
        None; the model is as it was afterwards.
    """
    decoder = other.decoder
    path = other.path(decoder.blocks[0]).rpartition(".")[0]
    owner, _, name = path.rpartition(".")
    stack, before = other.model.get_submodule(owner), other.model.get_submodule(path)
    blocks = [copy.deepcopy(before[number]) for number in order]
    for place, block in enumerate(blocks):
        for module in block.modules():
            for attribute in filter(NUMBERS.match, list(vars(module))):
                setattr(module, attribute, place)
    configurations = {id(c): c for c in _configurations(other.model)}.values()
    kept = [dict(vars(one)) for one in configurations]
    for one in configurations:
        for key, value in list(vars(one).items()):
            if (
                isinstance(value, list)
                and len(value) == decoder.n_layers
                and re.search("types|^layer", key)
            ):
                vars(one)[key] = [value[number] for number in order]
            elif key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
                vars(one)[key] = len(order)
    stack._modules[name] = nn.ModuleList(blocks)
    try:
        yield
    finally:
        stack._modules[name] = before
        for one, values in zip(configurations, kept, strict=True):
            vars(one).clear()
            vars(one).update(values)


def _configurations(model: Any) -> Iterator[Any]:
    for module in model.modules():
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "get_text_config"):
            text = config.get_text_config()
            if getattr(text, "num_hidden_layers", None) is not None:
                yield text

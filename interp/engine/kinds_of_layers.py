"""The few layers on which a trial says what it would say on all: both ends of each kind.

A trial of a shortcut costs as many passes as it has comparisons. Layers of one kind do the same
with masks, positions and caches, so that the first and the last of each kind answer for all of it,
and the others hand on what they are given.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import transformers
from torch import Tensor, nn

from interp.ablations import forward_replaced, identity_block
from interp.engine.replay import Pass
from interp.models import NUMBERS, Decoder

PLAIN = (bool, int, float, str, type(None))


def standing_for_all(decoder: Decoder, whole: Pass) -> tuple[int, ...]:
    """The first and the last layer of each kind.

    Two layers are of one kind where their modules are of the same classes, with parameters of the
    same shapes and the same settings, where the configuration's lists say the same of both, and
    where the model calls both with the same objects (masks, rotary tables, ...).

    Args:
        decoder: the modules of a model whose blocks depend on their arguments alone.
        whole: the model's own pass over some rows.

    Returns:
        Numbers of layers, ascending; layer 0 is among them.
    """
    ends: dict[object, list[int]] = {}
    for layer, block in enumerate(decoder.blocks):
        kind = (_settings(block), _listed(decoder, layer), _called_with(whole, layer))
        ends.setdefault(kind, []).append(layer)
    return tuple(sorted({end for layers in ends.values() for end in (layers[0], layers[-1])}))


@contextmanager
def only(decoder: Decoder, layers: Sequence[int]) -> Iterator[None]:
    """Inside the context, the blocks of all other layers hand on what they are given.

    Args:
        decoder: the modules of a model.
        layers: which layers compute.

    Yields:
        None; every block computes afterwards.
    """
    with ExitStack() as stack:
        for layer in sorted(set(range(decoder.n_layers)) - set(layers)):
            block = decoder.blocks[layer]
            stack.enter_context(forward_replaced(block, identity_block(decoder, layer)))
        yield


def filled(cache: transformers.DynamicCache, n_layers: int) -> transformers.DynamicCache:
    """The cache with the first layer's keys and values where a layer has none; nothing reads them.

    Args:
        cache: of a model of which only some layers computed, the first among them; changed.
        n_layers: how many layers it shall have.

    Returns:
        The same cache.
    """
    cache.layers += [cache.layers[0]] * (n_layers - len(cache.layers))
    # a layer of another kind has none and never will: it is left as it is
    cache.layers = [
        layer if getattr(layer, "keys", layer) is not None else cache.layers[0]
        for layer in cache.layers
    ]
    return cache


def _settings(block: nn.Module) -> tuple[object, ...]:
    """Classes, shapes and plain attributes of everything inside a block, its number left out."""
    return tuple(
        (
            name,
            type(module),
            tuple((k, tuple(t.shape), t.dtype) for k, t in _tensors(module)),
            tuple((k, _plain(v)) for k, v in sorted(vars(module).items()) if _is_setting(k, v)),
        )
        for name, module in block.named_modules()
    )


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _is_setting(name: str, value: object) -> bool:
    if name in NUMBERS or name.startswith("__"):
        return False
    return isinstance(value, (*PLAIN, list, tuple)) or hasattr(value, "__qualname__")


def _plain(value: Any) -> object:
    """What two equal settings have in common."""
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else repr(value)


def _listed(decoder: Decoder, layer: int) -> tuple[object, ...]:
    """What the configuration's lists with one entry per layer say of a layer."""
    text = decoder.root.config.get_text_config()
    lists = tuple(
        (name, repr(value[layer]))
        for name, value in sorted(vars(text).items())
        if isinstance(value, list | tuple) and len(value) == decoder.n_layers
    )
    return (*lists, layer < (getattr(text, "max_window_layers", None) or 0))


def _called_with(whole: Pass, layer: int) -> tuple[object, ...]:
    """Which objects the model calls a block with; plain values by what they are."""
    args, kwargs = whole.calls[layer]
    arguments = (*enumerate(args), *sorted(kwargs.items()))
    return tuple((name, repr(v) if isinstance(v, PLAIN) else id(v)) for name, v in arguments)

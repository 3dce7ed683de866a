"""Moving activations between blocks on several GPUs.

accelerate's hooks replace a module's `forward` and move every output back to the device of its
input. They do not work with two trees of modules over one set of weights, or with ablations that
replace `forward` for a while; plain hooks do. Each block moves its inputs to its own device. The
last one moves the residual stream to the device of the final norm and the unembedding. A layer's
keys and values stay on the device of its block.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

COMPUTES_NOTHING = "computes_nothing"
"""The attribute of a `forward` that replaces a block's own and returns its input."""


def devices_of(module: nn.Module) -> tuple[torch.device, ...]:
    """The devices that hold a module's parameters, in their order."""
    return tuple(dict.fromkeys(parameter.device for parameter in module.parameters()))


def join_blocks(blocks: Sequence[nn.Module], home: torch.device) -> None:
    """Add hooks that let blocks on several devices run one after the other.

    Args:
        blocks: the blocks, in the order in which they run.
        home: the device of the embedding, the final norm and the unembedding.
    """
    for block in blocks:
        block.register_forward_pre_hook(_move_in, with_kwargs=True)
    blocks[-1].register_forward_hook(lambda _module, _args, out: to_device(out, home))


@contextmanager
def weights_on_cpu(roots: Iterable[nn.Module]) -> Iterator[None]:
    """A context in which the weights are on the CPU, so that others can use the GPUs.

    Args:
        roots: the models, whose parameters and buffers stay the same objects.

    Yields:
        None. Afterwards every tensor is on its former device.
    """
    named = {id(t): t for root in roots for t in (*root.parameters(), *root.buffers())}
    tensors_and_devices = [(tensor, tensor.device) for tensor in named.values()]
    try:
        for tensor, _ in tensors_and_devices:
            tensor.data = tensor.data.cpu()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        yield
    finally:
        for tensor, device in tensors_and_devices:
            tensor.data = tensor.data.to(device)


def without_accelerate(root: Any) -> Any:
    """A model that accelerate has placed, without accelerate's hooks."""
    from accelerate.hooks import remove_hook_from_submodules

    remove_hook_from_submodules(root)
    for module in root.modules():
        # it puts the class' own method back, but on the instance
        forward = module.__dict__.get("forward")
        if getattr(forward, "__func__", None) is type(module).forward:
            del module.__dict__["forward"]
    return root


def as_float64(tensor: Tensor) -> Tensor:
    """A tensor in float64, on its device, or on the CPU if its device lacks the type (MPS).

    Args:
        tensor: a tensor of any type, on any device.

    Returns:
        The same numbers.
    """
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def to_device(value: Any, device: torch.device) -> Any:
    """A value with every tensor in its tuples, lists and dicts on a device; caches do not move."""
    if isinstance(value, Tensor):
        return value.to(device)
    # not a subclass: those have constructors of their own
    if type(value) in (tuple, list):
        return type(value)(to_device(item, device) for item in value)
    if type(value) is dict:
        return {key: to_device(item, device) for key, item in value.items()}
    return value


def _move_in(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    if hasattr(module.forward, COMPUTES_NOTHING):
        return args, kwargs
    device = next(module.parameters()).device
    return to_device(args, device), to_device(kwargs, device)

"""Read z, the output of the heads, where the output projection of an attention takes it in."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from interp.models.native_blocks import Decoder


@contextmanager
def capture_z(
    parts: Decoder,
    layers: Iterable[int],
    keep: Callable[[int, Float[Tensor, "batch pos width"]], Any],
) -> Iterator[None]:
    """Inside the context, `keep(layer, z)` is called whenever one of the layers runs.

    Args:
        parts: the modules of a model.
        layers: whose z is read.
        keep: called with the layer and z `[batch, pos, head * d_head]`, before it is projected.
    """

    def hook_of(layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            keep(layer, args[0].flatten(start_dim=2))

        return hook

    with ExitStack() as stack:
        for layer in sorted(set(layers)):
            projection = parts.output_projections[layer]
            stack.callback(projection.register_forward_pre_hook(hook_of(layer)).remove)
        yield


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Inside the context, a model is in evaluation mode; afterwards each module is as it was."""
    training = [module for module in model.modules() if module.training] if model.training else []
    model.train(mode=False) if training else None
    try:
        yield
    finally:
        for module in training:
            module.training = True

"""Capturing activations where they are computed: the z of heads, and what each part adds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from interp.models.block_parts import Decoder

ContributingPart = Literal["layer", "attention", "mlp"]
"""A part that adds to the residual stream: a block, or one of its sublayers."""


@contextmanager
def capture_z(
    decoder: Decoder,
    layers: Iterable[int],
    keep: Callable[[int, Float[Tensor, "batch pos width"]], Any],
) -> Iterator[None]:
    """A context in which `keep(layer, z)` is called whenever one of the layers runs.

    Args:
        decoder: the modules of a model.
        layers: the layers whose z is read.
        keep: a function that is called with the layer and z `[batch, pos, head * d_head]`, before
            it is projected.

    Yields:
        None.
    """

    def hook_of(layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            keep(layer, args[0].flatten(start_dim=2))

        return hook

    with ExitStack() as stack:
        for layer in sorted(set(layers)):
            projection = decoder.output_projections[layer]
            stack.callback(projection.register_forward_pre_hook(hook_of(layer)).remove)
        yield


@contextmanager
def capture_contributions(
    decoder: Decoder,
    layers: Iterable[int],
    keep: Callable[[int, ContributingPart, Float[Tensor, "_ d_model"]], Any],
) -> Iterator[None]:
    """A context in which `keep` is called with what each part adds to the residual stream.

    Args:
        decoder: the modules of a model.
        layers: the layers whose blocks, attentions and MLPs are read.
        keep: a function that is called with the layer, the part, and what it adds `[batch * pos,
            d_model]`, after the norm that follows a sublayer if there is one.

    Yields:
        None.
    """

    def hook_of(layer: int, part: ContributingPart, *, adds_residual: bool) -> Callable[..., None]:
        def hook(
            _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
        ) -> None:
            added = out[0] if isinstance(out, tuple) else out
            if part == "layer":
                added = added - hidden_states_of(args, kwargs).to(added.device)
            elif adds_residual:
                added = added - residual_of(args, kwargs)
            else:
                # Falcon adds its attention's output to what its MLP returned, in place
                added = added.clone()
            keep(layer, part, added.reshape(-1, added.shape[-1]))

        return hook

    with ExitStack() as stack:
        for layer in sorted(set(layers)):
            read: tuple[tuple[nn.Module, ContributingPart, bool], ...] = (
                (decoder.blocks[layer], "layer", False),
                (decoder.attention_ends[layer], "attention", decoder.attention_adds_residual),
                (decoder.mlp_ends[layer], "mlp", decoder.mlp_adds_residual),
            )
            for module, part, adds in read:
                hook = hook_of(layer, part, adds_residual=adds)
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield


@contextmanager
def stopped_before_readout(
    decoder: Decoder, keep: Callable[[Float[Tensor, "batch pos d_model"]], Any]
) -> Iterator[None]:
    """A context in which a pass ends before the final norm; the context catches the exception.

    Some models (NanoChat) run the same norm on the embedding. So only a call after the last block
    counts as the final norm.

    Args:
        decoder: the modules of a model.
        keep: a function that is called with the output of the last block.

    Yields:
        None.
    """
    reached: set[int] = set()

    def stop(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(reached) == len(decoder.blocks):
            reached.clear()
            keep(hidden_states_of(args, kwargs))
            raise _ReadoutReached

    with ExitStack() as stack:
        for number, block in enumerate(decoder.blocks):

            def note(*_: Any, number: int = number) -> None:
                reached.add(number)

            stack.callback(block.register_forward_pre_hook(note).remove)
        stack.callback(decoder.ln_final.register_forward_pre_hook(stop, with_kwargs=True).remove)
        with suppress(_ReadoutReached):
            yield


class _ReadoutReached(Exception):
    """Raised before the final norm, where logits at every position are not needed."""


def hidden_states_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The hidden states that a block or sublayer is called with, by position or by name.

    Args:
        args: the positional arguments that it is called with.
        kwargs: the keyword arguments that it is called with.

    Returns:
        The hidden states `[batch, pos, d_model]`.
    """
    return args[0] if args else kwargs["hidden_states"]


def residual_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The residual stream that a sublayer is called with beside its input (BLOOM).

    Args:
        args: the positional arguments that a sublayer is called with.
        kwargs: the keyword arguments that it is called with.

    Returns:
        The residual stream `[batch, pos, d_model]`; None if the sublayer is called without it.
    """
    return kwargs.get("residual", args[1] if len(args) > 1 else None)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """A context in which a model is in evaluation mode; afterwards each module is as before.

    Args:
        model: the model whose modules are switched.

    Yields:
        None.
    """
    training = [module for module in model.modules() if module.training] if model.training else []
    model.train(mode=False) if training else None
    try:
        yield
    finally:
        for module in training:
            module.training = True

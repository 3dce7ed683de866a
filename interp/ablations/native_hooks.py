"""What ablations put on the native blocks: hooks of sublayers and projections, other forwards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers.cache_utils import CacheLayerMixin

from interp.ablations.edits import LayerEdit
from interp.errors import UserError
from interp.models import COMPUTES_NOTHING, Decoder, hidden_states_of, residual_of

Where = Bool[Tensor, " row"] | Callable[[], Bool[Tensor, "row pos"]]
"""Rows `[row]` of a batch, or a function that gives the positions `[row, pos]` of a call."""


def identity_block(decoder: Decoder, layer: int) -> Callable[..., Any]:
    """A block's forward that returns the residual stream that it is given.

    Args:
        decoder: the decoder, which says what its blocks return.
        layer: which block.

    Returns:
        A function with the parameters of a block's `forward`. It returns a tuple where the model's
        blocks do.
    """

    def forward(*args: Any, **kwargs: Any) -> Any:
        resid_pre = hidden_states_of(args, kwargs)
        returned = decoder.handed_on(layer, resid_pre)
        state = kwargs.get("state")
        # RWKV hands one state of all layers from block to block
        if state is not None and isinstance(returned, tuple) and len(returned) > 1:
            return (resid_pre, state, *returned[2:])
        return returned

    forward.__dict__[COMPUTES_NOTHING] = True
    return forward


def _leave_nothing(
    cache: transformers.Cache, layer: int, resid_pre: Tensor, shape: tuple[int, int]
) -> None:
    """What a skipped block leaves in a cache: as many positions, nothing in them."""
    cache_layer: Any = cache.layers[layer] if layer < len(cache.layers) else None
    # a recurrence: the cache is asked whether any text came before
    for state in getattr(cache_layer, "has_previous_state", {}):
        cache_layer.has_previous_state[state] = True
    if cache_layer is not None and not isinstance(cache_layer, CacheLayerMixin):
        return
    rows, positions = shape
    nothing = resid_pre.new_zeros(rows, 1, positions, 1)
    # a layer that reads the keys and values of another keeps none (Gemma 4)
    with suppress(NotImplementedError):
        cache.update(nothing, nothing, layer)


def hands_on(block: nn.Module) -> bool:
    """Whether a block is called only to hand on what it is given (`identity_block`).

    So it is where logits of chosen vectors are wanted, which have no positions.

    Returns:
        True only for a block whose `forward` is an `identity_block`.
    """
    return COMPUTES_NOTHING in getattr(block.forward, "__dict__", {})


@contextmanager
def block_skipped(
    decoder: Decoder, layer: int, add: Callable[[Tensor], Tensor] | None = None
) -> Iterator[None]:
    """Inside the context, a block returns its input and leaves zeros of width 1 in a KV cache.

    The length of a cache is read from whichever layer is asked, so each layer must have one.

    Args:
        decoder: the modules of a model.
        layer: which block.
        add: a function from the residual stream `[batch, pos, d_model]` to what is added to it
            instead.

    Yields:
        None; the block computes again afterwards.
    """
    identity = identity_block(decoder, layer)

    def forward(*args: Any, **kwargs: Any) -> Any:
        resid_pre = hidden_states_of(args, kwargs)
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, transformers.Cache):
                _leave_nothing(value, layer, resid_pre, decoder.rows_and_positions(resid_pre))
        returned = identity(*args, **kwargs)
        if add is None:
            return returned
        out = resid_pre + add(resid_pre)
        return (out, *returned[1:]) if isinstance(returned, tuple) else out

    with forward_replaced(decoder.blocks[layer], forward):
        yield


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside the context, calling the module calls `forward`; its hooks still run.

    Args:
        module: whose forward is replaced.
        forward: what runs in its place, with the same arguments.

    Yields:
        None; the module has its own `forward` again afterwards.
    """
    # accelerate also keeps a forward of its own on the instance: put back what was there
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before


def output_replaced(
    put: Callable[[Tensor], Tensor], adds_residual: bool, rows: Where | None = None
) -> Callable[..., Any]:
    """A sublayer's forward hook: it adds something else to the residual stream.

    Args:
        put: a function from the sublayer's output to what it adds instead, of the same shape.
        adds_residual: whether the sublayer returns the residual stream plus its output.
        rows: where that is so; everywhere by default.

    Returns:
        A function for `register_forward_hook(..., with_kwargs=True)`.
    """

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        value = out[0] if isinstance(out, tuple) else out
        # of its own memory: Falcon adds its attention's output to what its MLP returns, in place
        new_value = put(value).clone()
        if adds_residual:
            new_value = residual_of(args, kwargs) + new_value
        if rows is not None:
            new_value = in_rows(rows, new_value, value)
        return (new_value, *out[1:]) if isinstance(out, tuple) else new_value

    return hook


def block_skipped_in(
    rows: Where,
    add: Callable[[Tensor], Tensor] | None = None,
    *,
    streams_first: bool = False,
) -> Callable[..., Any]:
    """A block's forward hook: in some rows, the residual stream passes unchanged.

    Args:
        rows: the rows, or the positions, where it acts.
        add: as for `block_skipped`.
        streams_first: whether the stream is `[stream, batch, pos, d_model]`.

    Returns:
        A function for `register_forward_hook(..., with_kwargs=True)`.
    """

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        if hands_on(module):
            return None
        resid_pre = hidden_states_of(args, kwargs)
        value = out[0] if isinstance(out, tuple) else out
        passed = resid_pre if add is None else resid_pre + add(resid_pre)
        if streams_first:
            kept = in_rows(rows, passed.movedim(0, 2), value.movedim(0, 2)).movedim(2, 0)
        else:
            kept = in_rows(rows, passed, value)
        return (kept, *out[1:]) if isinstance(out, tuple) else kept

    return hook


def in_rows(rows: Where, there: Tensor, otherwise: Tensor) -> Tensor:
    """`there` in the rows that are True; some MLPs see `[row * pos, width]`."""
    if callable(rows):
        return _at_positions(rows(), there, otherwise)
    if otherwise.shape[0] != len(rows):
        rows = rows.repeat_interleave(otherwise.shape[0] // len(rows))
    # what leaves the last block of a placed model is where the final norm is
    rows, there = rows.to(otherwise.device), there.to(otherwise.device)
    return torch.where(rows.view(-1, *[1] * (otherwise.ndim - 1)), there, otherwise)


def _at_positions(mask: Bool[Tensor, "row pos"], there: Tensor, otherwise: Tensor) -> Tensor:
    mask, there = mask.to(otherwise.device), there.to(otherwise.device)
    if otherwise.ndim == 2:
        # one row of a mask stands for all
        mask = mask.expand(otherwise.shape[0] // mask.shape[1], -1).reshape(-1)
    return torch.where(
        mask.view(*mask.shape, *[1] * (otherwise.ndim - mask.ndim)), there, otherwise
    )


def replace_heads(
    groups: Sequence[tuple[Tensor | slice, LayerEdit]],
    mean: Float[Tensor, "head _"] | None,
    n_heads: int,
) -> Callable[..., Any]:
    """An output projection's pre-hook: z of some heads is zero or its mean.

    Args:
        groups: rows, and the edit of their heads.
        mean: `[head, d_head]`, where an edit puts mean z.
        n_heads: query heads; the width of a head is that of z divided by it.

    Returns:
        A function for `register_forward_pre_hook`.
    """

    def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].clone()
        d_head = z.shape[-1] // n_heads
        for rows, edit in groups:
            for head in edit.zero_heads:
                z[rows, ..., head * d_head : (head + 1) * d_head] = 0
            if mean is not None:
                for head in edit.mean_heads:
                    z[rows, ..., head * d_head : (head + 1) * d_head] = mean[head]
        return (z, *args[1:])

    return hook


def hooked_after(module: nn.Module, hook: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Inside the context, a forward hook that is also given keyword arguments."""
    stack = ExitStack()
    stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
    return stack


@contextmanager
def heads_resampled(
    decoder: Decoder, layer: int, edit: LayerEdit, source: Float[Tensor, "#batch pos width"]
) -> Iterator[None]:
    """Inside the context, some heads have another example's z at the position of a call.

    Args:
        decoder: the modules of the model.
        layer: whose heads.
        edit: which heads.
        source: z of the other example, pos counted from the start of the row.

    Yields:
        None; the heads keep their own z afterwards.
    """
    heads = torch.tensor(sorted(edit.resample_heads), device=source.device)

    def put(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        source_output = call.pick(source).to(args[0].dtype)
        z = args[0].clone().unflatten(-1, (decoder.n_heads, -1))
        z[:, :, heads] = source_output.unflatten(-1, (decoder.n_heads, -1))[:, :, heads]
        return (z.flatten(start_dim=2), *args[1:])

    with called_positions(decoder, layer) as call:
        handle = decoder.output_projections[layer].register_forward_pre_hook(put)
        try:
            yield
        finally:
            handle.remove()


@dataclass(eq=False)
class Call:
    """Where a block is being called.

    Attributes:
        start: the first position of the call; what lies before it is in the KV cache.
        positions: how many positions it has.
        keys: how many keys they see, those of the cache counted (of a sliding window, fewer).
    """

    start: int = 0
    positions: int = 0
    keys: int = 0

    def pick(self, source: Tensor) -> Tensor:
        """What a source has at the positions of the running call.

        A call with a KV cache (decoding, a draft being verified) begins where its cache ends. What
        lies beyond the end takes the last position.

        Args:
            source: `[batch, pos, width]`, pos counted from the start of the row.

        Returns:
            `[batch, pos, width]`, as many positions as the call has.
        """
        places = torch.arange(self.start, self.start + self.positions, device=source.device)
        return source[:, places.clamp(max=source.shape[1] - 1)]

    def put(self, source: Tensor, value: Tensor) -> Tensor:
        """What is picked, in the shape and type of a value that it takes the place of.

        Rows that share a batch share the source; some MLPs see rows and positions in one axis.

        Args:
            source: as for `pick`.
            value: what a module of the running call gives.

        Returns:
            A tensor like `value`.
        """
        other = self.pick(source).to(value)
        return other.repeat(value.numel() // other.numel(), 1, 1).view_as(value)


def _start(cache: transformers.Cache, layer: int, positions: int) -> int:
    """How many tokens came before a call, as its layer is entered."""
    cache_layers = cache.layers
    if layer >= len(cache_layers) or isinstance(cache_layers[layer], CacheLayerMixin):
        return int(cache.get_seq_length(layer))
    # a recurrence counts no positions: the first layer with keys does
    other = next(
        (
            n
            for n, cache_layer in enumerate(cache_layers)
            if isinstance(cache_layer, CacheLayerMixin)
        ),
        None,
    )
    if other is None:
        raise UserError(
            f"layer {layer}: the model keeps no keys, and what is given by position cannot be put "
            "into an answer; use a task whose options are scored"
        )
    length = int(cache.get_seq_length(other))
    return length - positions if other < layer else length


@contextmanager
def called_positions(decoder: Decoder, layer: int) -> Iterator[Call]:
    """Where a block is called, read from the KV cache as the block is entered.

    Args:
        decoder: the modules of the model.
        layer: whose block is called.

    Yields:
        The same object for every call, with its values while the block of `layer` runs.
    """
    call = Call()

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        resid_pre = hidden_states_of(args, kwargs)
        arguments = (*args, *kwargs.values())
        caches = [value for value in arguments if isinstance(value, transformers.Cache)]
        _, call.positions = decoder.rows_and_positions(resid_pre)
        call.start = _start(caches[0], layer, call.positions) if caches else 0
        cached_layers = caches[0].layers[layer : layer + 1] if caches and call.start else []
        before = getattr(cached_layers[0], "keys", None) if cached_layers else None
        call.keys = call.positions + (call.start if before is None else before.shape[-2])

    handle = decoder.blocks[layer].register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield call
    finally:
        handle.remove()

"""What ablations put on the native blocks: hooks of sublayers and projections, other forwards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
import transformers
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.ablations.edits import LayerEdit
from interp.models import COMPUTES_NOTHING, Decoder


def identity_block(parts: Decoder) -> Callable[..., Any]:
    """A block's forward that returns the residual stream that it is given."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        resid_pre = args[0] if args else kwargs["hidden_states"]
        return (resid_pre,) if parts.block_returns_tuple else resid_pre

    forward.__dict__[COMPUTES_NOTHING] = True
    return forward


@contextmanager
def block_skipped(parts: Decoder, layer: int) -> Iterator[None]:
    """Inside the context, a block returns its input and leaves zeros of width 1 in a KV cache.

    The length of a cache is read from whichever layer is asked, so each layer must have one.
    """
    identity = identity_block(parts)

    def forward(*args: Any, **kwargs: Any) -> Any:
        resid_pre = args[0] if args else kwargs["hidden_states"]
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, transformers.Cache):
                nothing = resid_pre.new_zeros(resid_pre.shape[0], 1, resid_pre.shape[1], 1)
                # a layer that reads the keys and values of another keeps none (Gemma 4)
                with suppress(NotImplementedError):
                    value.update(nothing, nothing, layer)
        return identity(*args, **kwargs)

    with forward_replaced(parts.blocks[layer], forward):
        yield


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside the context, calling the module calls `forward`; its hooks still run."""
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


def zero_output(
    adds_residual: bool, rows: Bool[Tensor, " row"] | None = None
) -> Callable[..., Any]:
    """A sublayer's forward hook: it adds nothing to the residual stream.

    Args:
        adds_residual: whether the sublayer returns the residual stream plus its output.
        rows: `[row]`, True where that is so; everywhere by default.
    """

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        value = out[0] if isinstance(out, tuple) else out
        residual: Any = kwargs.get("residual", args[1] if len(args) > 1 else None)
        kept = residual if adds_residual else torch.zeros_like(value)
        if rows is not None:
            kept = in_rows(rows, kept, value)
        return (kept, *out[1:]) if isinstance(out, tuple) else kept

    return hook


def block_skipped_in(rows: Bool[Tensor, " row"]) -> Callable[..., Any]:
    """A block's forward hook: in the rows that are True, the residual stream passes unchanged."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        resid_pre = args[0] if args else kwargs["hidden_states"]
        value = out[0] if isinstance(out, tuple) else out
        kept = in_rows(rows, resid_pre, value)
        return (kept, *out[1:]) if isinstance(out, tuple) else kept

    return hook


def in_rows(rows: Bool[Tensor, " row"], there: Tensor, otherwise: Tensor) -> Tensor:
    """`there` in the rows that are True; some MLPs see `[row * pos, width]`."""
    if otherwise.shape[0] != len(rows):
        rows = rows.repeat_interleave(otherwise.shape[0] // len(rows))
    # what leaves the last block of a placed model is where the final norm is
    rows, there = rows.to(otherwise.device), there.to(otherwise.device)
    return torch.where(rows.view(-1, *[1] * (otherwise.ndim - 1)), there, otherwise)


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


@contextmanager
def heads_resampled(
    parts: Decoder, layer: int, edit: LayerEdit, source: Float[Tensor, "#batch pos width"]
) -> Iterator[None]:
    """Inside the context, some heads have another example's z at the position of a call.

    A call with a KV cache (decoding, a draft being verified) begins where its cache ends, so the
    position is read from the cache: by the time z exists, the cache holds the call's own keys too.

    Args:
        parts: the modules of the model.
        layer: whose heads.
        edit: which heads.
        source: z of the other example, pos counted from the start of the row.
    """
    caches: list[transformers.Cache] = []
    heads = torch.tensor(sorted(edit.resample_heads), device=source.device)

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = (value for value in (*args, *kwargs.values()))
        caches[:] = [value for value in given if isinstance(value, transformers.Cache)]

    def put(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        positions = args[0].shape[1]
        start = caches[0].get_seq_length(layer) - positions if caches else 0
        places = torch.arange(start, start + positions, device=source.device)
        other = source[:, places.clamp(max=source.shape[1] - 1)].to(args[0].dtype)
        z = args[0].clone().unflatten(-1, (parts.n_heads, -1))
        z[:, :, heads] = other.unflatten(-1, (parts.n_heads, -1))[:, :, heads]
        return (z.flatten(start_dim=2), *args[1:])

    with ExitStack() as stack:
        attention, projection = parts.attentions[layer], parts.output_projections[layer]
        handle = attention.register_forward_pre_hook(look, with_kwargs=True)
        stack.callback(handle.remove)
        stack.callback(projection.register_forward_pre_hook(put).remove)
        yield

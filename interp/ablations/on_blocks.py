"""Ablations on the native blocks: what replay and decoding act through."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.edits import Edits, LayerEdit
from interp.ablations.mean import HeadMeans
from interp.ablations.resample import HeadOutputs
from interp.ablations.weights import swapped
from interp.models import COMPUTES_NOTHING, Decoder, decoder


@contextmanager
def edited(
    model: TransformerBridge,
    edits: Edits,
    means: HeadMeans | None = None,
    resample: HeadOutputs | None = None,
) -> Iterator[Decoder]:
    """Inside the context, the native blocks of the model compute as the edits say.

    A skipped block is not computed at all: it hands on its input, and leaves zeros of width 1 in
    a KV cache, because the length of a cache is read from whichever layer is asked.

    Args:
        model: a bridge.
        edits: what changes, layer by layer (`checked_edits`).
        means: `[layer, head, d_head]`, where an edit puts mean z.
        resample: layer to z `[batch, pos, head * d_head]`, where an edit puts another example's z;
            pos is the position in a row without padding, and its last entry serves all behind it.
    """
    parts = decoder(model)
    with ExitStack() as stack:
        for layer, edit in edits.items():
            if edit.skip:
                stack.enter_context(_skipped(parts, layer))
                continue
            for part, donor in edit.swaps:
                stack.enter_context(swapped(model, donor, layer, part))
            for handle in _register(parts, layer, edit, means):
                stack.callback(handle.remove)
            if edit.resample_heads:
                for handle in _resampled(parts, layer, edit, resample):
                    stack.callback(handle.remove)
        yield parts


@contextmanager
def _skipped(parts: Decoder, layer: int) -> Iterator[None]:
    pass_on = hand_on(parts)

    def forward(*args: Any, **kwargs: Any) -> Any:
        resid_pre = args[0] if args else kwargs["hidden_states"]
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, transformers.Cache):
                nothing = resid_pre.new_zeros(resid_pre.shape[0], 1, resid_pre.shape[1], 1)
                value.update(nothing, nothing, layer)
        return pass_on(*args, **kwargs)

    with forward_replaced(parts.blocks[layer], forward):
        yield


def hand_on(parts: Decoder) -> Callable[..., Any]:
    """A block's forward that returns the residual stream that it is given."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        resid_pre = args[0] if args else kwargs["hidden_states"]
        return (resid_pre,) if parts.block_returns_tuple else resid_pre

    forward.__dict__[COMPUTES_NOTHING] = True
    return forward


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


def _register(
    parts: Decoder, layer: int, edit: LayerEdit, means: HeadMeans | None
) -> list[torch.utils.hooks.RemovableHandle]:
    handles = []
    if edit.zero_heads or edit.mean_heads:
        mean = means[layer].to(parts.device_of(layer)) if means is not None else None
        hook = replace_heads([(slice(None), edit)], mean, parts.d_head)
        handles.append(parts.output_projections[layer].register_forward_pre_hook(hook))
    if edit.skip_attention:
        module, inside = parts.attentions[layer], parts.attention_adds_residual
        handles.append(module.register_forward_hook(nothing_added(inside), with_kwargs=True))
    if edit.skip_mlp:
        module, inside = parts.mlps[layer], parts.mlp_adds_residual
        handles.append(module.register_forward_hook(nothing_added(inside), with_kwargs=True))
    return handles


def _resampled(
    parts: Decoder, layer: int, edit: LayerEdit, resample: HeadOutputs | None
) -> list[torch.utils.hooks.RemovableHandle]:
    """Hooks that put another example's z at the position at which a call stands.

    A call with a KV cache (decoding, a draft being verified) begins where its cache ends, so the
    position is read from the cache: by the time z exists, the cache holds the call's own keys too.
    """
    if resample is None:
        head = min(edit.resample_heads)
        raise ValueError(f"head:{layer}.{head}@resample: no other example's z was given")
    donor = resample[layer]
    caches: list[transformers.Cache] = []
    heads = torch.tensor(sorted(edit.resample_heads), device=donor.device)

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = (value for value in (*args, *kwargs.values()))
        caches[:] = [value for value in given if isinstance(value, transformers.Cache)]

    def put(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        positions = args[0].shape[1]
        start = caches[0].get_seq_length(layer) - positions if caches else 0
        places = torch.arange(start, start + positions, device=donor.device)
        other = donor[:, places.clamp(max=donor.shape[1] - 1)].to(args[0].dtype)
        z = args[0].clone().unflatten(-1, (-1, parts.d_head))
        z[:, :, heads] = other.unflatten(-1, (-1, parts.d_head))[:, :, heads]
        return (z.flatten(start_dim=2), *args[1:])

    return [
        parts.attentions[layer].register_forward_pre_hook(look, with_kwargs=True),
        parts.output_projections[layer].register_forward_pre_hook(put),
    ]


def nothing_added(adds_residual: bool, rows: Tensor | None = None) -> Callable[..., Any]:
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


def in_rows(rows: Tensor, there: Tensor, otherwise: Tensor) -> Tensor:
    """`there` in the rows that are True; some MLPs see `[row * pos, width]`."""
    if otherwise.shape[0] != len(rows):
        rows = rows.repeat_interleave(otherwise.shape[0] // len(rows))
    # what leaves the last block of a placed model is where the final norm is
    rows, there = rows.to(otherwise.device), there.to(otherwise.device)
    return torch.where(rows.view(-1, *[1] * (otherwise.ndim - 1)), there, otherwise)


def replace_heads(
    heads: Sequence[tuple[Tensor | slice, LayerEdit]], mean: Tensor | None, d_head: int
) -> Callable[..., Any]:
    """An output projection's pre-hook: z of some heads is replaced.

    Args:
        heads: rows, and the edit of their heads.
        mean: `[head, d_head]`, where an edit puts mean z.
        d_head: width of a head.
    """

    def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].clone()
        for rows, edit in heads:
            for head in edit.zero_heads:
                z[rows, ..., head * d_head : (head + 1) * d_head] = 0
            if mean is not None:
                for head in edit.mean_heads:
                    z[rows, ..., head * d_head : (head + 1) * d_head] = mean[head]
        return (z, *args[1:])

    return hook

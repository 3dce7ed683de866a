"""Run a model once; replay only what an ablation changes.

One baseline pass keeps the residual stream that enters each block and the arguments with which
the model called it (positions, rotary tables, masks: whatever that architecture passes). An
ablation then runs blocks from its first layer on, with the captured arguments. Nothing below
that layer can differ, because a decoder's residual stream flows one way.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablations import forward_replaced, identity_block
from interp.models import Decoder, stopped_before_readout

UNEMBED_ROWS = 256


@dataclass(frozen=True, eq=False)
class Pass:
    """One baseline pass over a batch.

    Attributes:
        residuals: `[batch, pos, d_model]` entering each block, and last what leaves the last.
        calls: positional and keyword arguments of each block, without the residual stream.
    """

    residuals: list[Tensor] = field(default_factory=list)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)


def record(
    decoder: Decoder,
    input_ids: Int[Tensor, "batch pos"],
    **model_arguments: Any,
) -> Pass:
    """Run the model up to its final norm and keep what replay needs.

    Args:
        decoder: the modules of the model.
        input_ids: `[batch, pos]` tokens.
        **model_arguments: further arguments of the model (`attention_mask`, `past_key_values` ...).

    Returns:
        The residual stream before each block, and the arguments that each block was called
        with.
    """
    baseline_pass = Pass()

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args:
            baseline_pass.residuals.append(args[0])
            baseline_pass.calls.append((args[1:], dict(kwargs)))
        else:
            baseline_pass.residuals.append(kwargs["hidden_states"])
            other_arguments = {k: v for k, v in kwargs.items() if k != "hidden_states"}
            baseline_pass.calls.append(((), other_arguments))

    with ExitStack() as stack, torch.no_grad():
        for block in decoder.blocks:
            # before a placed block's own hook: masks are kept once, not once per device
            handle = block.register_forward_pre_hook(keep, with_kwargs=True, prepend=True)
            stack.callback(handle.remove)
        stack.enter_context(stopped_before_readout(decoder, baseline_pass.residuals.append))
        decoder.root(input_ids=input_ids, **model_arguments)
    return baseline_pass


def call_arguments(
    decoder: Decoder, input_ids: Int[Tensor, "batch pos"], **model_arguments: Any
) -> Pass:
    """What the model would call its blocks with, without running them.

    The blocks hand on what they are given, so that only the embedding and the arguments
    (positions, rotary tables, masks) are computed.

    Returns:
        A pass whose first residual is the embedding; those after it are the same and mean nothing.
    """
    with ExitStack() as stack:
        for layer, block in enumerate(decoder.blocks):
            stack.enter_context(forward_replaced(block, identity_block(decoder, layer)))
        return record(decoder, input_ids, **model_arguments)


def run_block(
    decoder: Decoder,
    layer: int,
    resid: Float[Tensor, "batch pos d_model"],
    calls: Pass,
    *,
    cache: transformers.Cache | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream after one block, called as the model calls it.

    Args:
        decoder: the modules of the model.
        layer: which block.
        resid: what enters it.
        calls: a pass over a batch of the same shape, of the model in its own order.
        cache: takes the place of the KV cache that the pass was given.

    Returns:
        What leaves the block, of the shape of `resid`.
    """
    args, kwargs = calls.calls[decoder.layer_at(layer)]
    if cache is not None:
        args = tuple(cache if isinstance(a, transformers.Cache) else a for a in args)
        kwargs = {k: cache if isinstance(v, transformers.Cache) else v for k, v in kwargs.items()}
    with torch.no_grad():
        out = decoder.blocks[layer](resid, *args, **kwargs)
    return out[0] if isinstance(out, tuple) else out


def replay(
    decoder: Decoder, baseline: Pass, first: int, *, cache: transformers.Cache | None = None
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream after the last block, running blocks `first` and later only.

    Call it inside `edited(...)`: the blocks compute what they are edited to.

    Args:
        decoder: the modules of the model.
        baseline: a pass over the same batch.
        first: the first layer that is edited; `n_layers` returns the baseline's own.
        cache: takes the place of the KV cache that the baseline pass was given.

    Returns:
        The stream before the final norm.
    """
    resid = baseline.residuals[first]
    for layer in range(first, decoder.n_layers):
        resid = run_block(decoder, layer, resid, baseline, cache=cache)
    return resid


def unembed(
    decoder: Decoder, resid: Float[Tensor, "rows d_model"]
) -> Iterator[Float[Tensor, "rows d_vocab"]]:
    """Logits of chosen residual vectors, at most 256 rows at a time.

    The model itself applies final norm, unembedding and whatever its architecture does to logits
    (Gemma 2 caps them): its blocks are replaced by one that hands over the given vectors.

    Args:
        decoder: the decoder.
        resid: `[rows, d_model]` residual vectors that leave the last block.

    Yields:
        Logits of the next rows, in their order, until all rows are done.
    """
    for chunk in resid.split(min(UNEMBED_ROWS, decoder.max_length)):

        def give(_module: nn.Module, _args: Any, chunk: Tensor = chunk) -> tuple[Tensor]:
            return (chunk.unsqueeze(0),)

        ids = torch.zeros(1, len(chunk), dtype=torch.long, device=decoder.device)
        with ExitStack() as stack, torch.no_grad():
            stack.callback(decoder.ln_final.register_forward_pre_hook(give).remove)
            for layer, block in enumerate(decoder.blocks):
                stack.enter_context(forward_replaced(block, identity_block(decoder, layer)))
            logits = decoder.root(input_ids=ids, use_cache=False).logits[0]
        # outside: between two chunks the model is as it was, and others can use it
        yield logits

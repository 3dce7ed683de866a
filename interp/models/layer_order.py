"""A model with its blocks in another order, over the same weights.

Blocks are numbered by their new places, so that each has keys and values of its own, also a block
that occurs twice. The result is that of a checkpoint with its layers listed in this order.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models import native_blocks
from interp.models.block_parts import Absent, Decoder
from interp.models.capture import evaluation_mode
from interp.models.layer_config import NUMBERS, relist
from interp.models.native_blocks import model_name

# the number of orders whose modules are kept: a block is a few thousand Python objects
KEPT = 4
# exceptions of models whose blocks cannot be moved
CANNOT = (TypeError, ValueError, RuntimeError, LookupError, AttributeError, NotImplementedError)
# the largest relative difference of logits that counts as rounding
ROUNDING = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def in_order(model: TransformerBridge, order: Sequence[int]) -> Decoder:
    """The native blocks of a model in another order.

    Args:
        model: from `interp.load_model`.
        order: the numbers of the model's layers in the order in which they run; one may occur
            twice.

    Returns:
        A decoder with modules of its own over the same weights. The last few decoders are kept.
    """
    decoder = native_blocks.decoder(model)
    kept: dict[tuple[int, ...], Decoder] = decoder.__dict__.setdefault("in_other_orders", {})
    order = tuple(order)
    if order not in kept:
        while len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        kept[order] = _reordered(decoder, order, range(len(order)))
    return kept[order]


def check_order_can_change(model: TransformerBridge) -> None:
    """Raise UserError where blocks cannot be moved; the model itself is tried, once.

    Blocks may compute by their number (GPT-2 with `scale_attn_by_inverse_layer_idx`), use the keys
    and values of others (Gemma 3n), or keep more than keys and values from token to token.

    Args:
        model: a bridge.
    """
    decoder = native_blocks.decoder(model)
    if "order_can_change" not in decoder.__dict__:
        decoder.__dict__["order_can_change"] = _reason_against(model, decoder)
    reason = decoder.__dict__["order_can_change"]
    if reason:
        raise UserError(f"model {model_name(model)}: its blocks cannot be moved: {reason}")


@contextmanager
def bridge_in_order(model: TransformerBridge, order: Sequence[int]) -> Iterator[None]:
    """A context in which the bridge runs its own blocks in another order.

    A block that occurs twice is one module with one set of hooks, which are called twice.

    Args:
        model: a bridge.
        order: the numbers of the blocks in the order in which they run.

    Yields:
        None. Afterwards the blocks are in their own order.
    """
    decoder, root = native_blocks.decoder(model), model.original_model
    name = model.adapter.component_mapping["blocks"].name
    owner, _, last = name.rpartition(".")
    stack = root.get_submodule(owner)
    blocks, config = getattr(stack, last), root.config
    before = dict(vars(config.get_text_config()))
    stack._modules[last] = nn.ModuleList(
        _Slot(blocks[number], place) for place, number in enumerate(order)
    )
    relist(config, order, decoder.n_layers)
    try:
        yield
    finally:
        stack._modules[last] = blocks
        vars(config.get_text_config()).clear()
        vars(config.get_text_config()).update(before)


class _Slot(nn.Module):
    """An entry in a list of blocks, which runs a block under the number of its place."""

    def __init__(self, block: nn.Module, place: int) -> None:
        super().__init__()
        self.block, self.place = block, place

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        numbered = list(_numbered(self.block))
        for module, name, _ in numbered:
            setattr(module, name, self.place)
        try:
            return self.block(*args, **kwargs)
        finally:
            for module, name, number in numbered:
                setattr(module, name, number)

    def __getattr__(self, name: str) -> Any:
        # models read attributes of their blocks, such as `attention_type`
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)


def _numbered(block: nn.Module) -> Iterator[tuple[nn.Module, str, int]]:
    """The attributes that hold a block's number: module, attribute, number."""
    for module in block.modules():
        for name in NUMBERS:
            # a bridge's modules also have the attributes of the modules that they wrap
            number = vars(module).get(name)
            if type(number) is int:
                yield module, name, number


def _reordered(decoder: Decoder, order: Sequence[int], numbers: Sequence[int]) -> Decoder:
    """The decoder with its blocks in an order, each under a given number."""
    same = {id(t): t for t in (*decoder.root.parameters(), *decoder.root.buffers())}
    root = copy.deepcopy(decoder.root, dict(same))
    paths = {id(module): path for path, module in decoder.root.named_modules()}
    name = paths[id(decoder.blocks[0])].rpartition(".")[0]
    owner, _, last = name.rpartition(".")
    copied = list(root.get_submodule(name))
    same[id(root.config)] = root.config
    same[id(root.config.get_text_config())] = root.config.get_text_config()
    blocks, used = [], set[int]()
    for place, number in enumerate(order):
        is_repeated = number in used
        block = copy.deepcopy(copied[number], dict(same)) if is_repeated else copied[number]
        used.add(number)
        blocks.append((block, numbers[place]))
    for block, number in blocks:
        for module, attribute, _ in list(_numbered(block)):
            setattr(module, attribute, number)
    root.get_submodule(owner)._modules[last] = nn.ModuleList(block for block, _ in blocks)
    relist(root.config, order, decoder.n_layers)

    def those(given: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
        values = []
        for (block, _), number in zip(blocks, order, strict=True):
            if isinstance(given[number], Absent):
                values.append(given[number])
                continue
            inside = paths[id(given[number])][len(f"{name}.{number}") :].removeprefix(".")
            values.append(block.get_submodule(inside))
        return tuple(values)

    def those_beside(given: Sequence[Sequence[nn.Module]]) -> tuple[tuple[nn.Module, ...], ...]:
        most = max(map(len, given), default=0)
        filled = [[*row, *(Absent() for _ in range(most - len(row)))] for row in given]
        columns = [those([row[at] for row in filled]) for at in range(most)]
        rows = zip(*columns, strict=True) if columns else [()] * len(order)
        return tuple(tuple(cell for cell in row if not isinstance(cell, Absent)) for row in rows)

    return replace(
        decoder,
        root=root,
        blocks=tuple(block for block, _ in blocks),
        attentions=those(decoder.attentions),
        further_mixers=those_beside(decoder.further_mixers),
        further_mlps=those_beside(decoder.further_mlps),
        parts=tuple(decoder.parts[number] for number in order),
        block_returns=tuple(decoder.block_returns[number] for number in order),
        output_projections=those(decoder.output_projections),
        mlps=those(decoder.mlps),
        attention_ends=those(decoder.attention_ends),
        mlp_ends=those(decoder.mlp_ends),
        ln_final=root.get_submodule(paths[id(decoder.ln_final)]),
        order=tuple(order),
    )


def _reason_against(model: TransformerBridge, decoder: Decoder) -> str:
    """Why the blocks of a model cannot be moved, in words; empty if they can."""
    if not hasattr(model, "original_model") or decoder.root is model.original_model:
        return "it was booted by hand; load it with interp.load_model"
    if len(decoder.devices) > 1:
        return "they are placed over several devices"
    if getattr(decoder.root.config, "quantization_config", None) is not None:
        return "its weights are quantised"
    if decoder.n_layers == 1:
        return "there is one"
    ids = torch.arange(4, 10, device=decoder.device)[None] % decoder.d_vocab
    backwards = tuple(reversed(range(decoder.n_layers)))
    try:
        with torch.no_grad():
            expected = decoder.root(input_ids=ids, use_cache=False).logits
            # the same blocks in the same places, but with other numbers
            numbers = _reordered(decoder, range(decoder.n_layers), backwards)
            if not _close(numbers.root(input_ids=ids, use_cache=False).logits, expected):
                return "they compute by their number"
            moved = _reordered(decoder, backwards, range(decoder.n_layers)).root
            expected = moved(input_ids=ids, use_cache=False).logits
            with evaluation_mode(model), bridge_in_order(model, backwards):
                if not _close(model(ids), expected):
                    return "the bridge computes by the number of a layer"
            twice = _reordered(decoder, (*backwards, 0), range(decoder.n_layers + 1))
            expected = twice.root(input_ids=ids, use_cache=False).logits
            if not _close(_token_by_token(twice, ids), expected):
                return "they keep more than keys and values from token to token"
    except CANNOT as error:
        return f"they depend on each other ({type(error).__name__})"
    return ""


def _token_by_token(decoder: Decoder, ids: Tensor) -> Tensor:
    cache = transformers.DynamicCache(config=decoder.root.config)
    pieces = [
        decoder.root(input_ids=piece, past_key_values=cache, use_cache=True).logits
        for piece in (ids[:, :3], *ids[:, 3:].split(1, dim=1))
    ]
    return torch.cat(pieces, dim=1)


def _close(found: Tensor, expected: Tensor) -> bool:
    most = ROUNDING.get(expected.dtype, 1e-4) * expected.float().abs().max()
    return bool((found.float() - expected.float()).abs().max() <= most)

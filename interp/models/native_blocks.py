"""The native Hugging Face blocks of a bridge, and what the architecture says of them.

Each loaded bridge has native blocks with fused attention beside it: a second tree of modules over
the same parameters, never a second copy of them. The architecture of a model (where its blocks,
attentions, MLPs and output projections are) is read from TransformerLens' component mapping. No
other package depends on architectures.
"""

import copy
import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError, first_line
from interp.models.block_parts import Decoder, Found, parts_of_blocks
from interp.models.checks import context_length, input_width, tell_of_tokens_outside
from interp.models.devices import devices_of, join_blocks
from interp.models.replaced_matrices import check_bridge, replaced_matrices, tried_logits
from interp.models.text_alone import no_processor
from interp.models.whole_blocks import name_parts

# the largest relative difference of logits that counts as rounding in half precision
SAME = 0.05


@dataclass(frozen=True, eq=False)
class _Native:
    """What `load_model` keeps for a bridge."""

    root: Any
    tokenizer: Any
    name: str


_natives: "WeakKeyDictionary[TransformerBridge, _Native]" = WeakKeyDictionary()


_decoders: "WeakKeyDictionary[TransformerBridge, Decoder]" = WeakKeyDictionary()


def wrap(root: Any, tokenizer: Any, *, name: str) -> TransformerBridge:
    """A bridge over a Hugging Face model, with native blocks over the same parameters.

    Args:
        root: a `...ForCausalLM` in evaluation mode. It becomes part of the bridge: its submodules
            are replaced in place.
        tokenizer: its tokenizer; None for models that take token ids only.
        name: the name for tables and figures.

    Returns:
        The bridge. It shares its parameters with the native blocks, so that a change is seen in
        both.

    Raises:
        UserError: TransformerLens cannot map the model, or its layers cannot be found.
    """
    # models made from a configuration, not from a checkpoint, do not name their class
    root.config.architectures = root.config.architectures or [type(root).__name__]
    replaced = replaced_matrices(root)
    if replaced:
        # some kinds of matrices move their scales at their first call: both trees share the result
        tried_logits(root, root)
    native = _second_tree(root)
    kwargs: dict[str, Any] = {"tokenizer": copy.deepcopy(tokenizer)} if tokenizer else {}
    level = logging.root.level
    try:
        if tokenizer is not None:
            with no_processor():
                bridge = TransformerBridge.boot_transformers(
                    name, hf_model=root, dtype=next(root.parameters()).dtype, **kwargs
                )
        else:
            from transformer_lens.model_bridge.sources import build_bridge_from_module

            bridge = build_bridge_from_module(
                root, type(root).__name__, hf_config=copy.deepcopy(root.config), model_name=name
            )
    except Exception as error:  # of any kind where it has no mapping for a model
        raise UserError(
            f"model {name}: TransformerLens cannot take apart its {type(root).__name__} "
            f"({first_line(error)})"
        ) from error
    finally:
        logging.root.setLevel(level)
    bridge.eval()
    _put_back_nothing(bridge, root)
    name_parts(bridge)
    _natives[bridge] = record = _Native(native, tokenizer, name)
    home = next(native.parameters()).device
    if len(devices_of(native)) == 1:
        # TransformerLens takes the machine's best device, not that of a given model
        bridge.cfg.device = bridge.adapter.cfg.device = str(home)
    else:
        for blocks in (_native_blocks(bridge), tuple(bridge.blocks)):
            join_blocks(blocks, home)
    try:
        decoder = _native_decoder(bridge, record)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        layers = "is not supported: its layers cannot be found in it"
        reason = "cannot be taken apart" if isinstance(error, RuntimeError) else layers
        raise UserError(
            f"model {name}: {type(root).__name__} {reason} ({first_line(error)})"
        ) from error
    check_bridge(bridge, decoder.root, name, replaced)
    tell_of_tokens_outside(name, tokenizer, decoder.d_vocab)
    return bridge


def _put_back_nothing(bridge: TransformerBridge, root: Any) -> None:
    """Let models that check for a rotary table find again that they have none."""
    for component in bridge.adapter.component_mapping.values():
        owner, _, last = str(getattr(component, "name", None) or "").rpartition(".")
        try:
            submodules = vars(root.get_submodule(owner))["_modules"]
        except AttributeError:
            continue
        if last in submodules and getattr(submodules[last], "original_component", last) is None:
            submodules[last] = None


def bridge_over(root: Any) -> TransformerBridge | None:
    """The bridge that a Hugging Face model is part of; None if there is none."""
    return next((bridge for bridge in _natives if bridge.original_model is root), None)


def model_name(model: TransformerBridge) -> str:
    """The name of a model in records and figures: the name it was loaded by, or its folder's name.

    Args:
        model: a bridge.

    Returns:
        The name; `model` if a bridge booted elsewhere has none.
    """
    record = _natives.get(model)
    return record.name if record else str(getattr(model.cfg, "model_name", "model"))


def decoder(model: TransformerBridge) -> Decoder:
    """The native blocks of a bridge, or the bridge's own if it was booted elsewhere.

    Args:
        model: a bridge.

    Returns:
        The decoder; every call with the same bridge returns the same object.

    Raises:
        UserError: the model is not decoder-only, its weights were rewritten by
            `enable_compatibility_mode()`, or it was booted elsewhere and is in training mode.
    """
    if not isinstance(model, TransformerBridge):
        raise UserError(
            f"model {str(model)[:80]!r}: it is no loaded model; give what interp.load_model(...) "
            "returns"
        )
    if getattr(model, "compatibility_mode", False):
        raise UserError(
            f"model {model_name(model)}: enable_compatibility_mode() has rewritten its weights; "
            "load it again"
        )
    if model not in _natives and model.training:
        raise UserError(
            f"model {model_name(model)}: it is in training mode, where dropout changes what it "
            "answers; call model.eval()"
        )
    if model not in _decoders:
        record = _natives.get(model)
        _decoders[model] = _native_decoder(model, record) if record else bridge_decoder(model)
    return _decoders[model]


def _second_tree(root: Any) -> Any:
    """A deep copy of the modules that shares every parameter and buffer with the original."""
    memo = {id(tensor): tensor for tensor in (*root.parameters(), *root.buffers())}
    native = copy.deepcopy(root, memo)
    if getattr(native, "_supports_sdpa", False):
        native.set_attn_implementation("sdpa")
    return native


def _native_blocks(model: TransformerBridge) -> tuple[nn.Module, ...]:
    name = model.adapter.component_mapping["blocks"].name
    return tuple(_natives[model].root.get_submodule(name))


def _native_decoder(model: TransformerBridge, record: _Native) -> Decoder:
    mapping = model.adapter.component_mapping
    if len(devices_of(record.root)) == 1:
        record.root.to(next(model.parameters()).device)
    return _decoder(
        model,
        parts_of_blocks(_native_blocks(model), mapping["blocks"].submodules, own=True),
        root=record.root,
        tokenizer=record.tokenizer,
        ln_final=record.root.get_submodule(mapping["ln_final"].name),
    )


def bridge_decoder(model: TransformerBridge) -> Decoder:
    """The bridge's own blocks, in which TransformerLens' hooks act.

    Args:
        model: a bridge.

    Returns:
        The decoder. For a bridge that was booted elsewhere, `decoder` returns the same.
    """
    submodules = model.adapter.component_mapping["blocks"].submodules
    return _decoder(
        model,
        parts_of_blocks(tuple(model.blocks), submodules, own=False),
        root=model.original_model,
        tokenizer=model.tokenizer,
        ln_final=model.ln_final,
    )


def _decoder(
    model: TransformerBridge, found: Found, *, root: Any, tokenizer: Any, ln_final: nn.Module
) -> Decoder:
    config = root.config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"model {model_name(model)}: encoder-decoder models are not supported")
    headed = next((n for n, parts in enumerate(found.parts) if parts.has_heads), None)
    n_heads = 1 if headed is None else int(model.cfg.n_heads)
    width = None if headed is None else input_width(found.output_projections[headed])
    return Decoder(
        **vars(found),
        root=root,
        tokenizer=tokenizer,
        ln_final=ln_final,
        n_heads=n_heads,
        n_kv_heads=int(getattr(model.cfg, "n_key_value_heads", None) or n_heads) if width else 1,
        # from the module that computes z: head_dim in a configuration may be that of keys
        # (DeepSeek)
        d_head=width // n_heads if width else int(getattr(model.cfg, "d_head", None) or 1),
        d_model=int(model.cfg.d_model),
        max_length=context_length(config, tokenizer),
        d_vocab=_rows_of_embedding(root),
        block_returns=_block_returns(root, found.blocks, model_name(model)),
        attention_adds_residual=_takes_residual(found.attentions[headed or 0]),
        mlp_adds_residual=_takes_residual(found.mlps[0]),
    )


def _rows_of_embedding(root: Any) -> int:
    embedding = root.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    return int(weight.shape[0]) if weight is not None else int(root.config.vocab_size)


def _takes_residual(module: Any) -> bool:
    inner = getattr(module, "original_component", None) or module
    return "residual" in inspect.signature(inner.forward).parameters


def _block_returns(root: nn.Module, blocks: Sequence[nn.Module], name: str) -> tuple[int, ...]:
    """The number of values that each block returns; refuses models without causal attention."""
    seen: list[int] = []

    def look(_module: nn.Module, _args: Any, out: Any) -> None:
        seen.append(len(out) if isinstance(out, tuple) else 0)

    handles = [block.register_forward_hook(look) for block in blocks]
    try:
        with torch.no_grad():
            ids = torch.tensor([[3, 4], [3, 5]], device=next(root.parameters()).device)
            first, second = root(input_ids=ids).logits[:, 0].float()
    finally:
        for handle in handles:
            handle.remove()
    if len(seen) != len(blocks):
        raise UserError(
            f"model {name}: {type(root).__name__} runs its {len(blocks)} blocks {len(seen)} times; "
            "only models that run each once are supported"
        )
    if bool(((first - second).abs() > SAME * first.abs().max()).any()):
        raise UserError(
            f"model {name}: {type(root).__name__} lets a position see what follows it; only models "
            "that predict the next token are supported"
        )
    return tuple(seen)

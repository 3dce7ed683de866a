"""The native Hugging Face blocks of a bridge, and what the architecture says of them.

Behind each loaded bridge the same weights are kept as native blocks with fused attention: a second
tree of modules over the same parameters, never a second copy. The architecture of a model (where
its blocks, attentions, MLPs and output projections are) is read from TransformerLens' own component
mapping; nothing else in the package knows architectures.
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
from interp.models.checks import context_length, input_width, tell_of_tokens_outside
from interp.models.devices import devices_of, join_blocks
from interp.models.replaced_matrices import check_bridge, replaced_matrices, tried_logits
from interp.models.sublayers import NORMS_BEHIND, sublayer_ends


@dataclass(frozen=True, eq=False)
class Decoder:
    """The modules of a decoder-only model, in the order in which they run.

    Attributes:
        root: called with `input_ids`; runs embedding, blocks, final norm and unembedding.
        blocks: one module per layer.
        attentions: the attention sublayer of each block.
        output_projections: inside each attention, the matrix that takes z
            `[batch, pos, head * d_head]` to the residual stream.
        mlps: the last module of each block whose output is the MLP's contribution.
        attention_ends: the module of each block whose output its attention adds to the residual
            stream: the norm after the attention where there is one (Gemma 2), else the attention.
        mlp_ends: the same for the MLP.
        ln_final: the norm after the last block.
        tokenizer: as saved with the model, not altered by TransformerLens.
        n_heads: query heads per layer.
        n_kv_heads: key/value heads per layer.
        d_head: width of z of a head in the first layer (not always d_model / n_heads); other layers
            may have another.
        d_model: width of the residual stream.
        max_length: the longest context, in tokens.
        d_vocab: rows of the embedding; token ids are below it.
        block_returns_tuple: whether a block returns `(residual, ...)` or the residual alone.
        attention_adds_residual: whether the attention returns the residual stream plus its
            output (BLOOM) and not its output alone.
        mlp_adds_residual: the same for the MLP.
        order: under a layer program, which of the model's layers each block is; else empty.
    """

    root: Any
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    output_projections: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]
    attention_ends: tuple[nn.Module, ...]
    mlp_ends: tuple[nn.Module, ...]
    ln_final: nn.Module
    tokenizer: Any
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    max_length: int
    d_vocab: int
    block_returns_tuple: bool
    attention_adds_residual: bool
    mlp_adds_residual: bool
    order: tuple[int, ...] = ()

    @property
    def n_layers(self) -> int:
        """Number of transformer blocks."""
        return len(self.blocks)

    def layer_at(self, place: int) -> int:
        """Which of the model's layers the block at a place is."""
        return self.order[place] if self.order else place

    @property
    def device(self) -> torch.device:
        """Where the input ids belong, and where logits come out."""
        return next(self.root.parameters()).device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices that hold weights."""
        return devices_of(self.root)

    @property
    def pad_id(self) -> int:
        """A token id to pad with: the tokenizer's where the embedding has it, else 0."""
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        return pad if pad < self.d_vocab else 0

    def check_tokens(self, tokens: Sequence[int]) -> None:
        """Raise UserError where a token id has no row in the embedding."""
        outside = next((token for token in tokens if not 0 <= token < self.d_vocab), None)
        if outside is not None:
            text = self.tokenizer.convert_ids_to_tokens(outside) if self.tokenizer else "a token"
            raise UserError(
                f"token {outside} ({text}): the model's embedding has {self.d_vocab} rows; resize "
                "it, or leave the token out"
            )

    def check_heads(self, layer: int) -> None:
        """Raise UserError where a layer's z is not one of `n_heads` heads of equal width."""
        width = input_width(self.output_projections[layer])
        if width is not None and width % self.n_heads:
            raise UserError(
                f"layer {layer}: what its output projection takes in is {width} wide and cannot be "
                f"told apart into {self.n_heads} heads"
            )

    def device_of(self, layer: int) -> torch.device:
        """Where a block is, and what it computes."""
        return next(self.blocks[layer].parameters()).device

    def __repr__(self) -> str:
        return (
            f"Decoder({type(self.root).__name__}: {self.n_layers} layers, {self.n_heads} heads "
            f"over {self.n_kv_heads} KV heads of width {self.d_head})"
        )


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
        root: a `...ForCausalLM` in evaluation mode. It becomes the bridge's: its submodules are
            replaced in place.
        tokenizer: its tokenizer (None for models that are fed token ids only).
        name: shown in tables and figures.

    Returns:
        The bridge. It shares its parameters with the native blocks, so that a change of one is seen
        in both.
    """
    # models made from a configuration, not from a checkpoint, do not name their own class
    root.config.architectures = root.config.architectures or [type(root).__name__]
    replaced = replaced_matrices(root)
    if replaced:
        # some kinds of matrices put their scales elsewhere at their first call: both trees share
        # what lies there afterwards
        tried_logits(root, root)
    native = _second_tree(root)
    kwargs: dict[str, Any] = {"tokenizer": copy.deepcopy(tokenizer)} if tokenizer else {}
    level = logging.root.level
    try:
        if tokenizer is not None:
            bridge = TransformerBridge.boot_transformers(
                name, hf_model=root, dtype=next(root.parameters()).dtype, **kwargs
            )
        else:
            from transformer_lens.model_bridge.sources import build_bridge_from_module

            bridge = build_bridge_from_module(
                root, type(root).__name__, hf_config=copy.deepcopy(root.config), model_name=name
            )
    except Exception as error:  # what TransformerLens has no mapping for raises anything
        raise UserError(
            f"model {name}: TransformerLens cannot take apart its {type(root).__name__} "
            f"({first_line(error)})"
        ) from error
    finally:
        logging.root.setLevel(level)
    bridge.eval()
    _natives[bridge] = behind = _Native(native, tokenizer, name)
    if len(devices_of(native)) > 1:
        home = next(native.parameters()).device
        for blocks in (_native_blocks(bridge), tuple(bridge.blocks)):
            join_blocks(blocks, home)
    try:
        decoder = _native_decoder(bridge, behind)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        layers = "is not supported: not every layer of it is an attention and an MLP"
        why = "cannot be taken apart" if isinstance(error, RuntimeError) else layers
        raise UserError(
            f"model {name}: {type(root).__name__} {why} ({first_line(error)})"
        ) from error
    if replaced:
        check_bridge(bridge, decoder.root, name, replaced)
    tell_of_tokens_outside(name, tokenizer, decoder.d_vocab)
    return bridge


def bridge_over(root: Any) -> TransformerBridge | None:
    """The bridge that a Hugging Face model has become part of; None where there is none."""
    return next((bridge for bridge in _natives if bridge.original_model is root), None)


def model_name(model: TransformerBridge) -> str:
    """The name of a model in records and figures: as it was asked for, or its folder's name.

    Args:
        model: a bridge.

    Returns:
        Text; `model` where a bridge booted elsewhere has no name.
    """
    behind = _natives.get(model)
    return behind.name if behind else str(getattr(model.cfg, "model_name", "model"))


def decoder(model: TransformerBridge) -> Decoder:
    """The native blocks of a bridge, or the bridge's own where it was booted elsewhere.

    Args:
        model: a bridge.

    Returns:
        The same object at every call for one bridge.

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
        behind = _natives.get(model)
        _decoders[model] = _native_decoder(model, behind) if behind else bridge_decoder(model)
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


def _native_decoder(model: TransformerBridge, behind: _Native) -> Decoder:
    mapping = model.adapter.component_mapping
    block, blocks = mapping["blocks"], _native_blocks(model)
    attention, mlp = block.submodules["attn"], block.submodules["mlp"]
    # OPT keeps its two MLP matrices in the block itself: the second one's output is the MLP's.
    mlp_name = mlp.name or mlp.submodules["out"].name
    if len(devices_of(behind.root)) == 1:
        behind.root.to(next(model.parameters()).device)
    mlps = tuple(b.get_submodule(mlp_name) for b in blocks)
    attentions = tuple(b.get_submodule(attention.name) for b in blocks)
    norms = {name: block.submodules[name].name for name in NORMS_BEHIND if name in block.submodules}
    return _decoder(
        model,
        root=behind.root,
        tokenizer=behind.tokenizer,
        blocks=blocks,
        attentions=attentions,
        output_projections=tuple(
            b.get_submodule(f"{attention.name}.{attention.submodules['o'].name}") for b in blocks
        ),
        mlps=mlps,
        attention_ends=sublayer_ends(blocks, attentions, norms.get("ln1_post")),
        mlp_ends=sublayer_ends(blocks, mlps, norms.get("ln2_post")),
        ln_final=behind.root.get_submodule(mapping["ln_final"].name),
    )


def bridge_decoder(model: TransformerBridge) -> Decoder:
    """The bridge's own blocks, in which TransformerLens' hooks act.

    Args:
        model: a bridge.

    Returns:
        The decoder. `decoder` gives it, too, for a bridge that was booted elsewhere.
    """
    blocks = tuple(model.blocks)
    attentions = tuple(b.attn for b in blocks)
    mlps = tuple(b.mlp if b.mlp.name else b.mlp.out for b in blocks)
    return _decoder(
        model,
        root=model.original_model,
        tokenizer=model.tokenizer,
        blocks=blocks,
        attentions=attentions,
        output_projections=tuple(b.attn.o for b in blocks),
        mlps=mlps,
        attention_ends=sublayer_ends(blocks, attentions, "ln1_post"),
        mlp_ends=sublayer_ends(blocks, mlps, "ln2_post"),
        ln_final=model.ln_final,
    )


def _decoder(model: TransformerBridge, **modules: Any) -> Decoder:
    config = modules["root"].config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"model {model_name(model)}: encoder-decoder models are not supported")
    n_heads = int(model.cfg.n_heads)
    width = input_width(modules["output_projections"][0])
    forward = modules["attentions"][0].forward
    original = getattr(modules["attentions"][0], "original_component", None)
    original_mlp = getattr(modules["mlps"][0], "original_component", None)
    return Decoder(
        **modules,
        n_heads=n_heads,
        n_kv_heads=int(getattr(model.cfg, "n_key_value_heads", None) or n_heads),
        # of the module that makes z: a configuration's head_dim may be that of keys (DeepSeek)
        d_head=width // n_heads if width else int(model.cfg.d_head),
        d_model=int(model.cfg.d_model),
        max_length=context_length(config, modules["tokenizer"]),
        d_vocab=_rows_of_embedding(modules["root"]),
        block_returns_tuple=_block_returns_tuple(modules["root"], modules["blocks"][0]),
        attention_adds_residual=_takes_residual(original.forward if original else forward),
        mlp_adds_residual=_takes_residual((original_mlp or modules["mlps"][0]).forward),
    )


def _rows_of_embedding(root: Any) -> int:
    embedding = root.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    return int(weight.shape[0]) if weight is not None else int(root.config.vocab_size)


def _takes_residual(forward: Any) -> bool:
    return "residual" in inspect.signature(forward).parameters


def _block_returns_tuple(root: nn.Module, block: nn.Module) -> bool:
    seen: list[bool] = []
    handle = block.register_forward_hook(lambda *call: seen.append(isinstance(call[2], tuple)))
    try:
        with torch.no_grad():
            root(
                input_ids=torch.zeros(1, 2, dtype=torch.long, device=next(root.parameters()).device)
            )
    finally:
        handle.remove()
    return seen[0]

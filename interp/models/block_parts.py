"""The parts of each block: what mixes tokens, the MLP, and which layers have heads.

In hybrid models tokens are mixed by an attention in some layers and by a recurrence or a
convolution in others (Qwen3-Next, Jamba, LFM2), by both at once (Falcon-H1), or by nothing
(Nemotron-H, whose layers are a mixer or an MLP each). What a block has is read from the modules
themselves; their names come from TransformerLens' component mapping.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from interp.errors import UserError
from interp.models.checks import input_width
from interp.models.devices import devices_of
from interp.models.sublayers import NORMS_BEHIND, sublayer_ends

MIXERS = ("attn", "self_attn", "linear_attn", "mixer", "mamba", "conv", "time_mix")
"""TransformerLens' names for what mixes tokens; an attention first."""
MLPS = ("mlp", "shared_mlp", "moe", "channel_mix")
"""Its names for what works on each token alone; where there are two, both add (Granite)."""
ATTENTION_NAMES = ("attn", "self_attn")
"""Its names for an attention of heads (Gemma 3n has the second)."""
PROJECTIONS = ("o", "out_proj", "out")
"""TransformerLens' names for the matrix with which a mixer writes to the residual stream."""

ALTUP = "altup_num_inputs"
"""The number of residual streams of AltUp (Gemma 3n), in a configuration."""
STREAMS = ("hc_mult", ALTUP)
"""What configurations call the number of residual streams: hyper-connections, AltUp."""

ATTENTIONS = {"NemotronHAttention": "o_proj", "RecurrentGemmaAttention": "o_proj"}
"""By class: attentions that TransformerLens maps as a whole, and their output projections."""

NO_HEADS = {"JetMoeAttention": ", where a router picks other heads for every token"}
"""By class: why an attention has no heads that stand for themselves."""


class Absent(nn.Module):
    """A placeholder where a layer lacks a part; it is never run."""


@dataclass(frozen=True)
class Parts:
    """The parts of one block.

    Attributes:
        mixers: TransformerLens' names of the modules that mix tokens: none, one or several side by
            side.
        mlps: its names of the MLPs: none, one or several side by side.
        has_heads: whether the input of the first mixer's output projection is the z of heads.
        kind: the class of what mixes tokens, for messages.
    """

    mixers: tuple[str, ...]
    mlps: tuple[str, ...]
    has_heads: bool
    kind: str


@dataclass(frozen=True, eq=False)
class Found:
    """The modules of all blocks, layer by layer (see `Decoder`)."""

    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    further_mixers: tuple[tuple[nn.Module, ...], ...]
    output_projections: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]
    further_mlps: tuple[tuple[nn.Module, ...], ...]
    attention_ends: tuple[nn.Module, ...]
    mlp_ends: tuple[nn.Module, ...]
    parts: tuple[Parts, ...]


@dataclass(frozen=True, eq=False)
class Decoder:
    """The modules of a decoder-only model, in the order in which they run.

    Attributes:
        root: the model; called with `input_ids`, it runs embedding, blocks, final norm and
            unembedding.
        blocks: one module per layer.
        attentions: the module that mixes tokens in each block, its attention if it has one;
            `Absent` if nothing does.
        further_mixers: other modules that mix tokens beside it (Falcon-H1).
        output_projections: the matrix in each attention that maps z `[batch, pos, head * d_head]`
            to the residual stream.
        mlps: the module of each block whose output is the MLP's contribution; `Absent` if there is
            none.
        further_mlps: MLPs beside it (experts beside a shared MLP in Granite).
        attention_ends: the module of each block whose output is what the attention adds to the
            residual stream: the norm after the attention if there is one (Gemma 2), otherwise the
            attention.
        mlp_ends: the same for the MLP.
        ln_final: the norm after the last block.
        tokenizer: the tokenizer as saved with the model, not altered by TransformerLens.
        parts: the parts of each block, by TransformerLens' names.
        n_heads: the number of query heads per layer; 1 if no layer has any.
        n_kv_heads: the number of key/value heads per layer.
        d_head: the width of a head's z in the first layer (not always d_model / n_heads); it may
            differ in other layers.
        d_model: width of the residual stream.
        max_length: the longest context, in tokens.
        d_vocab: the number of rows of the embedding; token ids are below it.
        block_returns: for each block, the number of values in the tuple that it returns; 0 if it
            returns only the residual stream.
        attention_adds_residual: whether the attention returns the residual stream plus its
            output (BLOOM) and not its output alone.
        mlp_adds_residual: the same for the MLP.
        order: under a layer program, the model's layer that each block is; otherwise empty.
    """

    root: Any
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    further_mixers: tuple[tuple[nn.Module, ...], ...]
    output_projections: tuple[nn.Module, ...]
    mlps: tuple[nn.Module, ...]
    further_mlps: tuple[tuple[nn.Module, ...], ...]
    attention_ends: tuple[nn.Module, ...]
    mlp_ends: tuple[nn.Module, ...]
    parts: tuple[Parts, ...]
    ln_final: nn.Module
    tokenizer: Any
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    max_length: int
    d_vocab: int
    block_returns: tuple[int, ...]
    attention_adds_residual: bool
    mlp_adds_residual: bool
    order: tuple[int, ...] = ()

    @property
    def n_layers(self) -> int:
        """Number of transformer blocks."""
        return len(self.blocks)

    def layer_at(self, place: int) -> int:
        """The model's layer that is the block at a place."""
        return self.order[place] if self.order else place

    def handed_on(self, layer: int, resid: torch.Tensor) -> Any:
        """A residual stream in the form that a block returns."""
        entries = self.block_returns[layer]
        return (resid, *[None] * (entries - 1)) if entries else resid

    def rows_and_positions(self, resid: torch.Tensor) -> tuple[int, int]:
        """The number of rows and of positions of what enters a block.

        It is `[batch, pos, d_model]`, `[batch, pos, stream, d_model]` where there are several
        streams, or `[stream, batch, pos, d_model]` (AltUp).
        """
        rows, positions = resid.shape[1:3] if self.streams_first else resid.shape[:2]
        return rows, positions

    @cached_property
    def streams_first(self) -> bool:
        """Whether a block hands on `[stream, batch, pos, d_model]` (AltUp)."""
        return bool(getattr(self.root.config.get_text_config(), ALTUP, None))

    @property
    def device(self) -> torch.device:
        """The device of the input ids and of the logits."""
        return next(self.root.parameters()).device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices that hold weights."""
        return devices_of(self.root)

    @property
    def pad_id(self) -> int:
        """A token id for padding: the tokenizer's, or 0 if the embedding does not have that."""
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        return pad if pad < self.d_vocab else 0

    def check_tokens(self, tokens: Sequence[int]) -> None:
        """Raise UserError where a token id has no row in the embedding."""
        # checking the smallest and the largest takes a fraction of the time of a loop
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.d_vocab:
            outside = next(token for token in tokens if not 0 <= token < self.d_vocab)
            text = self.tokenizer.convert_ids_to_tokens(outside) if self.tokenizer else "a token"
            raise UserError(
                f"token {outside} ({text}): the model's embedding has {self.d_vocab} rows; resize "
                "it, or leave the token out"
            )

    def check_heads(self, layer: int) -> None:
        """Raise UserError where a layer's z does not consist of `n_heads` heads of equal width."""
        if not self.parts[layer].has_heads:
            layers_with_heads = ", ".join(map(str, self.layers_with("heads"))) or "none"
            kind = self.parts[layer].kind
            reason = f"its tokens are mixed by {kind}" if kind else "nothing in it mixes tokens"
            reason += NO_HEADS.get(kind, "")
            raise UserError(
                f"layer {layer}: it has no attention heads that can be told apart ({reason}); "
                f"layers with heads: {layers_with_heads}"
            )
        width = input_width(self.output_projections[layer])
        if width is not None and width % self.n_heads:
            raise UserError(
                f"layer {layer}: what its output projection takes in is {width} wide and cannot be "
                f"told apart into {self.n_heads} heads"
            )

    def hook_of_z(self, layer: int) -> str:
        """The bridge's hook point at which z of a layer's heads passes, by its name."""
        mixer = self.parts[layer].mixers[0]
        point = "hook_z" if mixer == "attn" else f"{PROJECTIONS[0]}.hook_in"
        return f"blocks.{layer}.{mixer}.{point}"

    def layers_with(self, part: Literal["attention", "mlp", "heads"]) -> tuple[int, ...]:
        """The layers that have a part; every layer in most models."""
        has = {
            "attention": lambda parts: parts.mixers,
            "mlp": lambda parts: parts.mlps,
            "heads": lambda parts: parts.has_heads,
        }[part]
        return tuple(n for n, parts in enumerate(self.parts) if has(parts))

    def check_part(self, layer: int, part: str, *, alone: bool = False) -> None:
        """Raise UserError where a layer has no such part.

        Args:
            layer: which block.
            part: `attention` (whatever mixes tokens) or `mlp`; anything else is always there.
            alone: whether it must be one module.
        """
        if part not in ("attention", "mlp"):
            return
        parts = self.parts[layer]
        names = parts.mlps if part == "mlp" else parts.mixers
        short = "mlp" if part == "mlp" else "attn"
        if alone and len(names) > 1:
            raise UserError(
                f"layer {layer}: {' and '.join(names)} work side by side in it, and what both add "
                f"is not replaced; allowed are {short}:{layer} and layer:{layer}"
            )
        if names:
            return
        part_text = "MLP" if part == "mlp" else "part that mixes tokens"
        if not (parts.mlps or parts.mixers):
            part_text = "part that could be told apart from the rest"
        raise UserError(f"layer {layer}: it has no {part_text}; allowed is layer:{layer}")

    def check_one_stream(self, what: str) -> None:
        """Raise UserError where the blocks hand on several residual streams.

        Args:
            what: is put into the stream, for the message.
        """
        config = self.root.config.get_text_config()
        streams = next((n for n in (getattr(config, key, None) for key in STREAMS) if n), 1)
        if streams > 1:
            raise UserError(
                f"{what}: the model keeps {streams} residual streams at each position, into which "
                "one is not put; allowed are attn:N and mlp:N"
            )

    def check_told_apart(self, what: str) -> None:
        """Raise UserError where the parts of a layer cannot be told apart.

        Args:
            what: what was requested, for the message.
        """
        for layer, parts in enumerate(self.parts):
            if not (parts.mixers or parts.mlps):
                raise UserError(
                    f"{what}: TransformerLens takes layer {layer} of this model as a whole; its "
                    "parts are not told apart"
                )

    def device_of(self, layer: int) -> torch.device:
        """The device of a block and of its output."""
        return next(self.blocks[layer].parameters()).device

    def __repr__(self) -> str:
        return (
            f"Decoder({type(self.root).__name__}: {self.n_layers} layers, {self.n_heads} heads "
            f"over {self.n_kv_heads} KV heads of width {self.d_head})"
        )


def parts_of_blocks(
    blocks: Sequence[nn.Module], components: Mapping[str, Any], *, own: bool
) -> Found:
    """The parts of each block.

    Args:
        blocks: the blocks, in the order in which they run.
        components: TransformerLens' mapping of a block.
        own: whether the blocks are those of transformers, whose parts have the names given by the
            mapping; otherwise they are those of TransformerLens.

    Returns:
        The modules; `Absent` ones where a block lacks a part.
    """
    parts_by_block = [_parts_of(block, components, own) for block in blocks]
    attentions = tuple(mixers[0] if mixers else Absent() for mixers, _, _, _ in parts_by_block)
    mlps = tuple(own_mlps[0] if own_mlps else Absent() for _, own_mlps, _, _ in parts_by_block)
    norms = {
        name: components[name].name if own else name for name in NORMS_BEHIND if name in components
    }
    return Found(
        blocks=tuple(blocks),
        attentions=attentions,
        further_mixers=tuple(tuple(mixers[1:]) for mixers, _, _, _ in parts_by_block),
        output_projections=tuple(projection for _, _, projection, _ in parts_by_block),
        mlps=mlps,
        further_mlps=tuple(tuple(own_mlps[1:]) for _, own_mlps, _, _ in parts_by_block),
        attention_ends=sublayer_ends(blocks, attentions, norms.get("ln1_post")),
        mlp_ends=sublayer_ends(blocks, mlps, norms.get("ln2_post")),
        parts=tuple(parts for _, _, _, parts in parts_by_block),
    )


def _parts_of(
    block: nn.Module, components: Mapping[str, Any], own: bool
) -> tuple[list[nn.Module], list[nn.Module], nn.Module, Parts]:
    mixers, mlps = dict[str, nn.Module](), dict[str, nn.Module]()
    for key in filter(components.__contains__, (*MIXERS, *MLPS)):
        module = _module(block, key, components[key], own)
        if module is not None:
            # Nemotron-H calls every kind of layer a mixer
            mixes = key in MIXERS and (key != "mixer" or _mixes(module))
            (mixers if mixes else mlps)[key] = module
    first = next(iter(mixers), "")
    projection = _projection(mixers[first], components[first], own) if first else None
    kind = type(_original(mixers[first])).__name__ if first else ""
    parts = Parts(
        mixers=tuple(mixers),
        mlps=tuple(mlps),
        has_heads=projection is not None and (first in ATTENTION_NAMES or kind in ATTENTIONS),
        kind=kind,
    )
    return list(mixers.values()), list(mlps.values()), projection or Absent(), parts


def _module(block: nn.Module, key: str, component: Any, own: bool) -> nn.Module | None:
    if component.name or key != "mlp":
        return _inside(block, key, component, own)
    # OPT keeps its two MLP matrices in the block itself; the output of the second is the MLP's
    owner = block if own else getattr(block, key)
    return _inside(owner, "out", component.submodules["out"], own)


def _projection(mixer: nn.Module, component: Any, own: bool) -> nn.Module | None:
    for key in PROJECTIONS:
        if key in component.submodules:
            projection = _inside(mixer, key, component.submodules[key], own)
            if projection is not None:
                return projection
    return None


def _inside(owner: Any, key: str, component: Any, own: bool) -> nn.Module | None:
    """A module by its name in transformers or in TransformerLens' tree; None if there is none."""
    module = owner
    for name in (component.name or "").split(".") if own else [key]:
        module = getattr(module, name, None) if name else None
    return module if isinstance(module, nn.Module) else None


def _original(module: nn.Module) -> Any:
    return getattr(module, "original_component", None) or module


def _mixes(module: nn.Module) -> bool:
    """Whether a module mixes tokens, and is not an MLP."""
    inner = _original(module)
    return not any(hasattr(inner, name) for name in ("up_proj", "experts"))

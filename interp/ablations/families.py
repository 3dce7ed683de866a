"""Families of ablations: every layer, every head, sliding blocks, cumulative; by name or text."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, Literal, cast, get_args

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.base import BASELINE, Ablation, Combination
from interp.ablations.causal_families import each_back_patch, each_cut, each_patch, each_window
from interp.ablations.edits import Part, Scope, Shape
from interp.ablations.expert_routing import each_expert
from interp.ablations.position_classes import CLASS
from interp.ablations.programs import Exchange, Parallel, Repeat
from interp.ablations.scoped import Scoped
from interp.ablations.shapes import blocks_of_size, layers_with, shape_of
from interp.ablations.swap_families import SWAP_FAMILIES, swapped_blocks
from interp.ablations.text import NUMBER, as_ablation, parse, parsed_or_none
from interp.ablations.values import (
    AblateHead,
    AblateKVGroup,
    Replace,
    Replacement,
    SkipAttention,
    SkipLayer,
    SkipLayers,
    SkipMLP,
    check_donor_used,
    with_donor,
)
from interp.ablations.windowed_heads import RECENT, SINKS
from interp.errors import UserError, did_you_mean


def each_layer(model: TransformerBridge) -> list[Ablation]:
    """Skip each layer in turn: `layer:0`, `layer:1`, ...

    Args:
        model: a bridge.

    Returns:
        One ablation per layer, in the order of the layers.
    """
    return [SkipLayer(layer) for layer in range(shape_of(model).n_layers)]


def each_attention(model: TransformerBridge) -> list[Ablation]:
    """Skip each attention in turn: `attn:0`, `attn:1`, ...

    Args:
        model: a bridge.

    Returns:
        One ablation per layer whose tokens are mixed, in the order of the layers.

    Raises:
        UserError: no layer has a part that mixes tokens and could be told apart.
    """
    return [SkipAttention(layer) for layer in layers_with(model, "attention")]


def each_mlp(model: TransformerBridge) -> list[Ablation]:
    """Skip each MLP in turn: `mlp:0`, `mlp:1`, ...

    Args:
        model: a bridge.

    Returns:
        One ablation per layer that has an MLP, in the order of the layers.
    """
    return [SkipMLP(layer) for layer in layers_with(model, "mlp")]


def each_replaced(
    model: TransformerBridge,
    *,
    part: Part = "layer",
    by: Literal["mean", "resample", "linear"] = "mean",
) -> list[Ablation]:
    """Replace what each block, attention or MLP adds, in turn: `layer:0@mean`, ...

    Args:
        model: the model that is ablated.
        part: `"layer"`, `"attention"` or `"mlp"`.
        by: what takes its place (see `Replace`).

    Returns:
        One ablation per layer that has the part, in the order of the layers.
    """
    return [Replace(layer, part, by) for layer in layers_with(model, part)]


def each_head(
    model: TransformerBridge, *, by: Replacement = "mean", layers: Sequence[int] | None = None
) -> list[Ablation]:
    """Ablate each query head in turn, layer by layer: `head:0.0@mean`, `head:0.1@mean`, ...

    Args:
        model: the model whose heads are ablated.
        by: what takes the place of a head's z (see `AblateHead`). Zero, which no head ever writes,
            can cost much where the mean costs nothing.
        layers: whose heads; those of all layers that have any by default.

    Returns:
        One ablation per query head: all heads of the first layer, then those of the next.

    Raises:
        UserError: a layer is out of range, or no layer has heads.
    """
    shape = shape_of(model)
    layers = layers_with(model, "heads") if layers is None else layers
    return [
        AblateHead(layer, head, by)
        for layer in _checked_layers(shape, layers)
        for head in range(shape.n_heads)
    ]


def each_kv_group(
    model: TransformerBridge, *, layers: Sequence[int] | None = None
) -> list[Ablation]:
    """Ablate each group of query heads that share a key/value head.

    Args:
        model: the model whose heads are ablated.
        layers: whose groups; those of all layers that have any by default.

    Returns:
        One ablation per group: all groups of the first layer, then those of the next. Without
        grouped-query attention a group is one head.

    Raises:
        UserError: a layer is out of range, or no layer has heads.
    """
    shape = shape_of(model)
    layers = layers_with(model, "heads") if layers is None else layers
    return [
        AblateKVGroup(layer, group)
        for layer in _checked_layers(shape, layers)
        for group in range(shape.n_kv_heads)
    ]


def _checked_layers(shape: Shape, layers: Sequence[int]) -> Sequence[int]:
    several = isinstance(layers, Iterable) and not isinstance(layers, str | bytes)
    layer_numbers = list(layers) if several else []
    if not layer_numbers:
        raise UserError(f"layers {layers!r:.80}: allowed are numbers of layers")
    for layer in layer_numbers:
        SkipLayer(layer).edits(shape)
    return layer_numbers


def sliding_blocks(model: TransformerBridge, size: int) -> list[Ablation]:
    """Skip every block of `size` consecutive layers.

    Args:
        model: a bridge.
        size: how many layers each block has.

    Returns:
        `n_layers - size + 1` ablations, in the order of their first layer.

    Raises:
        UserError: the size is below 1 or above the number of layers.
    """
    return [SkipLayers(first, first + size - 1) for first in range(blocks_of_size(model, size))]


def cumulative(model: TransformerBridge, order: Sequence[int] | None = None) -> list[Ablation]:
    """Skip one layer, then two, then three ...

    Args:
        model: the model whose layers are skipped.
        order: the layers in the order in which they go; by default from the deepest up.

    Returns:
        One ablation for each length of `order`; the last one skips all of its layers.

    Raises:
        UserError: a layer is out of range or named twice.
    """
    shape = shape_of(model)
    chosen = list(reversed(range(shape.n_layers))) if order is None else order
    layers = _checked_layers(shape, chosen)
    if len(set(layers)) < len(layers):
        raise UserError(f"order {layers}: a layer is named twice")
    parts = [SkipLayer(layer) for layer in layers]
    return [parts[0], *(Combination(tuple(parts[:n])) for n in range(2, len(parts) + 1))]


def every_pair(model: TransformerBridge, of: str = "layers") -> list[Ablation]:
    """Every two ablations of a family together: `layer:0+layer:1`, `layer:0+layer:2`, ...

    Args:
        model: a bridge.
        of: the family, such as `"layers"` or `"mlps@mean"`.

    Returns:
        `n * (n - 1) / 2` combinations of a family of n.

    Raises:
        UserError: no such family, or one whose members do not combine (layer programs).
    """
    if str(of) not in FAMILIES or of in ("repeats", "exchanges", "parallels", "cumulative"):
        raise UserError(f"ablation pairs:{of}: allowed is pairs:FAMILY, such as pairs:layers")
    return [a + b for a, b in combinations(FAMILIES[str(of)](model), 2)]


def each_repeat(model: TransformerBridge) -> list[Ablation]:
    """Run every block of consecutive layers twice: `repeat:0-0`, `repeat:0-1`, ...

    Args:
        model: a bridge.

    Returns:
        `n_layers * (n_layers + 1) / 2` ablations, in the order of the first layer and then of the
        last.
    """
    n_layers = shape_of(model).n_layers
    return [Repeat(i, j) for i in range(n_layers) for j in range(i, n_layers)]


def each_exchange(model: TransformerBridge) -> list[Ablation]:
    """Exchange each layer with the next: `exchange:0`, `exchange:1`, ...

    Args:
        model: a bridge.

    Returns:
        `n_layers - 1` ablations, in the order of the layers.
    """
    return [Exchange(layer) for layer in range(shape_of(model).n_layers - 1)]


def each_parallel(model: TransformerBridge) -> list[Ablation]:
    """Run every window of two or more layers side by side: `parallel:0-1`, `parallel:0-2`, ...

    Args:
        model: a bridge.

    Returns:
        `n_layers * (n_layers - 1) / 2` ablations, in the order of the first layer and then of the
        last.
    """
    n_layers = shape_of(model).n_layers
    return [Parallel(i, j) for i in range(n_layers) for j in range(i + 1, n_layers)]


FAMILIES: dict[str, Callable[[TransformerBridge], list[Ablation]]] = {
    "layers": each_layer,
    "attentions": each_attention,
    "mlps": each_mlp,
    "layers@mean": each_replaced,
    "layers@resample": partial(each_replaced, by="resample"),
    "layers@linear": partial(each_replaced, by="linear"),
    "attentions@mean": partial(each_replaced, part="attention"),
    "attentions@resample": partial(each_replaced, part="attention", by="resample"),
    "mlps@mean": partial(each_replaced, part="mlp"),
    "mlps@resample": partial(each_replaced, part="mlp", by="resample"),
    "heads": each_head,
    "heads@mean": each_head,
    "heads@zero": partial(each_head, by="zero"),
    "heads@resample": partial(each_head, by="resample"),
    "heads@window": each_window,
    "heads@group": partial(each_head, by="group"),
    "kvgroups": each_kv_group,
    "experts": each_expert,
    "experts@unnormalised": partial(each_expert, renormalised=False),
    "repeats": each_repeat,
    "exchanges": each_exchange,
    "parallels": each_parallel,
    "cumulative": cumulative,
}


SIZED = ("blocks", "swap-blocks")
PATCHES = re.compile(rf"patches:(resid|attn|mlp|heads)@({CLASS})")
BACK_PATCHES = re.compile(rf"backpatches@({CLASS})")
WINDOWS = re.compile(rf"cuts:{NUMBER}@({CLASS})/({CLASS})")
STREAMING = re.compile(rf"(?:heads|head:{NUMBER}\.\*)@window(?:-{NUMBER}-{NUMBER})?")
ONE_LAYER = re.compile(rf"(head|kvgroup):{NUMBER}\.\*(?:@(zero|mean|resample|group))?")


def as_ablations(
    model: TransformerBridge,
    given: str | Ablation | Iterable[str | Ablation | Sequence[str | Ablation]],
    *,
    donor: TransformerBridge | None = None,
) -> tuple[Ablation, ...]:
    """What is to be swept, in any form in which it may be given, each ablation once.

    Args:
        model: the model that is ablated.
        given: the name of a family (`"layers"`, `"heads@mean"`, `"head:4.*"`, `"blocks:2"`), the
            text of an ablation (`"layer:3"`, `"L4H5@mean"`), a value (`SkipLayer(3)`), or several
            of these. A list within the list is one combination, as for `interp.ablate`.
        donor: the other model, for swaps that do not name one.

    Returns:
        The ablations in the given order.

    Raises:
        UserError: neither a family nor an ablation, a family of which the model has none, a family
            of swaps without a donor, or a donor without a swap.
    """
    if isinstance(given, str | Ablation):
        given = (given,)
    if not isinstance(given, Iterable) or isinstance(given, Mapping | bytes):
        raise UserError(
            f"ablations {given!r}: allowed are a family such as 'layers', a text such as "
            "'layer:7', a value such as interp.SkipLayer(7), and a list of them"
        )
    distinct: dict[Ablation, None] = {}
    for item in given:
        several = family(item, model, donor) if isinstance(item, str) else [as_ablation(item)]
        if not several:
            raise UserError(f"ablation {item}: the model has too few layers or heads for any of it")
        distinct |= dict.fromkeys(with_donor(ablation, donor) for ablation in several)
    check_donor_used(distinct, donor)
    return tuple(distinct)


def family(
    text: str, model: TransformerBridge, donor: TransformerBridge | None = None
) -> list[Ablation]:
    """A family by its name, or the one ablation that a text form stands for.

    Args:
        text: `layers`, `heads`, `head:4.*`, `blocks:3`, `swaps`, `swap-blocks:3`, `layer:7`, ...
        model: the model that is ablated.
        donor: the other model, for swaps.

    Returns:
        The ablations that the text stands for; a list of one for the text form of one ablation.

    Raises:
        UserError: neither a family nor an ablation, or swaps without a donor.
    """
    if not isinstance(text, str):
        raise UserError(f"ablation {text!r:.80}: allowed is the name of a family, or a text form")
    if text in FAMILIES:
        return FAMILIES[text](model)
    whole, scoped, scope = text.rpartition("@@")
    if scoped and scope in get_args(Scope) and "+" not in text:
        return [Scoped(ablation, cast(Scope, scope)) for ablation in family(whole, model, donor)]
    if match := ONE_LAYER.fullmatch(text):
        return _of_one_layer(model, text, *match.groups())
    if match := STREAMING.fullmatch(text):
        sizes = (int(match[2]), int(match[3])) if match[2] else (SINKS, RECENT)
        layers = [int(match[1])] if match[1] else None
        return each_window(model, sinks=sizes[0], recent=sizes[1], layers=layers)
    if match := PATCHES.fullmatch(text):
        return each_patch(model, cast(Any, match[1].rstrip("s")), positions=match[2])
    if match := BACK_PATCHES.fullmatch(text):
        return each_back_patch(model, positions=match[1])
    if match := WINDOWS.fullmatch(text):
        return each_cut(model, int(match[1]), queries=match[2], keys=match[3])
    name, colon, size = text.partition(":")
    if name == "pairs":
        return every_pair(model, size)
    if name in SIZED and not re.fullmatch(NUMBER, size):
        raise UserError(f"ablation {text}: allowed is {name}:N, N a number of layers")
    if name == "blocks":
        return sliding_blocks(model, int(size))
    if text not in SWAP_FAMILIES and name != "swap-blocks":
        if not colon and "+" not in text and text != BASELINE.text:
            _refuse_family(text)
        return [with_donor(parse(text), donor)]
    if donor is None:
        raise UserError(f"ablation {text}: a swap needs a donor; give donor=MODEL (--donor MODEL)")
    if name == "swap-blocks":
        return swapped_blocks(model, donor, int(size))
    return SWAP_FAMILIES[text](model, donor)


def _of_one_layer(
    model: TransformerBridge, text: str, kind: str, layer: str, by: Any
) -> list[Ablation]:
    """The heads or groups of one layer; `by` as matched by `ONE_LAYER`."""
    if kind == "head":
        return each_head(model, by=by or "mean", layers=[int(layer)])
    if by is not None:
        raise UserError(f"ablation {text}: a KV group is zeroed; leave @{by} out")
    return each_kv_group(model, layers=[int(layer)])


def _refuse_family(text: str) -> None:
    """Raise UserError for a text without a colon that is neither a family nor an ablation."""
    if parsed_or_none(text) is None:
        allowed = [*FAMILIES, *SWAP_FAMILIES]
        raise UserError(
            f"ablation {text!r}: allowed are the families {', '.join(allowed)}, blocks:2, "
            "swap-blocks:2, cuts:3@answering/gold, patches:resid@last, backpatches@last and "
            "head:4.*, and single "
            f"ablations such as layer:7 or layer:3+head:7.2{did_you_mean(text, allowed)}"
        )

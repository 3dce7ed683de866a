"""The ablations of parts: frozen values, each with a text form that parses back to the same."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Any, Literal, get_args

from interp.ablations.base import Ablation, Combination, Span
from interp.ablations.edits import PART_FORMS, Edits, LayerEdit, Part, Shape
from interp.ablations.value_checks import (
    check_ascending,
    check_numbers,
    heads_of_group,
    index_in,
    is_hook_name,
    is_hook_pair,
    layer_in,
    layer_of_point,
    part_text,
)
from interp.errors import UserError, did_you_mean

Replacement = Literal["zero", "mean", "resample", "group"]
"""What stands in the place of a head's z."""


@dataclass(frozen=True)
class SkipLayer(Ablation):
    """Block `layer` is not run; identical to deleting it from the checkpoint."""

    layer: int

    def __post_init__(self) -> None:
        check_numbers(self, "layer")

    @property
    def text(self) -> str:
        """`layer:7`."""
        return f"layer:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One skipped layer."""
        return Edits({layer_in(self.layer, shape): LayerEdit(skip=True)})


@dataclass(frozen=True)
class SkipLayers(Span):
    """Consecutive blocks, both ends included, are not run."""

    form = "layers"

    def edits(self, shape: Shape) -> Edits:
        """Every layer of the block skipped."""
        layer_in(self.last, shape)
        return Edits({layer: LayerEdit(skip=True) for layer in range(self.first, self.last + 1)})


@dataclass(frozen=True)
class SkipAttention(Ablation):
    """The attention of `layer` adds nothing to the residual stream."""

    layer: int

    def __post_init__(self) -> None:
        check_numbers(self, "layer")

    @property
    def text(self) -> str:
        """`attn:7`."""
        return f"attn:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One attention skipped."""
        return Edits({layer_in(self.layer, shape): LayerEdit(skip_attention=True)})


@dataclass(frozen=True)
class SkipMLP(Ablation):
    """The MLP of `layer` adds nothing to the residual stream."""

    layer: int

    def __post_init__(self) -> None:
        check_numbers(self, "layer")

    @property
    def text(self) -> str:
        """`mlp:7`."""
        return f"mlp:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One MLP skipped."""
        return Edits({layer_in(self.layer, shape): LayerEdit(skip_mlp=True)})


@dataclass(frozen=True)
class Replace(Ablation):
    """What a block, an attention or an MLP adds to the residual stream is replaced.

    Where a norm follows the sublayer (Gemma 2, OLMo 2), what it adds is what leaves the norm. A
    block that is replaced is not run. It applies at every position.

    Attributes:
        layer: whose part.
        part: `"layer"` (the whole block), `"attention"` or `"mlp"`.
        by: `"mean"`: the mean of what the part adds, over all positions of a reference set;
            `"resample"`: what it adds on another example, aligned at the prompts' ends;
            `"linear"`: of a whole block, the affine map that predicts best, on the reference set,
            what the block adds from what enters it (ReplaceMe, arXiv 2505.02819).
    """

    layer: int
    part: Part = "layer"
    by: Literal["mean", "resample", "linear"] = "mean"

    def __post_init__(self) -> None:
        check_numbers(self, "layer")
        if not isinstance(self.part, str) or self.part not in PART_FORMS:
            raise UserError(f"Replace: part={self.part!r}; allowed are {', '.join(PART_FORMS)}")
        allowed = ("mean", "resample", *(["linear"] if self.part == "layer" else []))
        if self.by not in allowed:
            raise UserError(
                f"{PART_FORMS[self.part]}:{self.layer}: by={self.by!r}; allowed are "
                f"{', '.join(map(repr, allowed))}; to add nothing, skip it"
            )

    @property
    def text(self) -> str:
        """`layer:7@mean`, `attn:7@mean`, `mlp:7@resample`, `layer:7@linear`, ..."""
        return f"{PART_FORMS[self.part]}:{self.layer}@{self.by}"

    def edits(self, shape: Shape) -> Edits:
        """One part replaced."""
        parts = frozenset([self.part])
        by: dict[str, LayerEdit] = {
            "mean": LayerEdit(mean_parts=parts),
            "resample": LayerEdit(resample_parts=parts),
            "linear": LayerEdit(linear=True),
        }
        return Edits({layer_in(self.layer, shape): by[self.by]})


@dataclass(frozen=True)
class AblateHead(Ablation):
    """The output z of one query head is replaced before the output projection.

    Zero output is not uniform attention: a head whose scores are masked before the softmax still
    writes the mean of its values, this one writes nothing. It applies at every position, of the
    prompt and of the answer alike.

    Attributes:
        layer: its layer.
        head: its number among the query heads of the layer.
        by: `"zero"` puts zeros, `"mean"` the head's mean z over a reference set, `"resample"` its z
            on another example, aligned at the prompts' ends. Other query heads of its group keep
            their keys and values. `"group"` is what the study's script does to "one head" of a
            grouped-query model: it zeroes the key and value weights that the whole group shares,
            so all query heads of the group go, and heads of one group give the same model.
    """

    layer: int
    head: int
    by: Replacement = "zero"

    def __post_init__(self) -> None:
        check_numbers(self, "layer", "head")
        if self.by not in get_args(Replacement):
            meant = did_you_mean(str(self.by).lower(), get_args(Replacement))
            raise UserError(
                f"head:{self.layer}.{self.head}: by={self.by!r}; allowed are "
                f"{', '.join(map(repr, get_args(Replacement)))}{meant}"
            )

    @property
    def text(self) -> str:
        """`head:7.3`, `head:7.3@mean`, `head:7.3@resample` or `head:7.3@group`."""
        return f"head:{self.layer}.{self.head}" + ("" if self.by == "zero" else f"@{self.by}")

    def edits(self, shape: Shape) -> Edits:
        """One head replaced."""
        layer_in(self.layer, shape)
        heads = frozenset([index_in("head", self.head, shape.n_heads, self.layer)])
        if self.by == "mean":
            return Edits({self.layer: LayerEdit(mean_heads=heads)})
        if self.by == "resample":
            return Edits({self.layer: LayerEdit(resample_heads=heads)})
        if self.by == "group":
            heads = heads_of_group(self.head // (shape.n_heads // shape.n_kv_heads), shape)
        return Edits({self.layer: LayerEdit(zero_heads=heads)})


@dataclass(frozen=True)
class AblateKVGroup(Ablation):
    """All query heads that share one key/value head are zeroed.

    This is what zeroing the q, k, v and o weights of "one head" does in a grouped-query model;
    it is another experiment than `AblateHead`.
    """

    layer: int
    group: int

    def __post_init__(self) -> None:
        check_numbers(self, "layer", "group")

    @property
    def text(self) -> str:
        """`kvgroup:7.1`."""
        return f"kvgroup:{self.layer}.{self.group}"

    def edits(self, shape: Shape) -> Edits:
        """Every query head of the group zeroed."""
        layer_in(self.layer, shape)
        group = index_in("KV group", self.group, shape.n_kv_heads, self.layer)
        return Edits({self.layer: LayerEdit(zero_heads=heads_of_group(group, shape))})


@dataclass(frozen=True)
class SwapLayer(Ablation):
    """Block `layer`, or a part of it, runs with the weights of another model, the donor.

    The donor has the same shape. It is not part of the text form; where it is None, it is given to
    `interp.ablate` or `interp.sweep` as `donor=`.

    Attributes:
        layer: which block.
        donor: the other model.
        part: `"layer"`, `"attention"` or `"mlp"`. The norms before a sublayer and after it
            go with it, so that the two parts together are the whole block.
    """

    layer: int
    donor: Any = field(default=None, compare=False, repr=False)
    part: Part = "layer"

    def __post_init__(self) -> None:
        check_numbers(self, "layer")
        part_text(self.part)

    @property
    def text(self) -> str:
        """`swap:7`, `swap-attn:7` or `swap-mlp:7`."""
        return f"swap{part_text(self.part)}:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One block, or sublayer, with the donor's weights."""
        return Edits({layer_in(self.layer, shape): _swap(self)})


@dataclass(frozen=True)
class SwapLayers(Ablation):
    """Consecutive blocks, or one part of each, run with the donor's weights; both ends included."""

    first: int
    last: int
    donor: Any = field(default=None, compare=False, repr=False)
    part: Part = "layer"

    def __post_init__(self) -> None:
        part_text(self.part)
        check_ascending(self)

    @property
    def text(self) -> str:
        """`swaps:0-3`, `swaps-attn:0-3` or `swaps-mlp:0-3`."""
        return f"swaps{part_text(self.part)}:{self.first}-{self.last}"

    def edits(self, shape: Shape) -> Edits:
        """Every block, or sublayer, with the donor's weights."""
        layer_in(self.last, shape)
        return Edits({layer: _swap(self) for layer in range(self.first, self.last + 1)})


@dataclass(frozen=True)
class Hooked(Ablation):
    """TransformerLens hooks of the user's own, under a name of the user's own.

    The hooks are not part of the text form, which therefore does not parse back.

    Attributes:
        name: letters, digits, `_`, `-` and `.`.
        fwd_hooks: pairs of a hook point's name and a function, as `model.hooks` takes them.
    """

    name: str
    fwd_hooks: tuple[tuple[Any, Any], ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not is_hook_name(self.name):
            raise UserError(
                f"hook:{self.name}: allowed in a name are letters, digits, `_`, `-` and `.`"
            )
        if not (isinstance(self.fwd_hooks, tuple) and all(map(is_hook_pair, self.fwd_hooks))):
            raise UserError(
                f"hook:{self.name}: its hooks are a list of pairs of a hook point and a function, "
                'such as [("blocks.0.hook_mlp_out", f)]'
            )

    @property
    def text(self) -> str:
        """`hook:my-name`."""
        return f"hook:{self.name}"

    def edits(self, shape: Shape) -> Edits:
        """The hooks by layer; those outside the blocks count as the first layer's."""
        return Edits.merged(
            {layer_of_point(point) or 0: LayerEdit(hooks=((point, function),))}
            for point, function in self.fwd_hooks
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the hook points that are named; points given by a function are unknown."""
        points = (point for point, _ in self.fwd_hooks if isinstance(point, str))
        return tuple(sorted({n for n in map(layer_of_point, points) if n is not None}))


def with_donor(ablation: Ablation, donor: Any) -> Ablation:
    """The same ablation with `donor` in every swap that has none.

    Args:
        ablation: any, combinations included.
        donor: a bridge.

    Returns:
        The ablation itself where nothing in it is a swap without a donor.
    """
    if isinstance(ablation, Combination):
        parts = tuple(with_donor(part, donor) for part in ablation.parts)
        same = all(map(is_, parts, ablation.parts))
        return ablation if same else Combination(parts)
    if isinstance(ablation, SwapLayer | SwapLayers) and ablation.donor is None:
        return replace(ablation, donor=donor)
    return ablation


def donors(ablation: Ablation) -> list[Any]:
    """The donors that an ablation's swaps name.

    Args:
        ablation: any, combinations included.

    Returns:
        One entry per swap, so that the same bridge may be in it several times. It is empty where
        nothing is swapped.
    """
    parts = ablation.parts if isinstance(ablation, Combination) else (ablation,)
    return [part.donor for part in parts if isinstance(part, SwapLayer | SwapLayers)]


def check_donor_used(ablations: Iterable[Ablation], donor: Any) -> None:
    """Refuse a donor that no ablation takes anything from.

    Args:
        ablations: what is run.
        donor: the donor that was given; None without one.

    Raises:
        UserError: there is a donor, and no ablation is a swap.
    """
    if donor is not None and not any(map(donors, ablations)):
        raise UserError(
            "donor: no ablation is a swap; add one, such as swap:7 or swaps, or leave the donor out"
        )


def _swap(ablation: SwapLayer | SwapLayers) -> LayerEdit:
    if ablation.donor is None:
        raise UserError(f"{ablation.text}: a swap needs a donor; give donor=MODEL")
    return LayerEdit(swaps=((ablation.part, ablation.donor),))

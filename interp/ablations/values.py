"""The ablations: frozen values, each with a text form that parses back to the same value."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from interp.errors import UserError

Replacement = Literal["zero", "mean", "resample", "group"]


@dataclass(frozen=True)
class Shape:
    """The counts that an ablation's numbers are checked against."""

    n_layers: int
    n_heads: int
    n_kv_heads: int


@dataclass(frozen=True)
class LayerEdit:
    """All that one ablation changes in one layer; what hooks and replay act on."""

    skip: bool = False
    skip_attention: bool = False
    skip_mlp: bool = False
    zero_heads: frozenset[int] = frozenset()
    mean_heads: frozenset[int] = frozenset()
    resample_heads: frozenset[int] = frozenset()
    donor: Any = None
    hooks: tuple[Any, ...] = ()

    def __or__(self, other: "LayerEdit") -> "LayerEdit":
        """Both edits of the same layer. Of one head's replacements zero wins, then the mean."""
        zero = self.zero_heads | other.zero_heads
        mean = (self.mean_heads | other.mean_heads) - zero
        return LayerEdit(
            skip=self.skip or other.skip,
            skip_attention=self.skip_attention or other.skip_attention,
            skip_mlp=self.skip_mlp or other.skip_mlp,
            zero_heads=zero,
            mean_heads=mean,
            resample_heads=(self.resample_heads | other.resample_heads) - zero - mean,
            donor=other.donor if other.donor is not None else self.donor,
            hooks=self.hooks + other.hooks,
        )


Edits = dict[int, LayerEdit]


def merged_edits(several: Iterable[Edits]) -> Edits:
    """All of them together, layer by layer."""
    merged: Edits = {}
    for edits in several:
        for layer, edit in edits.items():
            merged[layer] = merged[layer] | edit if layer in merged else edit
    return merged


class _Ablation:
    """What the values below share: a text form, a sum, and one line when printed."""

    @property
    def text(self) -> str:
        """The text form: key in the store, label in a figure."""
        raise AssertionError(type(self))

    def edits(self, shape: Shape) -> Edits:
        """What is changed, layer by layer. Raises UserError for numbers out of range."""
        raise AssertionError(type(self))

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: "Ablation") -> "Combination":
        return Combination((*_parts(self), *_parts(other)))


@dataclass(frozen=True)
class SkipLayer(_Ablation):
    """Block `layer` is not run; identical to deleting it from the checkpoint."""

    layer: int

    @property
    def text(self) -> str:
        """`layer:7`."""
        return f"layer:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One skipped layer."""
        return {_layer(self.layer, shape): LayerEdit(skip=True)}


@dataclass(frozen=True)
class SkipLayers(_Ablation):
    """Consecutive blocks, both ends included, are not run."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise UserError(
                f"{self.text}: the first layer comes after the last; write "
                f"layers:{self.last}-{self.first}"
            )

    @property
    def text(self) -> str:
        """`layers:20-27`."""
        return f"layers:{self.first}-{self.last}"

    def edits(self, shape: Shape) -> Edits:
        """Every layer of the block skipped."""
        _layer(self.last, shape)
        return {layer: LayerEdit(skip=True) for layer in range(self.first, self.last + 1)}


@dataclass(frozen=True)
class SkipAttention(_Ablation):
    """The attention of `layer` adds nothing to the residual stream."""

    layer: int

    @property
    def text(self) -> str:
        """`attn:7`."""
        return f"attn:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One attention skipped."""
        return {_layer(self.layer, shape): LayerEdit(skip_attention=True)}


@dataclass(frozen=True)
class SkipMLP(_Ablation):
    """The MLP of `layer` adds nothing to the residual stream."""

    layer: int

    @property
    def text(self) -> str:
        """`mlp:7`."""
        return f"mlp:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One MLP skipped."""
        return {_layer(self.layer, shape): LayerEdit(skip_mlp=True)}


@dataclass(frozen=True)
class AblateHead(_Ablation):
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

    @property
    def text(self) -> str:
        """`head:7.3`, `head:7.3@mean`, `head:7.3@resample` or `head:7.3@group`."""
        return f"head:{self.layer}.{self.head}" + ("" if self.by == "zero" else f"@{self.by}")

    def edits(self, shape: Shape) -> Edits:
        """One head replaced."""
        _layer(self.layer, shape)
        heads = frozenset([_index("head", self.head, shape.n_heads, self.layer)])
        if self.by == "mean":
            return {self.layer: LayerEdit(mean_heads=heads)}
        if self.by == "resample":
            return {self.layer: LayerEdit(resample_heads=heads)}
        if self.by == "group":
            heads = _group(self.head // (shape.n_heads // shape.n_kv_heads), shape)
        return {self.layer: LayerEdit(zero_heads=heads)}


@dataclass(frozen=True)
class AblateKVGroup(_Ablation):
    """All query heads that share one key/value head are zeroed.

    This is what zeroing the q, k, v and o weights of "one head" does in a grouped-query model;
    it is another experiment than `AblateHead`.
    """

    layer: int
    group: int

    @property
    def text(self) -> str:
        """`kvgroup:7.1`."""
        return f"kvgroup:{self.layer}.{self.group}"

    def edits(self, shape: Shape) -> Edits:
        """Every query head of the group zeroed."""
        _layer(self.layer, shape)
        group = _index("KV group", self.group, shape.n_kv_heads, self.layer)
        return {self.layer: LayerEdit(zero_heads=_group(group, shape))}


@dataclass(frozen=True)
class SwapLayer(_Ablation):
    """Block `layer` runs with the weights of another model of the same shape, the donor.

    The donor is not part of the text form; where it is None, it is given to `interp.ablate` or
    `interp.sweep` as `donor=`.
    """

    layer: int
    donor: Any = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """`swap:7`."""
        return f"swap:{self.layer}"

    def edits(self, shape: Shape) -> Edits:
        """One block with the donor's weights."""
        if self.donor is None:
            raise UserError(f"{self.text}: a swap needs a donor; give donor=MODEL")
        return {_layer(self.layer, shape): LayerEdit(donor=self.donor)}


@dataclass(frozen=True)
class Hooked(_Ablation):
    """TransformerLens hooks of the user's own, under a name of the user's own.

    The hooks are not part of the text form, which therefore does not parse back.

    Attributes:
        name: letters, digits, `_`, `-` and `.`.
        fwd_hooks: pairs of a hook point's name and a function, as `model.hooks` takes them.
    """

    name: str
    fwd_hooks: tuple[tuple[Any, Any], ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "_-." for c in self.name):
            raise UserError(
                f"hook:{self.name}: allowed in a name are letters, digits, `_`, `-` and `.`"
            )

    @property
    def text(self) -> str:
        """`hook:my-name`."""
        return f"hook:{self.name}"

    def edits(self, shape: Shape) -> Edits:
        """The hooks by layer; those outside the blocks count as the first layer's."""
        return merged_edits(
            {layer_of_point(point) or 0: LayerEdit(hooks=((point, function),))}
            for point, function in self.fwd_hooks
        )


def layer_of_point(point: str) -> int | None:
    """The layer of a hook point (`blocks.7.attn.hook_z`); None outside the blocks."""
    parts = point.split(".")
    return int(parts[1]) if len(parts) > 2 and parts[0] == "blocks" else None


@dataclass(frozen=True)
class Combination(_Ablation):
    """Several ablations at once, in a given order; `Combination(())` changes nothing."""

    parts: tuple["Ablation", ...]

    def __post_init__(self) -> None:
        flat = tuple(inner for part in self.parts for inner in _parts(part))
        if len(flat) == 1:
            raise UserError(f"{flat[0]}: a combination has two parts or more")
        object.__setattr__(self, "parts", flat)

    @property
    def text(self) -> str:
        """`layer:3+head:7.2`; the empty combination is the `baseline`."""
        return "+".join(part.text for part in self.parts) or "baseline"

    def edits(self, shape: Shape) -> Edits:
        """The edits of all parts, merged layer by layer."""
        return merged_edits(part.edits(shape) for part in self.parts)


Ablation = (
    SkipLayer
    | SkipLayers
    | SkipAttention
    | SkipMLP
    | AblateHead
    | AblateKVGroup
    | SwapLayer
    | Hooked
    | Combination
)

BASELINE = Combination(())


def with_donor(ablation: Ablation, donor: Any) -> Ablation:
    """The same ablation with `donor` in every swap that has none yet."""
    if isinstance(ablation, Combination):
        return Combination(tuple(with_donor(part, donor) for part in ablation.parts))
    if isinstance(ablation, SwapLayer) and ablation.donor is None:
        return SwapLayer(ablation.layer, donor)
    return ablation


def donors(ablation: Ablation) -> list[Any]:
    """The donors that an ablation's swaps name."""
    if isinstance(ablation, SwapLayer):
        return [ablation.donor]
    return [d for part in getattr(ablation, "parts", ()) for d in donors(part)]


def _parts(ablation: "_Ablation") -> tuple[Any, ...]:
    return ablation.parts if isinstance(ablation, Combination) else (ablation,)


def _layer(layer: int, shape: Shape) -> int:
    if not 0 <= layer < shape.n_layers:
        raise UserError(f"layer {layer}: the model has layers 0-{shape.n_layers - 1}")
    return layer


def _group(group: int, shape: Shape) -> frozenset[int]:
    size = shape.n_heads // shape.n_kv_heads
    return frozenset(range(group * size, (group + 1) * size))


def _index(what: str, index: int, count: int, layer: int) -> int:
    if not 0 <= index < count:
        raise UserError(f"{what} {index} of layer {layer}: the model has {what}s 0-{count - 1}")
    return index

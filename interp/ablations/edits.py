"""What one ablation changes, layer by layer: the form that hooks, replay and decoding act on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NoReturn

Part = Literal["layer", "attention", "mlp"]
"""What of a block a swap takes from the donor."""


@dataclass(frozen=True)
class Shape:
    """The counts that an ablation's numbers are checked against."""

    n_layers: int
    n_heads: int
    n_kv_heads: int


@dataclass(frozen=True)
class LayerEdit:
    """All that one ablation changes in one layer; what hooks and replay act on.

    Attributes:
        skip: the block is not run.
        skip_attention: the attention adds nothing.
        skip_mlp: the MLP adds nothing.
        zero_heads: heads whose z is zero.
        mean_heads: heads whose z is its mean.
        resample_heads: heads whose z is another example's.
        swaps: what runs with whose weights; of two that touch the same weights the later holds.
        hooks: a user's own.
    """

    skip: bool = False
    skip_attention: bool = False
    skip_mlp: bool = False
    zero_heads: frozenset[int] = frozenset()
    mean_heads: frozenset[int] = frozenset()
    resample_heads: frozenset[int] = frozenset()
    swaps: tuple[tuple[Part, Any], ...] = ()
    # callable objects need not be hashable; equal edits still have equal hashes
    hooks: tuple[Any, ...] = field(default=(), hash=False)

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
            swaps=self.swaps + other.swaps,
            hooks=self.hooks + other.hooks,
        )


class Edits(Mapping[int, LayerEdit]):
    """What one ablation changes: a frozen mapping from layer to `LayerEdit`, in order of layers.

    Equal edits are equal values and have equal hashes, so edits serve as dictionary keys. Layers
    in which nothing changes are left out; `Edits()` is the baseline.

    Args:
        by_layer: layer to what changes there.
    """

    __slots__ = ("_by_layer",)
    _by_layer: Mapping[int, LayerEdit]

    def __init__(self, by_layer: Mapping[int, LayerEdit] = MappingProxyType({})) -> None:
        changed = {n: by_layer[n] for n in sorted(by_layer) if by_layer[n] != LayerEdit()}
        object.__setattr__(self, "_by_layer", changed)

    def __getitem__(self, layer: int) -> LayerEdit:
        return self._by_layer[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_layer)

    def __len__(self) -> int:
        return len(self._by_layer)

    def __hash__(self) -> int:
        return hash(tuple(self._by_layer.items()))

    def __or__(self, other: "Edits") -> "Edits":
        """Both together, layer by layer (see `LayerEdit`)."""
        return Edits.merged([self, other])

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"Edits are frozen; {name} cannot be set")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Edits, (self._by_layer,)

    def __repr__(self) -> str:
        return f"Edits({self._by_layer})"

    @staticmethod
    def merged(several: Iterable[Mapping[int, LayerEdit]]) -> "Edits":
        """All of them together, layer by layer."""
        found: dict[int, LayerEdit] = {}
        for edits in several:
            for layer, edit in edits.items():
                found[layer] = found[layer] | edit if layer in found else edit
        return Edits(found)

    def first_layer(self, n_layers: int) -> int:
        """The first layer that changes; `n_layers` for the baseline, in which none does."""
        return min(self, default=n_layers)

    @property
    def is_hooked(self) -> bool:
        """Whether hooks of a user's own are among the edits."""
        return any(edit.hooks for edit in self.values())

    @property
    def is_resampled(self) -> bool:
        """Whether any head takes its z from another example."""
        return any(edit.resample_heads for edit in self.values())

    @property
    def is_swapped(self) -> bool:
        """Whether any weights are a donor's."""
        return any(edit.swaps for edit in self.values())

    @property
    def uses_mean(self) -> bool:
        """Whether any head's z is its mean over a reference set."""
        return any(edit.mean_heads for edit in self.values())


@dataclass(frozen=True)
class Variant:
    """A model under one ablation: what a sweep computes, and the key of what it finds.

    Attributes:
        text: text form of the ablation; `"baseline"` without one.
        edits: what changes in the model.
    """

    text: str
    edits: Edits

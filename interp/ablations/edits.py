"""What one ablation changes, layer by layer: the form that hooks, replay and decoding act on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

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
            swaps=self.swaps + other.swaps,
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

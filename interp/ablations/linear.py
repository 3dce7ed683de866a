"""The best affine map in the place of a block, for `layer:7@linear`.

What a block adds to the residual stream is regressed on what enters it, over the positions of
reference texts ("ReplaceMe: Network Simplification via Depth Pruning and Transformer Block
Linearization", arXiv 2505.02819, equation 6, for one block). The ridge shrinks the map towards
adding one constant vector, which is what `layer:7@mean` does. How much it shrinks is chosen on
texts that the map was not fitted on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.ablations.edits import Place
from interp.models import Decoder, as_float64, hidden_states_of

RIDGES = (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 100.0)
"""What is added to the diagonal of the second moments, as a share of its mean."""

LEAST = 1e-30
"""What is added at least, so that a stream of zeros has a map, too."""

AT_ONCE = 1 << 30
"""Bytes of second moments that are summed in one pass over the texts."""


@dataclass(eq=False)
class _Moments:
    """Second moments of what enters a block (and 1) with itself, and with what the block adds.

    Attributes:
        entering: `[d_model + 1, d_model + 1]`.
        crossed: `[d_model + 1, d_model]`.
        added: the sum of squares of what the block adds.
    """

    entering: Tensor
    crossed: Tensor
    added: Tensor

    @classmethod
    def of(cls, entering: Float[Tensor, "pos d"], added: Float[Tensor, "pos d"]) -> "_Moments":
        """Of some positions, in float64."""
        x = as_float64(torch.cat([entering, entering.new_ones(len(entering), 1)], dim=1))
        y = as_float64(added)
        return cls(x.T @ x, x.T @ y, y.square().sum())

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            self.entering + other.entering,
            self.crossed + other.crossed,
            self.added + other.added,
        )

    def solved(self, ridge: float) -> Float[Tensor, "width d_model"]:
        """The map that these positions give; its last row, the constant, is not shrunk."""
        scale = float(self.entering.diagonal()[:-1].mean())
        if not math.isfinite(scale):
            return torch.full_like(self.crossed, math.nan)
        penalty = torch.full_like(self.entering[0], max(ridge * scale, LEAST))
        penalty[-1] = 0
        return torch.linalg.solve(self.entering + penalty.diag(), self.crossed)

    def error(self, solved: Float[Tensor, "width d_model"]) -> float:
        """The sum of squares that a map leaves at these positions."""
        explained = 2 * (solved * self.crossed).sum()
        return float(self.added - explained + (solved * (self.entering @ solved)).sum())


def linear_maps(
    decoder: Decoder, texts: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[Place, Float[Tensor, "d_model width"]]:
    """The best affine map of some blocks, each from what enters it to what it adds.

    Args:
        decoder: the modules of the unablated model.
        texts: tokens of each reference text; at least one, none of them empty.
        layers: which blocks.

    Returns:
        For each layer the matrix and, in its last column, the constant `[d_model, d_model + 1]`; in
        the model's type, on its device.
    """
    most = max(1, AT_ONCE // (4 * 8 * (decoder.d_model + 1) ** 2))
    maps: dict[Place, Tensor] = {}
    dtype = next(decoder.root.parameters()).dtype
    for start in range(0, len(layers), most):
        layers_of_pass = layers[start : start + most]
        for layer, (first, second) in _moments(decoder, texts, layers_of_pass).items():
            held_out = {
                ridge: second.error(first.solved(ridge)) + first.error(second.solved(ridge))
                for ridge in RIDGES
            }
            affine_map = (first + second).solved(min(held_out, key=lambda ridge: held_out[ridge]))
            maps[layer, "linear"] = affine_map.T.to(decoder.device, dtype).contiguous()
    return maps


def affine(linear: Float[Tensor, "d_model width"], value: Tensor) -> Tensor:
    """What an affine map makes of vectors `[..., d_model]`.

    Args:
        linear: the matrix, and the constant in its last column.
        value: what enters the block.

    Returns:
        `[..., d_model]`, of the type of `value`.
    """
    linear_map = linear.to(value)
    return nn.functional.linear(value, linear_map[:, :-1], linear_map[:, -1])


def _moments(
    decoder: Decoder, texts: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[int, tuple[_Moments, _Moments]]:
    """Layer to the moments of every other text, and of the rest; halves of one text alone."""
    moments: dict[tuple[int, int], _Moments] = {}
    number = 0

    def add(layer: int, half: int, entering: Tensor, added: Tensor) -> None:
        one = _Moments.of(entering, added)
        moments[layer, half] = moments[layer, half] + one if (layer, half) in moments else one

    def hook_of(layer: int) -> Any:
        def hook(_module: nn.Module, args: Any, kwargs: dict[str, Any], out: Any) -> None:
            resid_pre = hidden_states_of(args, kwargs).flatten(end_dim=1)
            resid_post = (out[0] if isinstance(out, tuple) else out).flatten(end_dim=1)
            added = resid_post - resid_pre.to(resid_post.device)
            entering, middle = resid_pre.to(added.device), len(added) // 2
            if len(texts) > 1:
                add(layer, number % 2, entering, added)
            else:
                add(layer, 0, entering[:middle], added[:middle])
                add(layer, 1, entering[middle:], added[middle:])

        return hook

    handles = [
        decoder.blocks[layer].register_forward_hook(hook_of(layer), with_kwargs=True)
        for layer in layers
    ]
    try:
        with torch.no_grad():
            for number, tokens in enumerate(texts):  # noqa: B007
                ids = torch.tensor([list(tokens)], device=decoder.device)
                decoder.root(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: (moments[layer, 0], moments[layer, 1]) for layer in layers}

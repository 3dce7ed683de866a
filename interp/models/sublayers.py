"""The modules whose outputs are what sublayers add to the residual stream."""

from collections.abc import Sequence
from typing import Any

from torch import nn

NORMS_BEHIND = ("ln1_post", "ln2_post")
"""TransformerLens' names for the norms after an attention and after an MLP."""


def sublayer_ends(
    blocks: Sequence[nn.Module], sublayers: Sequence[nn.Module], norm: str | None
) -> tuple[nn.Module, ...]:
    """The norm after each sublayer, or the sublayer itself if its block has no such norm."""

    def end(block: nn.Module, sublayer: nn.Module) -> nn.Module:
        module: Any = block
        for name in (norm or "").split("."):
            module = getattr(module, name, None)
        return module if isinstance(module, nn.Module) else sublayer

    return tuple(end(b, s) for b, s in zip(blocks, sublayers, strict=True))

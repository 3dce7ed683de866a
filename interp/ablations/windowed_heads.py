"""A head that sees the first tokens and the recent ones only: `head:7.3@window`, `@window-4-64`.

DuoAttention (Xiao et al., arXiv 2410.10819): *streaming heads* need no more than attention sinks
and recent tokens, *retrieval heads* need all. Nothing is zeroed: scores to all other positions are
minus infinity before the softmax, which is what dropping their keys and values does.
"""

from dataclasses import dataclass

from interp.ablations.base import Ablation
from interp.ablations.edits import Edits, LayerEdit, Shape
from interp.ablations.value_checks import check_numbers, index_in, layer_in
from interp.errors import UserError

SINKS, RECENT = 64, 256
"""Tokens that a streaming head keeps in DuoAttention: the first ones, and the last ones."""


@dataclass(frozen=True)
class StreamingHead(Ablation):
    """One query head attends to the first tokens of its row and to the most recent ones only.

    Positions before `sinks + recent` change nothing: they see all that they saw.

    Attributes:
        layer: its layer.
        head: its number among the query heads of the layer.
        sinks: how many tokens from the start of the row it sees.
        recent: how many tokens it sees up to the position itself, which is counted: 1 or more.
    """

    layer: int
    head: int
    sinks: int = SINKS
    recent: int = RECENT

    def __post_init__(self) -> None:
        check_numbers(self, "layer", "head", "sinks", "recent")
        if self.recent < 1:
            raise UserError(
                f"head:{self.layer}.{self.head}@window-{self.sinks}-{self.recent}: a position "
                "sees itself; allowed are 1 recent token and more"
            )

    @property
    def text(self) -> str:
        """`head:7.3@window`, or `head:7.3@window-4-64` where sizes are not the default ones."""
        usual = (self.sinks, self.recent) == (SINKS, RECENT)
        return f"head:{self.layer}.{self.head}@window" + (
            "" if usual else f"-{self.sinks}-{self.recent}"
        )

    def edits(self, shape: Shape) -> Edits:
        """One head with a window."""
        layer_in(self.layer, shape)
        index_in("head", self.head, shape.n_heads, self.layer)
        window = (self.head, self.sinks, self.recent)
        return Edits({self.layer: LayerEdit(windows=frozenset([window]))})


def windowed(layer: int, head: int, sinks: str | None, recent: str | None) -> StreamingHead:
    """The head of a text form whose sizes may be left out."""
    if sinks is None or recent is None:
        return StreamingHead(layer, head)
    return StreamingHead(layer, head, int(sinks), int(recent))

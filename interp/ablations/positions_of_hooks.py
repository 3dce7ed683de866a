"""What a user's own hook is told about the positions of its batch, where it asks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from interp.ablations.hook_arguments import asks_positions
from interp.ablations.places import BITS, Places


@dataclass(frozen=True, eq=False)
class Positions:
    """What the positions of a batch are; True where they are it.

    Attributes:
        prompt: positions of the prompt, its last position included, whose logits predict the
            answer's first token.
        answer: positions of the answer's tokens as they are read: from its second predicted token
            on.
        last: the last position of the prompt.
        padding: positions that belong to no token of the row.
    """

    prompt: Bool[Tensor, "batch pos"]
    answer: Bool[Tensor, "batch pos"]
    last: Bool[Tensor, "batch pos"]
    padding: Bool[Tensor, "batch pos"]

    @classmethod
    def of(cls, places: Places, like: Tensor) -> "Positions":
        """The positions of the call that is running, on the device of an activation."""
        assert places.labels is not None
        labels = places.labels.to(like.device)
        inside = {scope: (labels & bit) > 0 for scope, bit in BITS.items()}
        return cls(inside["prompt"], inside["answer"], inside["last"], labels == 0)


def told_positions(function: Callable[..., Any], places: Places | None) -> Callable[..., Any]:
    """A hook that is called with the positions of its batch, where it asks for them."""
    if places is None or not asks_positions(function):
        return function
    return partial(_told, function, places)


def _told(function: Callable[..., Any], places: Places, value: Any, hook: Any = None) -> Any:
    return function(value, hook=hook, positions=Positions.of(places, value))

"""One example as ablations see it: where its classes of positions are, and what its twin has."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.ablations.position_classes import NUMBERED, OF_EVERY_ROW
from interp.ablations.resample import Outputs


@dataclass(frozen=True, eq=False)
class Example:
    """One example; positions are counted from the start of its row.

    Attributes:
        prompt: tokens of the prompt.
        classes: class to its positions in the prompt, of those that `OF_EVERY_ROW` has not.
        twin: what patches put: place to `[1, pos, width]` of the example's twin; None where it has
            none.
        later: what back-patches put: the residual streams `[1, pos, d_model]` of the example's own
            prompt that enter some layers; None where none is wanted.
    """

    prompt: int
    classes: Mapping[str, frozenset[int]]
    twin: Outputs | None = None
    later: Outputs | None = None

    def inside(self, names: str, start: int, end: int) -> Bool[Tensor, " pos"]:
        """`[pos]`, True at the positions of a class between `start` and `end`.

        Args:
            names: a class, or several joined by commas.
            start: first position.
            end: the one after the last.

        Returns:
            A mask of `end - start` positions.
        """
        at = torch.arange(start, end)
        is_inside = torch.zeros(len(at), dtype=torch.bool)
        for name in names.split(","):
            if name in OF_EVERY_ROW:
                is_inside |= {
                    "prompt": at < self.prompt,
                    "last": at == self.prompt - 1,
                    "answer": at >= self.prompt,
                    "answering": at >= self.prompt - 1,
                    "first": at == 0,
                }[name]
            elif numbered := NUMBERED.fullmatch(name):
                low, high = int(numbered[1]), int(numbered[2] or numbered[1])
                is_inside |= (at >= low) & (at <= high)
            else:
                is_inside |= torch.isin(
                    at, torch.tensor(sorted(self.classes[name]), dtype=at.dtype)
                )
        return is_inside

    def earliest(self, names: str) -> int:
        """The first position of a class, or the last of the prompt where it has none before."""
        inside = self.inside(names, 0, self.prompt)
        return int(inside.int().argmax()) if bool(inside.any()) else self.prompt - 1

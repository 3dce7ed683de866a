"""What stands in the place of what edits replace, and the rows of a batch in which they act."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.ablations.edits import LayerEdit, Place, Site
from interp.ablations.example import Example
from interp.ablations.mean import Means
from interp.ablations.places import Places
from interp.ablations.resample import Outputs, aligned
from interp.models import Decoder


@dataclass(frozen=True, eq=False)
class Activations:
    """What stands in the place of what edits replace.

    Attributes:
        means: what `@mean` puts.
        resample: another example's, for `@resample` on native blocks.
        places: what the positions of a call are, for scopes.
        example: the one that is run, for cuts and patches.
        sources: place to `[pos, width]` of each reference text, for `@resample` on the bridge; row
            i takes that of source i, and after the last the first again.
    """

    means: Means | None = None
    resample: Outputs | None = None
    places: Places | None = None
    example: Example | None = None
    sources: Sequence[Mapping[Place, Float[Tensor, "_ _"]]] = ()

    def mean(self, decoder: Decoder, layer: int, site: Site = "z") -> Tensor | None:
        """Mean z `[head, d_head]` of a layer, or of what a part adds, where its block is."""
        return None if self.means is None else self.means[layer, site].to(decoder.device_of(layer))

    def at_ends(self, place: Place, row: int, length: int) -> Float[Tensor, "pos _"]:
        """What a reference text gives, laid over a row of so many positions, end over end."""
        source = self.sources[row % len(self.sources)][place]
        return aligned(source, end=length - 1, donor_end=len(source) - 1, length=length)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a batch in which one kind of edit acts.

    Attributes:
        mask: `[row]`, True where it acts.
        all: whether it acts in every row.
        groups: row numbers `[row]`, and the edit that they share.
    """

    mask: Bool[Tensor, " row"]
    all: bool
    groups: tuple[tuple[Tensor, LayerEdit], ...]

    def where(self, acts: Callable[[LayerEdit], bool]) -> Bool[Tensor, " row"]:
        """`[row]`, True in the rows whose edit acts so."""
        mask = torch.zeros_like(self.mask)
        for numbers, edit in self.groups:
            mask[numbers] = acts(edit)
        return mask

    @staticmethod
    def of(edits: Sequence[LayerEdit | None], device: torch.device) -> "Rows":
        """The rows whose edit is not None."""
        numbers: dict[LayerEdit, list[int]] = {}
        for row, edit in enumerate(edits):
            if edit is not None:
                numbers.setdefault(edit, []).append(row)
        mask = torch.tensor([edit is not None for edit in edits], device=device)
        groups = tuple((torch.tensor(r, device=device), edit) for edit, r in numbers.items())
        return Rows(mask, None not in edits, groups)

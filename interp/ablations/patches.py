"""Activation patching, `patch:resid:7@last`: an activation is taken from the example's twin.

Meng et al., "Locating and Editing Factual Associations in GPT" (arXiv 2202.05262); Heimersheim &
Nanda, "How to use and interpret activation patching" (arXiv 2404.15255). The twin is a prompt of
the same number of tokens that asks for another answer (`interp.twins`); what it has at a position
is put at the same position. A back-patch, `backpatch:7-3@last`, takes it from a later layer of the
example's own prompt.
"""

import re
from dataclasses import dataclass
from typing import Literal

from interp.ablations.base import Ablation
from interp.ablations.edits import Edits, LayerEdit, Patched, PatchSite, Shape
from interp.ablations.position_classes import CLASS, check_ranges, in_the_answer
from interp.ablations.value_checks import check_numbers, index_in, layer_in
from interp.errors import UserError

SITES: dict[Literal["resid", "attn", "mlp", "head"], PatchSite] = {
    "resid": "resid",
    "attn": "attention",
    "mlp": "mlp",
    "head": "z",
}
"""What stands for a site in the text form."""


@dataclass(frozen=True)
class Patch(Ablation):
    """At some positions, an activation is that of the example's twin.

    Attributes:
        layer: whose activation.
        site: `"resid"` (the residual stream that enters the block), `"attn"` or `"mlp"` (what it
            adds to the stream) or `"head"` (a head's z).
        positions: a class of positions of the prompt, or several joined by commas.
        head: which head, of the site `"head"`.
    """

    layer: int
    site: Literal["resid", "attn", "mlp", "head"]
    positions: str = "last"
    head: int | None = None

    def __post_init__(self) -> None:
        if self.site not in SITES:
            raise UserError(f"patch:{self.site}: allowed are {', '.join(SITES)}")
        if (self.head is None) == (self.site == "head"):
            raise UserError(f"patch:{self.site}: a head is named by the site head, and only there")
        check_numbers(self, "layer", *(("head",) if self.site == "head" else ()))
        if not isinstance(self.positions, str) or not re.fullmatch(CLASS, self.positions):
            raise UserError(
                f"patch:{self.site}:{self.layer}: {self.positions!r} is no class of positions; "
                "allowed are names such as last, gold, changed, and several joined by commas"
            )
        check_ranges(self.positions, self.text)
        if beyond := in_the_answer(self.positions):
            raise UserError(
                f"{self.text}: a twin has no answer yet; {beyond} is no class of the prompt, take "
                "last"
            )

    @property
    def text(self) -> str:
        """`patch:resid:7@last`, `patch:head:7.3@gold`, ..."""
        head = "" if self.head is None else f".{self.head}"
        return f"patch:{self.site}:{self.layer}{head}@{self.positions}"

    @property
    def kind(self) -> str:
        """`patch:resid@last`, ..."""
        return f"patch:{self.site}@{self.positions}"

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The head that is named, if one is."""
        return () if self.head is None else ((self.layer, self.head),)

    def edits(self, shape: Shape) -> Edits:
        """One activation patched."""
        head = -1
        if self.head is not None:
            head = index_in("head", self.head, shape.n_heads, self.layer)
        patched = Patched(SITES[self.site], head, self.positions)
        layer = layer_in(self.layer, shape)
        return Edits({layer: LayerEdit(patches=frozenset([patched]))})


@dataclass(frozen=True)
class BackPatch(Ablation):
    """At some positions, an earlier layer is given what enters a later one.

    Biran et al., "Hopping Too Late" (arXiv 2406.12775): the residual stream of the unablated prompt
    in front of a later layer is put in front of an earlier one, so that the layers between act on
    it a second time. No twin is needed.

    Attributes:
        source: the later layer, in front of which the stream is taken.
        target: the earlier layer, in front of which it is put.
        positions: a class of positions of the prompt, or several joined by commas.
    """

    source: int
    target: int
    positions: str = "last"

    def __post_init__(self) -> None:
        check_numbers(self, "source", "target")
        if self.source <= self.target:
            raise UserError(
                f"backpatch:{self.source}-{self.target}: the first number is the later layer, "
                "whose stream is put into the earlier one"
            )
        if not isinstance(self.positions, str) or not re.fullmatch(CLASS, self.positions):
            raise UserError(
                f"backpatch:{self.source}-{self.target}: {self.positions!r} is no class of "
                "positions; allowed are names such as last, gold, and several joined by commas"
            )
        check_ranges(self.positions, self.text)
        if beyond := in_the_answer(self.positions):
            raise UserError(
                f"{self.text}: the unablated prompt has no answer yet; {beyond} is no class of the "
                "prompt, take last"
            )

    @property
    def text(self) -> str:
        """`backpatch:7-3@last`."""
        return f"backpatch:{self.source}-{self.target}@{self.positions}"

    @property
    def kind(self) -> str:
        """`backpatch@last`, ..."""
        return f"backpatch@{self.positions}"

    def edits(self, shape: Shape) -> Edits:
        """One stream put into an earlier layer."""
        layer_in(self.source, shape)
        patched = Patched("resid", -1, self.positions, self.source)
        return Edits({self.target: LayerEdit(patches=frozenset([patched]))})

"""What an ablation is: a frozen value with a text form; and several of them at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from interp.ablations.edits import Edits, Shape
from interp.ablations.value_checks import check_ascending
from interp.errors import UserError


class Ablation:
    """What all ablations share: a text form, a sum, and one line when printed."""

    @property
    def text(self) -> str:
        """The text form: key in the store, label in a figure."""
        raise AssertionError(type(self))

    def edits(self, shape: Shape) -> Edits:
        """What is changed, layer by layer. Raises UserError for numbers out of range."""
        raise AssertionError(type(self))

    @property
    def kind(self) -> str:
        """What is ablated, without where: `layer`, `attn`, `head@mean`, `swap-mlp`, `hook`, ..."""
        form, replaced = self.text.partition(":")[0], self.text.partition("@")[2]
        return f"{form}@{replaced}" if replaced else form

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that are named, ascending; hooks count where they name a hook point."""
        if hasattr(self, "first") and hasattr(self, "last"):
            return tuple(range(self.first, self.last + 1))
        return (self.layer,) if hasattr(self, "layer") else ()

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The query heads that are named, as pairs of a layer and a head, ascending."""
        if hasattr(self, "layer") and hasattr(self, "head"):
            return ((self.layer, self.head),)
        return ()

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: "Ablation") -> "Combination":
        return Combination((*_parts(self), *_parts(other)))


@dataclass(frozen=True)
class Span(Ablation):
    """What happens to consecutive blocks, both ends included.

    Attributes:
        form: the word before the numbers in the text form.
        first: the first block.
        last: the last one.
    """

    form: ClassVar[str]
    first: int
    last: int

    def __post_init__(self) -> None:
        check_ascending(self)

    @property
    def text(self) -> str:
        """The form and both ends, such as `layers:20-27`."""
        return f"{self.form}:{self.first}-{self.last}"


@dataclass(frozen=True)
class Combination(Ablation):
    """Several ablations at once, in a given order; `Combination(())` changes nothing."""

    # checked one by one below
    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        if isinstance(self.parts, str) or not isinstance(self.parts, Iterable):
            raise UserError(f"{self.parts!r:.80} is no combination; allowed are several ablations")
        flat: list[Ablation] = []
        for part in self.parts:
            if not isinstance(part, Ablation):
                raise UserError(f"{part!r} is no part of a combination; allowed are ablations")
            flat += _parts(part)
        if len(flat) == 1:
            raise UserError(f"{flat[0]}: a combination has two parts or more")
        object.__setattr__(self, "parts", tuple(flat))

    @property
    def text(self) -> str:
        """`layer:3+head:7.2`; the empty combination is the `baseline`."""
        return self._text

    # formed once: of a hundred thousand pairs a plan asks for it many times
    @cached_property
    def _text(self) -> str:
        return "+".join(part.text for part in self.parts) or "baseline"

    @property
    def kind(self) -> str:
        """`combination`, or `baseline` without parts."""
        return "combination" if self.parts else "baseline"

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of all parts, ascending."""
        return tuple(sorted({layer for part in self.parts for layer in part.layers}))

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The heads of all parts, ascending."""
        return tuple(sorted({head for part in self.parts for head in part.heads}))

    def edits(self, shape: Shape) -> Edits:
        """The edits of all parts, merged layer by layer."""
        return Edits.merged(part.edits(shape) for part in self.parts)


BASELINE = Combination(())
"""Nothing is ablated; it prints as `baseline`."""


def _parts(ablation: Ablation) -> tuple[Any, ...]:
    return ablation.parts if isinstance(ablation, Combination) else (ablation,)

"""Attention knockout, `cut:10-14@answering/gold`: some positions cannot attend to others.

Geva et al., "Dissecting Recall of Factual Associations" (arXiv 2304.14767, section 5): in every
head of the layers of a window, the scores between the two sets of positions are minus infinity
before the softmax. A position always sees itself, so that no softmax is empty.
"""

import re
from dataclasses import dataclass

from interp.ablations.base import Span
from interp.ablations.edits import Edits, LayerEdit, Shape
from interp.ablations.position_classes import CLASS, check_ranges
from interp.ablations.value_checks import layer_in
from interp.errors import UserError


@dataclass(frozen=True)
class Cut(Span):
    """In layers `first` to `last`, positions of one class cannot attend to those of another.

    Attributes:
        first: the first layer of the window.
        last: the last one.
        queries: which positions cannot attend: a class, or several joined by commas.
        keys: what they cannot see. A position always sees itself.
    """

    form = "cut"
    first: int
    last: int
    queries: str
    keys: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (self.queries, self.keys):
            if not isinstance(name, str) or not re.fullmatch(CLASS, name):
                raise UserError(
                    f"cut:{self.first}-{self.last}: {name!r} is no class of positions; allowed are "
                    "names such as answering, last, gold, and several joined by commas"
                )
            check_ranges(name, self.text)

    @property
    def text(self) -> str:
        """`cut:10-14@answering/gold`."""
        return f"{super().text}@{self.queries}/{self.keys}"

    def edits(self, shape: Shape) -> Edits:
        """The cut in every layer of the window."""
        layer_in(self.last, shape)
        cut = LayerEdit(cuts=frozenset([(self.queries, self.keys)]))
        return Edits(dict.fromkeys(self.layers, cut))

"""An ablation at some positions only: `layer:7@@prompt`, `head:7.3@mean@@last`."""

from dataclasses import dataclass
from typing import get_args

from interp.ablations.base import Ablation, Combination
from interp.ablations.edits import Edits, LayerEdit, Scope, Shape
from interp.errors import UserError


@dataclass(frozen=True)
class Scoped(Ablation):
    """An ablation that acts at positions of the prompt, of the answer, or the last of the prompt.

    Positions of the prompt are all up to the one whose logits predict the answer's first token.
    Positions of the answer are those of its tokens, the last one left out, which nothing is
    predicted from. Keys and values of skipped positions are computed from the stream that passes
    by. What acts at the prompt and what acts at the answer are together what acts everywhere.

    Attributes:
        ablation: what acts; one ablation, not several.
        scope: `"prompt"`, `"answer"` or `"last"`.
    """

    ablation: Ablation
    scope: Scope

    def __post_init__(self) -> None:
        if not isinstance(self.ablation, Ablation) or isinstance(
            self.ablation, Combination | Scoped
        ):
            raise UserError(f"@@{self.scope}: {self.ablation!r} is not one ablation")
        if self.scope not in get_args(Scope):
            raise UserError(
                f"{self.ablation}: scope {self.scope!r}; allowed are {', '.join(get_args(Scope))}"
            )

    @property
    def text(self) -> str:
        """`layer:7@@prompt`, `head:7.3@mean@@last`, ..."""
        return f"{self.ablation.text}@@{self.scope}"

    @property
    def kind(self) -> str:
        """`layer@@prompt`, `head@mean@@last`, ..."""
        return f"{self.ablation.kind}@@{self.scope}"

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that the ablation names."""
        return self.ablation.layers

    @property
    def heads(self) -> tuple[tuple[int, int], ...]:
        """The query heads that it names."""
        return self.ablation.heads

    def edits(self, shape: Shape) -> Edits:
        """The ablation's edits, each at the positions of the scope."""
        inner = self.ablation.edits(shape)
        return Edits({n: LayerEdit(scoped=((self.scope, edit),)) for n, edit in inner.items()})

"""Experts of a mixture that a router may choose but not use: `expert:3.2`.

The router chooses as before; the weight of an ablated expert is then zero. Either the weights of
the other chosen ones grow to the same sum (renormalised, as in most published expert pruning, such
as NAEE, arXiv 2402.14800), or they stay as they are, so that the layer adds less.
"""

from dataclasses import dataclass

from interp.ablations.base import Ablation
from interp.ablations.edits import Edits, LayerEdit, Shape
from interp.ablations.value_checks import check_numbers, layer_in
from interp.errors import UserError


@dataclass(frozen=True)
class AblateExpert(Ablation):
    """One expert of a mixture of experts is never used.

    Attributes:
        layer: whose expert.
        expert: its number.
        renormalised: whether the weights of the other chosen experts grow to the same sum. A token
            that has no other expert is given nothing by the router.
    """

    layer: int
    expert: int
    renormalised: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, "layer", "expert")
        if not isinstance(self.renormalised, bool):
            raise UserError(f"AblateExpert: renormalised={self.renormalised!r}; allowed are a bool")

    @property
    def text(self) -> str:
        """`expert:3.2` or `expert:3.2@unnormalised`."""
        return f"expert:{self.layer}.{self.expert}" + ("" if self.renormalised else "@unnormalised")

    def edits(self, shape: Shape) -> Edits:
        """One expert of one layer."""
        one = frozenset([self.expert])
        edit = (
            LayerEdit(removed_experts=one) if self.renormalised else LayerEdit(zeroed_experts=one)
        )
        return Edits({layer_in(self.layer, shape): edit})

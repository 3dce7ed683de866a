"""The checks that the tests put on every call find a wrong type, a wrong shape, a wrong result."""

import pytest
import torch
from beartype import beartype
from jaxtyping import Float
from torch import Tensor

from tests.helpers.type_checks import _checked


@_checked(typechecker=beartype)
def doubled(value: int) -> int:
    return value * 2 if value < 9 else "many"  # type: ignore[return-value]


@_checked(typechecker=beartype)
def added(one: Float[Tensor, "pos"], other: Float[Tensor, "pos"]) -> Float[Tensor, "pos"]:
    return one + other


def test_wrong_values_are_refused_and_right_ones_pass():
    assert doubled(2) == 4
    assert added(torch.ones(3), torch.ones(3)).sum() == 6
    for wrong in (lambda: doubled("2"), lambda: doubled(9)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError):
        added(torch.ones(3), torch.ones(1))
    assert doubled.__name__ == "doubled"

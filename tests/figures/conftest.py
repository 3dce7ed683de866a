"""Made-up sweeps: real tables of `interp.stats`, no model."""

from collections.abc import Callable

import pytest

from tests.helpers.figure_tables import Sweep, make_sweep


@pytest.fixture(scope="session")
def sweep() -> Sweep:
    return make_sweep()


@pytest.fixture(scope="session")
def sweep_of() -> Callable[..., Sweep]:
    return make_sweep

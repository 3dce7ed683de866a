"""A store with one finished unit."""

from pathlib import Path

import pytest

from interp.records import (
    open_store,
    write_unit,
)
from tests.helpers.stores import MADE, ROWS


@pytest.fixture
def store(tmp_path: Path) -> Path:
    open_store(tmp_path / "run", MADE)
    write_unit(tmp_path / "run", "unit-0", MADE, ROWS)
    return tmp_path / "run"

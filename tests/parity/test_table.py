"""The table of models: made from every family, and within the contract."""

import math

import pytest

from tests.helpers.families import FAMILIES
from tests.parity.table import HUB, README, check, page


def test_the_page_has_every_family():
    shown = [line.split("|")[1].strip() for line in README.read_text().splitlines() if "|" in line]
    assert [f for f in shown if f in FAMILIES] == list(HUB)
    assert set(HUB) == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3", "qwen3_moe"])
def test_a_family_is_exact(tmp_path, family):
    row = check(family, tmp_path)
    assert max(row.logits, row.scores, row.attention, row.pruned) < 1e-4
    assert row.texts == (0, 9)
    assert not row.refused
    assert not math.isnan(row.attention)
    assert f"| {family} |" in page([row])

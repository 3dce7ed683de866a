"""Planted effects of a known size, and measures on planted models that can say nothing."""

import numpy as np
import pandas as pd
import pytest

from experiments.validity import measures
from experiments.validity.graded import _significant, repair_row
from experiments.validity.power import smallest


def assert_as_planted(rows):
    wrong = [row["question"] for row in rows if row["missed"] or row["false_alarm"]]
    assert not wrong


def test_the_layer_is_found_as_often_as_it_is_asked():
    """Layer 0 holds the first half of forty rows, and layer 1 nothing."""
    drops = np.zeros((40, 2))
    drops[:20, 0] = 1
    mine = np.arange(40) < 20
    rng = np.random.default_rng(0)
    shares = {
        size: _significant(rng, drops, mine, 100, size / 100).mean(axis=0) for size in (0, 5, 50)
    }
    assert shares[0].tolist() == [0, 0]
    assert 0 < shares[5][0] < 0.5
    assert shares[50].tolist() == [1, 0]


def test_the_smallest_drop_is_read_off_between_two_sizes():
    curve = pd.DataFrame(
        {"n": 100, "cost": [1.0, 5.0, 9.0, 20.0], "here": [0.1, 0.6, 1.0, 1.0], "low": 0.2}
    )
    assert smallest(curve, "here") == {100: pytest.approx(7.0)}
    assert np.isnan(smallest(curve, "low")[100])


@pytest.mark.slow
def test_a_planted_llama_shows_what_was_planted_and_nothing_else():
    assert_as_planted(measures.check_llama(1000))


@pytest.mark.slow
def test_a_repaired_loss_is_called_repaired_and_its_repairer_is_named():
    row = repair_row(1000)
    assert {name: row[name] for name in ("attribution", "repaired", "repairer")} == {
        "attribution": True, "repaired": True, "repairer": True,
    }  # fmt: skip

"""How many steps of a pruning curve are shown to keep a score, and from which on it is lost."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import UserError
from interp.stats import removable

STEPS = ["layer:3", "layer:3+layer:2", "layer:3+layer:2+layer:1"]


def table(lost: list[int], n: int = 200) -> pd.DataFrame:
    """A model that is always right and loses so many examples at each step."""
    outcomes = {"baseline": 0} | dict(zip(STEPS, lost, strict=True))
    rows = [
        {"model": "m", "task": "t", "metric": "acc", "ablation": ablation, "doc_id": doc}
        | {"value": float(doc >= gone), "points": True}
        for ablation, gone in outcomes.items()
        for doc in range(n)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("lost", "kept", "lost_from"),
    [
        ([0, 0, 0], 3, np.nan),
        ([2, 60, 150], 1, 2),
        ([2, 20, 150], 1, 3),  # a tenth is lost at the second step: neither can be said
        ([60, 2, 150], 0, 3),  # what comes behind a step that is not kept does not count
        ([60, 70, 2], 0, np.nan),
    ],
)
def test_steps_are_counted_up_to_the_first_that_is_not_shown(lost, kept, lost_from):
    (row,) = removable(table(lost), STEPS, margin=10.0).to_dict("records")
    assert row["kept"] == kept
    assert row["lost_from"] == lost_from or (np.isnan(lost_from) and np.isnan(row["lost_from"]))
    assert (row["n"], row["n_steps"], row["baseline"]) == (200, 3, 100)


def test_few_examples_show_nothing():
    (row,) = removable(table([0, 1, 6], n=10), STEPS, margin=10.0).to_dict("records")
    assert row["kept"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, "margin 0.0: allowed are positive numbers"),
        ({"margin": 10.0, "confidence": 0.4}, "confidence 0.4"),
        ({"margin": 10.0, "steps": ["layer:9"]}, "step layer:9: it is not in the table"),
        ({"margin": 10.0, "steps": []}, "steps: there are none"),
    ],
)
def test_what_cannot_be_counted_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        removable(table([0, 0, 0]), **{"steps": STEPS} | options)

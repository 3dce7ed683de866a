"""The twin with layer dropout is compared with its control example by example."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments.headline import Measured
from experiments.organisms.redundancy import models_compared, page
from interp.stats import removal_curve

TASK = "world2-facts:generate"


def curves(model: str, left: float) -> Measured:
    """A model of which a share of the answers is left after each of two removals."""
    right = np.arange(60) < 60 * left
    values = pd.DataFrame(
        [
            {"model": model, "task": TASK, "metric": "exact_match", "doc_id": at}
            | {"ablation": name, "value": float(value)}
            for name, answers in (("baseline", np.ones(60)), ("layer:1", right), ("layer:2", right))
            for at, value in enumerate(answers)
        ]
    )
    kept = {"block influence": removal_curve(values, ["layer:1", "layer:2"], floor=0.0)}
    return Measured(model, SimpleNamespace(name=TASK), values, values, kept)


@pytest.fixture
def table() -> pd.DataFrame:
    found = [curves("control", 0.5), curves("twin", 0.9)]
    return models_compared(found, "control", "twin")


def test_the_share_that_the_twin_keeps_more_is_that_of_the_curves(table):
    (row,) = table.to_dict("records")
    assert row["control"] == pytest.approx(0.5)
    assert row["twin"] == pytest.approx(0.9)
    assert row["difference"] == pytest.approx(0.4)
    assert 0.2 < row["low"] < 0.4 < row["high"]
    assert row["n"] == 60


def test_the_page_says_what_cannot_be_tested(table):
    protocols = pd.DataFrame(
        [
            {"model": "twin", "benchmark": "world2-facts", "protocol": "default"}
            | {"order": "block influence", "difference": float("nan"), "low": 0.0, "high": 0.0}
            | {"n": 60}
        ]
    )
    text = page({"models": table, "protocols": protocols}, limit=60)
    assert "not testable" in text
    assert "+0.40 [" in text

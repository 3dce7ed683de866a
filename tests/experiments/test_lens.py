"""The lens and similarity experiments, as far as they need no trained model."""

import re

import numpy as np
import pandas as pd
import pytest

from experiments.calibration import texts_of, world_texts
from experiments.lens import STEPS, _sentences, decided_by_both
from experiments.presets import FIRST_WORLD
from experiments.similarity import MOST, orders


def test_calibration_texts_cover_the_skills_and_are_seeded():
    texts = world_texts(6)
    assert texts == world_texts(6)
    assert texts != world_texts(6, seed=1)
    assert all(text.startswith("Question:") for text in (texts[0], texts[2], texts[3], texts[5]))
    assert all("Pairs:" in text for text in (texts[1], texts[4]))
    # every written-out step has its result
    assert len(re.findall(STEPS, texts[2])) == texts[2].count(" = ") >= 1
    assert texts_of(FIRST_WORLD, 6)[0] == texts


def test_the_orders_of_the_pruning_curves():
    class Similarity:
        influence = pd.DataFrame({"layer": range(6), "value": [6.0, 5, 4, 3, 2, 1]})
        angular = pd.DataFrame(
            [(n, b, abs(n - 2) * b) for b in range(1, 7) for n in range(7 - b)],
            columns=["layer", "block", "value"],
        )

    importance = pd.DataFrame(
        {"ablation": [f"layer:{n}" for n in range(6)], "task": "t", "drop": np.arange(6.0)}
    )
    found = orders(Similarity, importance)
    assert [o.name for o in found[:4]] == [
        "measured importance", "block influence", "angular distance (block)", "from the deepest",
    ]  # fmt: skip
    assert [o.steps[0] for o in found[:4]] == [(0,), (5,), (2,), (5,)]
    assert all(len(o.steps) == MOST for o in found)


def test_sentences_carry_n_and_claim_no_difference_that_is_not_shown():
    row = {"task": "world-kv:generate", "step": "answer", "model": "organism:distilled",
           "against": "organism:base", "n": 150, "n_one": 199, "n_other": 151, "asked": 200,
           "interval": "95% Student and Hall", "test": "t test"}  # fmt: skip
    table = pd.DataFrame(
        [
            row | {"difference": -0.0004, "low": -0.022, "high": 0.021, "p_adjusted": 1.0},
            row | {"difference": 0.03, "low": 0.01, "high": 0.05, "p_adjusted": 0.02},
            # an interval without 0 that the correction takes back
            row | {"difference": 0.03, "low": 0.001, "high": 0.06, "p_adjusted": 0.2},
        ]
    )
    same, later, corrected = _sentences(table)
    assert "no difference is shown" in same
    assert "earlier" not in same
    assert "decides later than" in later
    assert "no difference is shown" in corrected
    assert all("n = 150 examples that both decide" in one for one in (same, later))
    assert "distilled decides 199, base 151 of 200" in later
    assert "adjusted p 0.02, t test, Holm over 3" in later


def examples(depths: dict[int, float]) -> pd.DataFrame:
    """Examples that are decided at some depth of four; at none for a depth above that."""
    return pd.DataFrame(
        [
            {"doc_id": doc, "step": "answer", "depth": float(depth)}
            | {"right_leads": float(depth >= at)}
            for doc, at in depths.items()
            for depth in range(5)
        ]
    )


def test_depths_are_compared_on_the_examples_that_both_decide():
    # two equal models, of which one also decides ten examples late that the other never decides
    early, late = dict.fromkeys(range(20), 2.0), dict.fromkeys(range(20, 30), 4.0)
    one, other = examples(early | late), examples(early | dict.fromkeys(late, 9.0))
    (row,) = decided_by_both(one, other, list).to_dict("records")
    assert row["difference"] == 0
    assert (row["n"], row["n_one"], row["n_other"], row["asked"]) == (20, 30, 20, 30)
    later = {doc: 2.0 + (doc % 3 > 0) for doc in range(20)}
    (row,) = decided_by_both(examples(later), other, list).to_dict("records")
    assert row["difference"] == pytest.approx(np.mean([doc % 3 > 0 for doc in range(20)]) / 4)
    assert row["low"] < row["difference"] < row["high"]
    assert row["p"] < 0.01

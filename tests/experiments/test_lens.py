"""The lens and similarity experiments, as far as they need no trained model."""

import re

import numpy as np
import pandas as pd

from experiments.calibration import texts_of, world_texts
from experiments.lens import STEPS, _sentences
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
           "against": "organism:base", "n": 150}  # fmt: skip
    table = pd.DataFrame(
        [
            row | {"difference": -0.0004, "low": -0.022, "high": 0.021},
            row | {"difference": 0.03, "low": 0.01, "high": 0.05},
        ]
    )
    same, later = _sentences(table)
    assert "no difference is shown" in same
    assert "earlier" not in same
    assert "decides later than" in later
    assert all("n = 150" in one for one in (same, later))

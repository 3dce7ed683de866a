"""The lens and similarity experiments, as far as they need no trained model."""

import re

import numpy as np
import pandas as pd

from experiments.calibration import texts_of, world_texts
from experiments.lens import STEPS
from experiments.presets import ORGANISMS
from experiments.similarity import MOST, orders


def test_calibration_texts_cover_the_skills_and_are_seeded():
    texts = world_texts(6)
    assert texts == world_texts(6)
    assert texts != world_texts(6, seed=1)
    assert all(text.startswith("Question:") for text in (texts[0], texts[2], texts[3], texts[5]))
    assert all("Pairs:" in text for text in (texts[1], texts[4]))
    # every written-out step has its result
    assert len(re.findall(STEPS, texts[2])) == texts[2].count(" = ") >= 1
    assert texts_of(ORGANISMS, 6)[0] == texts


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

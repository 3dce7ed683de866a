"""The page of the control arms shows what each whole model gets right beside its drops."""

import pandas as pd

from experiments.organisms.arms import page

TASK = "world2-arithmetic:generate"


def test_drops_stand_beside_what_the_whole_models_get_right():
    scores = pd.DataFrame(
        [
            {"model": model, "task": TASK, "value": value, "low": value - 5, "high": value + 5}
            | {"n": 100}
            for model, value in (("base12", 81.0), ("distilled12-none", 6.0))
        ]
    )
    differences = pd.DataFrame(
        [
            {"a": "base12", "b": "distilled12-none", "task": TASK, "ablation": "layer:0"}
            | {"difference": 75.0, "low": 65.0, "high": 84.0, "p_adjusted": 0.001, "n": 100}
        ]
    )
    text = page({"scores": scores, "differences": differences}, limit=100)
    assert "| distilled12-none | base12 | 0: -75 [-84, -65] | 6 and 81 | 100 |" in text
    assert "cannot be larger than what the whole model gets right" in text

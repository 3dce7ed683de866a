"""What distillation moved, in words: sentences hold the tables' numbers and their limits."""

import pandas as pd

from experiments import distillation, distillation_findings
from experiments.hours import KNOWN, runs_again
from experiments.presets import ORGANISMS, STUDY
from experiments.runs import Job
from interp.ablations.edits import Shape
from interp.comparison import swap_ablations
from tests.helpers.families import N_LAYERS, tiny_bridge

TASK = "world-arithmetic:generate"


def tables() -> dict[str, pd.DataFrame]:
    """Two models of which one cannot do the task, and one swap that harms."""
    interval = {"task": TASK, "n": 50, "interval": "95% Wilson"}
    scores = [
        {"model": "organism:base", "ablation": "baseline", "value": 10.0, "low": 4.3, "high": 21.4},
        {"model": "organism:distilled", "ablation": "baseline", "value": 92.0, "low": 81, "high": 97},  # noqa: E501
    ]  # fmt: skip
    centre = {"quantity": "centre", "value": 0.5, "low": 0.4, "high": 0.6, "weight": "drop"}
    robust = {"n_removed": 8, "robustness": 0.07, "low": 0.06, "high": 0.09}
    steps = [(0, None, 92.0, None, 1.0), (1, 0, 10.0, 82.0, 0.001), (1, 1, 90.0, 2.0, 1.0)]
    swaps = [
        {"recipient": "organism:distilled", "donor": "organism:base", "part": "layer"}
        | {"curve": curve, "n_swapped": n, "first": first, "value": value, "low": 1.0, "high": 99.0}
        | {"drop": drop, "drop_low": 0.0, "drop_high": 90.0, "p_adjusted": p}
        | {"drop_low_all": -1.0, "drop_high_all": 91.0}
        | {"interval_of_drop": "95% Tango score", **interval}
        for curve in ("single", "up")
        for n, first, value, drop, p in steps
    ]
    return {
        "scores": pd.DataFrame([row | interval for row in scores]),
        "centres": pd.DataFrame([{"model": "organism:distilled"} | centre | interval]),
        "robustness": pd.DataFrame([{"model": "organism:distilled"} | robust | interval]),
        "swaps": pd.DataFrame(swaps),
    }


def test_the_sentences_hold_the_numbers_and_their_limits() -> None:
    found = distillation_findings.findings(tables(), [TASK])
    text = "\n".join(found)
    assert "base 10 [4, 21]%; distilled 92 [81, 97]% (95% Wilson, n = 50)" in text
    assert "base gets 10% right, so that no layer can cost it more" in text
    assert "distilled gets" not in text
    assert "1 of 2 swaps are shown to harm, 0 to help" in text
    drop = "82 [\N{MINUS SIGN}1, 91] points, of layer 0 (interval for all"
    assert f"the largest change is a drop of {drop}" in text
    assert all(sentence.startswith("Reasoning, generated answers.") for sentence in found)


def test_every_model_is_asked_and_both_directions_are_swapped() -> None:
    asked = distillation.jobs(ORGANISMS)
    assert {job.role for job in asked if job.family == "layers"} == {"base", "teacher", "distilled"}
    swaps = {(j.role, j.donor) for j in asked if j.family == "swap-curves"}
    assert swaps == {("base", "distilled"), ("distilled", "base")}
    assert {job.role for job in distillation.jobs(STUDY)} == {"base", "distilled"}


def test_the_estimate_counts_the_blocks_that_swaps_run_again() -> None:
    model, donor = tiny_bridge("llama"), tiny_bridge("llama", seed=1)
    shape = Shape(N_LAYERS, 4, 2)
    swaps = swap_ablations(model, donor)
    size = KNOWN["meta-llama/Llama-3.1-8B"]
    of_three = type(size)(**{**vars(size), "n_layers": N_LAYERS})
    count, passes = runs_again(Job("base", TASK, "swap-curves", donor="distilled"), of_three)
    assert count == len(swaps)
    again = sum(N_LAYERS - min(a.edits(shape)) for a in swaps) / N_LAYERS
    assert abs(passes - again) < 1e-9

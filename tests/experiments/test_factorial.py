"""From the values of the forms to cells, effects, sentences and the figure; no model."""

import itertools

import numpy as np
import pandas as pd
import pytest

from experiments import factorial, summary
from interp import figures

METRICS = ["likelihood_options", "likelihood_type", "likelihood_vocabulary", "greedy_options",
           "greedy_type", "acc_ce"]  # fmt: skip


def values_of(task, metrics, *, n=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for metric, ablation in itertools.product(metrics, ("baseline", "layer:0", "layer:1")):
        right = rng.random(n) < (0.3 if ablation == "layer:0" else 0.95)
        rows += [{"model": "m", "task": task, "metric": metric, "ablation": ablation, "doc_id": i,
                  "value": float(right[i])} for i in range(n)]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_forms_become_cells_effects_and_a_figure():
    names = [f"world2-{skill}-forms:{protocol}" for skill in ("facts", "unwritten",
             "unwritten-steps") for protocol in ("continuation", "generate")]  # fmt: skip
    found = factorial.benchmarks(names)
    assert {name: len(tasks) for name, tasks in found.items()} == {
        "world2-facts": 2, "world2-unwritten": 4,
    }  # fmt: skip
    drawn, shares = [], []
    for name, tasks in found.items():
        values = factorial.in_cells(
            pd.concat(
                [values_of(task, METRICS if "continuation" in task else ["exact_match,strict"])
                 for task in tasks]
            )
        )  # fmt: skip
        assert "acc_ce" not in set(values["metric"])
        floors = {"options": 0.25, "type": 0.05, "vocabulary": 0.0}
        cells, points, of_rest = factorial.tables(values, floors)
        assert cells["task"].nunique() == 6 * (len(tasks) // 2)
        cells["task"] = [f"{name}, {cell}" for cell in cells["task"]]
        assert set(points["effect"]) == set(of_rest["effect"])
        drawn.append(cells.assign(benchmark=name))
        shares.append(of_rest.assign(benchmark=name))
    table = pd.concat(shares, ignore_index=True)
    assert "steps: with - without" in set(table["effect"])
    first, second = factorial.sentences(table)
    assert "n = 40" in first
    assert "steps: with - without" in second
    assert len(factorial._shown(table)) > 0
    figure = figures.heatmap(pd.concat(drawn, ignore_index=True))
    assert len(figure.axes[0].get_yticks()) == 18


def test_an_effect_on_no_layer_is_said_to_be_none():
    flat = {"model": "m", "benchmark": "world2-facts", "effect": "readout: greedy - likelihood"}
    flat |= {"ablation": "layer:0", "value": 0.0, "low_all": np.nan, "high_all": np.nan, "n": 9}
    flat |= {"correction": "holm"}
    uncertain = flat | {"effect": "steps: with - without", "value": -0.1, "low_all": -0.3}
    rows = [flat | {"p_adjusted": 1.0}, uncertain | {"p_adjusted": 0.4, "high_all": 0.1}]
    (sentence,) = factorial.sentences(pd.DataFrame(rows))
    assert "readout: greedy - likelihood: shown in none of 1; steps" in sentence
    assert "shown in none of 1 (largest estimate, layer:0: \N{MINUS SIGN}10 [" in sentence
    moved = pd.DataFrame([uncertain | {"p_adjusted": 0.01, "high_all": -0.02}])
    assert "shown in 1 of 1 (largest effect, layer:0" in factorial.sentences(moved)[0]


def test_cells_have_words():
    assert factorial.cell_label("world2-kv, greedy, type") == "Pair look-up, greedy, type"
    words = "Unwritten arithmetic, likelihood, options, steps"
    assert factorial.cell_label("world2-unwritten, likelihood, options, with") == words


def test_kinds_of_interval_are_named_once():
    names = ["95% Tango score by cluster", "95% paired bootstrap by cluster", "95% Tango score"]
    words = "95% Tango score or paired bootstrap, by cluster where rows have one"
    assert summary.interval_words(names) == words
    assert summary.interval_words(names[:2]).endswith("bootstrap, by cluster")
    assert summary.interval_words(names[2:]) == "95% Tango score"


@pytest.mark.parametrize(
    ("task", "metric", "cell"),
    [("world2-kv-forms:continuation", "greedy_type", ("greedy", "type", "without")),
     ("world2-unwritten-steps-forms:generate", "exact_match,strict-match",
      ("greedy", "vocabulary", "with")),
     ("world2-kv-forms:continuation", "gold_logprob", None)],
)  # fmt: skip
def test_a_metric_of_a_form_is_a_cell(task, metric, cell):
    assert factorial.cell_of(task, metric) == cell

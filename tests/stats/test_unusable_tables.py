"""Tables without a column, without rows, or with texts for numbers: one line says so."""

import pandas as pd
import pytest

from interp import attention, comparison, results, similarity, stats
from interp.errors import UserError

TEXTS = ["baseline", "layer:0", "layer:1", "layer:2", "layer:0@mean", "layer:0+layer:1"]
VALUES = pd.DataFrame(
    [("m", "t", "acc", text, doc, float((doc + n) % 2), way)
     for way in ("x", "y") for n, text in enumerate(TEXTS) for doc in range(6)],
    columns=["model", "task", "metric", "ablation", "doc_id", "value", "variant"],
)  # fmt: skip
ONE = VALUES[VALUES["variant"] == "x"].drop(columns="variant")
TWO = pd.concat([ONE.assign(model=name) for name in ("a", "b")])
SCORES = stats.scores(ONE, resamples=100)
DROPS = stats.importance(ONE, resamples=100)
RESPONSES = pd.DataFrame(
    {"model": "m", "task": "twins-t", "doc_id": [0, 1, 0, 1], "loglikelihoods": [[-1.0, -2.0]] * 4,
     "ablation": ["baseline", "baseline", "patch:mlp:0@last", "patch:mlp:0@last"]}
)  # fmt: skip
PLACED = pd.DataFrame({"doc_id": [0, 1], "ablation": "baseline", "correct": [0, 1]})
ROWS = pd.DataFrame({"doc_id": [0, 1], "gold_position": [0, 1]})
MEASURES = pd.DataFrame(
    {"model": "m", "measure": "x", "layer": [0, 1, 2], "value": [0.1, 0.2, 0.3]}
)
WEIGHTS = pd.DataFrame({"model": "m", "other": "o", "layer": [0], "part": "mlp", "shape": "2,2",
                        "change": 1.0, "norm": 2.0, "spectral": 0.5})  # fmt: skip

# a call, a table that is right, the columns without which it is not
CALLS = {
    "variance_components": (stats.variance_components, VALUES, "task ablation doc_id value"),
    "removal_curve": (lambda t: stats.removal_curve(t, ["layer:0"]), ONE, "ablation doc_id value"),
    "near_ties": (stats.near_ties, RESPONSES, "task loglikelihoods"),
    "factorial_effects": (
        lambda t: stats.factorial_effects(t, {"variant": ("x", "y")}), VALUES, "model value variant"
    ),
    "layer_correlations": (lambda t: stats.layer_correlations(t, ONE), MEASURES, "measure value"),
    "lost_examples": (results.lost_examples, ONE, "value doc_id"),
    "recovery": (results.recovery, RESPONSES, "doc_id loglikelihoods"),
    "replacement_table": (results.replacement_table, DROPS, "ablation drop family"),
    "choose_metric": (results.choose_metric, DROPS, "task metric"),
    "curves": (comparison.removal_curves, SCORES, "ablation task"),
    "robustness": (lambda t: comparison.robustness(t, {"a": 2, "b": 2}), TWO, "model value"),
    "differences": (comparison.robustness_differences, TWO, "model value"),
    "layer_distances": (comparison.layer_distances, WEIGHTS, "change shape"),
    "by_gold_position": (lambda t: attention.by_gold_position(t, ROWS), PLACED, "doc_id correct"),
    "documents": (lambda t: attention.by_gold_position(PLACED, t), ROWS, "gold_position"),
    "explained": (lambda t: attention.explained(t, "acc"), DROPS, "ablation drop"),
    "by_importance": (lambda t: similarity.by_importance(t, 1), DROPS, "ablation drop"),
}  # fmt: skip
CASES = [(name, column) for name, (_, _, columns) in CALLS.items() for column in columns.split()]


@pytest.mark.parametrize(("name", "column"), CASES)
def test_a_table_without_a_column_is_refused_in_one_line(name, column):
    call, table, _ = CALLS[name]
    call(table)
    with pytest.raises(UserError, match=column):
        call(table.drop(columns=column))


@pytest.mark.parametrize("name", [name for name in CALLS if name != "choose_metric"])
def test_texts_for_numbers_are_refused_in_one_line(name):
    call, table, columns = CALLS[name]
    numbers = [column for column in columns.split() if table[column].dtype.kind in "fi"]
    for column in numbers:
        with pytest.raises(UserError):
            call(table.astype({column: object}).assign(**{column: "x"}))


def test_a_table_without_rows_is_refused_in_one_line():
    for name in ("variance_components", "recovery", "curves", "robustness", "layer_distances"):
        call, table, _ = CALLS[name]
        with pytest.raises(UserError):
            call(table[:0])


def test_numbers_of_power_that_no_sample_has_are_refused():
    for call in (
        lambda: stats.power(10**9, 5.0), lambda: stats.power(0, 5.0),
        lambda: stats.least_detectable(100, family=0),
        lambda: stats.least_detectable(100, noise=60.0),
        lambda: stats.examples_needed(5.0, wanted=1.0),
    ):  # fmt: skip
        with pytest.raises(UserError, match="allowed are"):
            call()

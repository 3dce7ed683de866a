"""Examples without an outcome (NaN): counted and named, and the rest of a table stays whole."""

import logging

import numpy as np
import pandas as pd
import pytest

from interp import stats
from interp.errors import UserError

ABLATIONS = ["baseline", "layer:0", "layer:1", "layer:2"]


def long_table(n=40, *, failed=()):
    """0/1 values; `failed` are (ablation, doc_id) without an outcome."""
    rng = np.random.default_rng(0)
    rows = [
        {"model": "m", "task": "t", "metric": "acc", "ablation": name, "doc_id": doc,
         "value": float(rng.random() < 0.9 - 0.2 * number)}
        for number, name in enumerate(ABLATIONS)
        for doc in range(n)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    for name, doc in failed:
        table.loc[(table["ablation"] == name) & (table["doc_id"] == doc), "value"] = np.nan
    return table


@pytest.mark.parametrize("function", [stats.scores, stats.importance])
def test_an_ablation_that_fails_has_a_row_without_numbers_and_the_others_stay_whole(function):
    found = function(long_table(failed=[("layer:1", 3), ("layer:1", 7)]))
    without = long_table()
    whole = function(without[without["ablation"] != "layer:1"])
    kept = found[found["ablation"] != "layer:1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept.drop(columns="failures"), whole, check_dtype=False)
    assert (kept["failures"] == 0).all()
    (row,) = found[found["ablation"] == "layer:1"].to_dict("records")
    assert row["failures"] == 2
    assert row["n"] == 40
    assert row["interval"] == "none (examples failed)"
    numbers = ("value",) if function is stats.scores else ("drop", "ablated", "p", "p_adjusted")
    assert all(np.isnan(row[name]) for name in (*numbers, "low", "high"))
    if function is stats.importance:
        assert not row["testable"]
        assert row["family"] == "layer"


def test_an_example_that_fails_without_ablation_is_left_out_for_all():
    found = stats.importance(long_table(failed=[("baseline", 5), ("layer:0", 5)]))
    values = long_table()
    whole = stats.importance(values[values["doc_id"] != 5])
    pd.testing.assert_frame_equal(found.drop(columns="failures"), whole)
    assert found["failures"].tolist() == [1, 0, 0]
    scores = stats.scores(long_table(failed=[("baseline", 5)])).set_index("ablation")
    assert scores.loc["baseline", ["n", "failures"]].tolist() == [39, 1]


def test_a_baseline_that_always_fails_leaves_no_number():
    values = long_table(failed=[("baseline", doc) for doc in range(40)])
    found = stats.importance(values)
    assert found["ablation"].tolist() == ABLATIONS[1:]
    assert found["drop"].isna().all()
    assert stats.scores(values)["value"].isna().all()
    assert "not testable" in stats.findable(found)[0]


def test_an_ablation_that_fails_is_named_where_tables_leave_it_out(caplog):
    values = long_table(failed=[("layer:1", 3)])
    with caplog.at_level(logging.WARNING, logger="interp"):
        (damage,) = stats.drops_by_document(values).values()
    assert list(damage.columns) == ["layer:0", "layer:2"]
    assert "model m, task t, ablation layer:1: 1 examples failed; it is left out" in caplog.text


def test_equivalence_calls_no_failed_ablation_equivalent():
    found = stats.equivalence(long_table(failed=[("layer:1", 3)]), margin=99.0)
    assert found.set_index("ablation")["equivalent"].to_dict() == {
        "layer:0": True, "layer:1": False, "layer:2": True,
    }  # fmt: skip


def test_infinite_values_and_documents_that_were_not_run_are_still_refused():
    values = long_table()
    with pytest.raises(UserError, match="1 values are infinite"):
        stats.scores(values.assign(value=values["value"].where(values.index != 3, np.inf)))
    with pytest.raises(UserError, match="1 documents differ from the baseline's"):
        stats.importance(values.drop(index=values.index[-1]))


def test_ties_count_choices_that_have_an_outcome():
    responses = pd.DataFrame(
        {"model": "m", "task": "t", "ablation": "layer:0",
         "loglikelihoods": [[-1.0, -1.0], [np.nan, np.nan], [-1.0, -2.0]]}
    )  # fmt: skip
    (row,) = stats.near_ties(responses).to_dict("records")
    assert (row["ties"], row["n"]) == (1, 2)

"""Orders in which layers go, and pruning curves."""

import pandas as pd
import pytest

from interp.errors import UserError
from interp.results import open_run
from interp.similarity import (
    Order,
    at_random,
    by_angular_distance,
    by_importance,
    by_influence,
    deepest_first,
    pruning_curves,
)
from interp.similarity.skipping import curve_table
from interp.sweeps import sweep
from tests.helpers.task_files import write_task

N_LAYERS = 8


def test_orders():
    influence = pd.DataFrame({"layer": range(4), "value": [0.5, 0.1, 0.4, 0.2]})
    assert by_influence(influence, 3).steps == ((1,), (1, 3), (1, 2, 3))
    angular = pd.DataFrame(
        [(0, 1, 0.5), (1, 1, 0.1), (2, 1, 0.2), (0, 2, 0.9), (1, 2, 0.6), (2, 2, 0.3)],
        columns=["layer", "block", "value"],
    )
    # the best block of two does not hold the best block of one
    assert by_angular_distance(angular, 2).steps == ((1,), (2, 3))
    importance = pd.DataFrame(
        {
            "ablation": [f"layer:{n}" for n in range(4)] * 2,
            "task": ["a"] * 4 + ["b"] * 4,
            "drop": [9.0, 1, 5, 2, 9, 3, -4, 0],
        }
    )
    assert by_importance(importance, 3).steps == ((2,), (2, 3), (1, 2, 3))
    with pytest.raises(UserError, match="several metrics"):
        by_importance(pd.concat([importance, importance]), 2)
    failed = importance.assign(drop=importance["drop"].where(importance.index != 0))
    with pytest.raises(UserError, match="layer:0 has no drop on task a, where examples failed"):
        by_importance(failed, 3)
    assert by_importance(failed[failed["ablation"] != "layer:0"], 2).steps == ((2,), (2, 3))
    assert deepest_first(4, 2).steps == ((3,), (2, 3))
    one, other = at_random(6, 5, draws=2, seed=1)
    assert one.steps != other.steps
    assert [len(s) for s in one.steps] == [1, 2, 3, 4, 5]
    assert all(set(a) < set(b) for a, b in zip(one.steps, one.steps[1:], strict=False))
    assert at_random(6, 5, draws=2, seed=1)[0].steps == one.steps


def test_an_order_of_more_layers_than_there_are_is_refused():
    """Its last steps would be the same set again and again."""
    influence = pd.DataFrame({"layer": range(4), "value": [0.5, 0.1, 0.4, 0.2]})
    for order in (lambda: by_influence(influence, 5), lambda: deepest_first(4, 5),
                  lambda: at_random(4, 0)):  # fmt: skip
        with pytest.raises(UserError, match=r"most \d: allowed are whole numbers from 1 to 4"):
            order()


def test_an_order_by_a_table_of_several_tasks_is_refused():
    one = pd.DataFrame({"layer": range(3), "block": 1, "value": [0.5, 0.1, 0.4]})
    both = pd.concat([one.assign(source=name) for name in ("a", "b")])
    for order in (by_influence, by_angular_distance):
        with pytest.raises(UserError, match="rows of several models or tasks; keep one"):
            order(both, 2)


@pytest.mark.slow
def test_curves_are_the_sweep_s_scores(llama, tmp_path):
    path = str(write_task(tmp_path, kind="letters", rows=10))
    orders = [deepest_first(3, 2), Order("mine", ((0,), (0, 2)))]
    table = pruning_curves(llama, [path], orders, out=tmp_path / "run")
    expected = sweep(llama, [path], ["layers:1-2", "layer:2"], out=tmp_path / "other").scores()
    expected = expected.query("metric == 'acc'").set_index("ablation")["value"]
    found = table.query("order == 'from the deepest' and metric == 'acc'")
    assert found["value"].tolist() == expected[["baseline", "layer:2", "layers:1-2"]].tolist()
    assert found["n_removed"].tolist() == [0, 1, 2]
    assert found["layers"].tolist() == ["", "2", "1 2"]
    assert list(open_run(tmp_path / "run").manifest.ablations) == [
        "layer:2", "layer:1+layer:2", "layer:0", "layer:0+layer:2",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(curve_table(tmp_path / "run", orders), table)
    with pytest.raises(UserError, match="3 layers; the model has 3"):
        pruning_curves(llama, [path], [deepest_first(3, 3)], out=tmp_path / "third")
    assert not (tmp_path / "third").exists()


@pytest.mark.slow
def test_a_curve_never_shares_examples_with_its_order(llama, tmp_path):
    """The order is measured on some rows; the curve is of the others, in every order alike."""
    path = str(write_task(tmp_path, kind="letters", rows=20))
    measured = sweep(llama, [path], "layers", limit=8, seed=1, out=tmp_path / "measured")
    order = by_importance(measured, 2)
    used = set(measured.manifest.tasks[0].doc_ids)
    assert order.measured_on == {"tiny-letters": used}
    table = pruning_curves(llama, [path], [order, deepest_first(3, 2)], out=tmp_path / "run")
    assert set(table["n"]) == {20 - len(used)}
    values = open_run(tmp_path / "run").values()
    rest = values[~values["doc_id"].isin(used) & (values["ablation"] == "baseline")]
    whole = table[(table["n_removed"] == 0) & (table["metric"] == "acc")]["value"]
    assert whole.to_numpy() == pytest.approx(100 * rest[rest["metric"] == "acc"]["value"].mean())
    with pytest.raises(UserError, match="all 8 examples are those that an order was measured on"):
        pruning_curves(llama, [path], [order], out=tmp_path / "same", limit=8, seed=1)
    assert not (tmp_path / "same").exists()

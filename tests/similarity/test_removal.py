"""Greedy removal against a loop that was written out, and interactions of pairs by hand."""

import inspect
import json
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import interp
from interp.ablations import as_ablations
from interp.errors import UserError
from interp.results import interactions
from interp.similarity import greedy_removal
from interp.similarity.removal import CHOSEN_ON, HELD_OUT, _costs
from interp.tasks import load_task, select_examples
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


@pytest.mark.slow
@pytest.mark.parametrize("beam", [1, 3])
def test_greedy_removal_takes_what_costs_least_and_scores_it_elsewhere(tmp_path, beam):
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, rows=12))
    found = greedy_removal(
        model, task, most=2, out=tmp_path / "out", metric="gold_logprob", beam=beam
    )
    sets = [list(c) for k in (1, 2) for c in combinations(range(3), k)]
    run = interp.sweep(
        model, task, [[f"layer:{n}" for n in one] for one in sets], out=tmp_path / "all"
    )
    values = run.values().query("metric == 'gold_logprob'").set_index(["doc_id", "ablation"])
    wide = values["value"].unstack()  # noqa: PD010
    chose = select_examples(task, 6)
    cost = wide.loc[chose, "baseline"].mean() - wide.loc[chose].mean()
    text = {tuple(one): "+".join(f"layer:{n}" for n in one) for one in sets}
    first = sorted((s for s in text if len(s) == 1), key=lambda s: cost[text[s]])[:beam]
    second = [s for s in text if len(s) == 2 and any(set(f) <= set(s) for f in first)]
    best = (first[0], min(second, key=lambda s: cost[text[s]]))
    assert found.order.steps == best
    others = [doc for doc in wide.index if doc not in chose]
    for rows, name in ((chose, CHOSEN_ON), (others, HELD_OUT)):
        curve = found.curve[found.curve["order"] == name].set_index("n_removed")
        for step, one in enumerate(("baseline", *(text[s] for s in best))):
            assert curve.loc[step, "value"] == pytest.approx(wide.loc[rows, one].mean(), abs=1e-5)
    held_out = wide.loc[others, "baseline"].mean() - wide.loc[others, text[best[1]]].mean()
    assert found.drops.set_index("n_removed").loc[2, "drop"] == pytest.approx(held_out, abs=1e-5)
    assert set(found.drops["n"]) == {6}


def test_what_greedy_removal_cannot_do_is_refused_in_one_line(tmp_path, llama):
    task = load_task(write_task(tmp_path, rows=3))
    for options, message in (
        ({"most": 3}, "most 3: allowed are 1-2"),
        ({"most": 1, "beam": 0}, "beam 0: allowed are 1 and more"),
        ({"most": 1, "correction": "bonferroni"}, "correction 'bonferroni': allowed are holm"),
        ({"most": 1, "metric": "accuracy"}, "no metric accuracy; it has acc, acc_ce"),
        (
            {"most": 1, "metric": {"facts": "acc"}},
            "metric of task 'facts': the tasks are tiny-texts",
        ),
        ({"most": 1}, "3 examples; greedy removal needs 4"),
    ):
        with pytest.raises(UserError, match=message):
            greedy_removal(llama, task, out=tmp_path / "out", **options)
    with pytest.raises(UserError, match="tasks: none given"):
        greedy_removal(llama, [], most=1, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bad_row_of_those_that_score_is_found_before_the_search(tmp_path, llama):
    path = write_task(tmp_path, rows=12)
    held_out = max(set(range(12)) - set(select_examples(load_task(path), 6)))
    rows = [json.loads(row) for row in (tmp_path / "texts.jsonl").read_text().splitlines()]
    rows[held_out]["gold"] = None
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=rf"row {held_out} \(row {held_out + 1} of .*column gold"):
        greedy_removal(llama, path, most=1, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interaction_is_what_two_cost_beyond_one_and_one():
    rng = np.random.default_rng(0)
    columns = ["baseline", "layer:0", "layer:1", "layer:0+layer:1"]
    table = pd.DataFrame(rng.integers(0, 2, size=(40, 4)).astype(float), columns=columns)
    long = table.rename_axis("doc_id").reset_index().melt("doc_id", var_name="ablation")
    found = interactions(long.assign(model="m", task="t", metric="acc")).iloc[0]
    each = 100 * (table["layer:0"] + table["layer:1"] - table[columns[3]] - table["baseline"])
    assert found["interaction"] == pytest.approx(each.mean())
    assert found["interaction"] == pytest.approx(
        found["drop"] - found["drop_first"] - found["drop_second"]
    )
    half = 2.0227 * each.std() / np.sqrt(40)
    # Student's interval, and what Hall's correction for skewness adds to it
    low, high = each.mean() - half, each.mean() + half
    assert low - 1 < found["low"] <= low + 0.01
    assert high - 0.01 <= found["high"] < high + 1
    # of one pair the bounds of all are its own; of two they are those of 97.5%
    assert (found["low_all"], found["high_all"]) == (found["low"], found["high"])
    more = pd.concat([long, long[long["ablation"].str.endswith("layer:1")].assign(
        ablation=lambda t: t["ablation"].str.replace("layer:1", "layer:2"))])  # fmt: skip
    both = interactions(more.assign(model="m", task="t", metric="acc"))
    strict = interactions(more.assign(model="m", task="t", metric="acc"), confidence=0.975)
    np.testing.assert_allclose(both["low_all"], strict["low"])
    with pytest.raises(UserError, match="sweep layers and pairs:layers together"):
        interactions(long[long["ablation"] != "layer:1"].assign(model="m", task="t", metric="acc"))


def test_every_pair_of_a_family(llama):
    assert [a.text for a in as_ablations(llama, "pairs:layers")] == [
        "layer:0+layer:1",
        "layer:0+layer:2",
        "layer:1+layer:2",
    ]
    with pytest.raises(UserError, match="allowed is pairs:FAMILY"):
        as_ablations(llama, "pairs:repeats")


@pytest.mark.slow
def test_examples_that_chose_are_none_of_those_that_score(tmp_path):
    """Draws of half as many examples are not among those of the whole: they are left out."""
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, rows=12))
    found = greedy_removal(model, task, most=1, out=tmp_path / "out", metric="acc", limit=8, seed=1)
    chose, drawn = select_examples(task, 4, seed=1), select_examples(task, 8, seed=1)
    assert set(found.drops["n"]) == {len(set(drawn) - set(chose))}
    assert set(found.curve[found.curve["order"] == CHOSEN_ON]["n"]) == {4}


def test_an_example_that_fails_chooses_nothing():
    """A mean over what is left would make the set that fails the cheapest."""
    values = pd.DataFrame(
        [(doc, text, value) for text, column in
         {"baseline": [1.0, 1.0, np.nan], "layer:0": [0.0, 0.0, 1.0], "layer:1": [1.0, 0.0, 0.0],
          "layer:2": [1.0, np.nan, 1.0]}.items() for doc, value in enumerate(column)],
        columns=["doc_id", "ablation", "value"],
    ).assign(model="m", task="facts", metric="acc")  # fmt: skip
    manifest = SimpleNamespace(
        ablations=("layer:0", "layer:1", "layer:2"), tasks=[SimpleNamespace(name="facts")]
    )
    costs = inspect.unwrap(_costs)
    run = SimpleNamespace(manifest=manifest, gains=lambda: values)
    assert costs(run, None) == {"layer:0": 1.0, "layer:1": 0.5, "layer:2": np.inf}
    run.gains = lambda: values.assign(value=values["value"].where(values["doc_id"] != 1))
    assert costs(run, None)["layer:1"] == 0.0
    run.gains = lambda: values.assign(value=values["value"].where(values["doc_id"] > 1))
    with pytest.raises(UserError, match="task facts: every example failed, so that nothing can"):
        costs(run, None)

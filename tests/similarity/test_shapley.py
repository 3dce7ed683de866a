"""Shapley values against sets removed one by one, and on examples whose needs are known."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.coverage import shapley as simulated
from interp.errors import UserError
from interp.similarity import influence_by_part, layer_shapley
from interp.similarity.shapley import _of_series, marginal_drops, random_orders
from interp.similarity.skipping import skipped_layers
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


def needing(needs: list[set[int]], n_layers: int) -> pd.DataFrame:
    """Examples that are right as long as all layers that they need are there."""
    sets = [s for k in range(n_layers + 1) for s in permutations(range(n_layers), k)]
    columns = {
        skipped_layers(s).text if s else "baseline": [float(not set(s) & need) for need in needs]
        for s in {tuple(sorted(one)) for one in sets}
    }
    return pd.DataFrame(columns)


def test_over_all_orders_an_example_is_shared_between_the_layers_that_it_needs():
    needs = [{0}, {0, 1}, {0, 1, 2}, set()]
    orders = list(permutations(range(3)))
    found = marginal_drops(needing(needs, 3), orders).mean(axis=2)
    expected = [[1, 1 / 2, 1 / 3, 0], [0, 1 / 2, 1 / 3, 0], [0, 0, 1 / 3, 0]]
    assert found == pytest.approx(np.array(expected))


def test_values_of_all_layers_add_up_to_what_removing_all_costs(tmp_path):
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, rows=5))
    table = layer_shapley(
        model, task, orders=3, out=tmp_path / "out", metric="gold_logprob", limit=4
    )
    assert list(table["layer"]) == [0, 1, 2]
    assert (table["low"] < table["value"]).all()
    import interp

    run = interp.open_run(tmp_path / "out")
    values = run.gains().query("metric == 'gold_logprob'")
    means = values.groupby("ablation")["value"].mean()
    lost = means["baseline"] - means["layer:0+layer:1+layer:2"]
    assert table["value"].sum() == pytest.approx(lost, abs=1e-6)
    assert set(table["n"]) == {4}
    sets = {tuple(sorted(o[:k])) for o in random_orders(3, 3, seed=0) for k in (1, 2, 3)}
    assert set(table["sets"]) == {len(sets)}


def test_too_few_orders_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="orders 2: allowed are whole numbers from 3"):
        layer_shapley(tiny_bridge("llama"), "any", orders=2, out=tmp_path / "out")
    task = write_task(tmp_path, rows=4)
    with pytest.raises(UserError, match="no metric accuracy; it has acc"):
        layer_shapley(tiny_bridge("llama"), task, orders=3, out=tmp_path / "out", metric="accuracy")
    with pytest.raises(UserError, match="one example; an interval needs two or more"):
        layer_shapley(tiny_bridge("llama"), task, orders=3, out=tmp_path / "out", limit=1)
    assert not (tmp_path / "out").exists()


def test_a_set_that_failed_on_an_example_is_named():
    wide = needing([{0}, {1}, {2}], 3).drop(columns="layer:0+layer:1")
    key = {"model": "m", "task": "facts", "metric": "acc"}
    with pytest.raises(UserError, match=r"facts: layer:0\+layer:1 failed on an example"):
        _of_series(key, True, wide, None, list(permutations(range(3))), 0.95)


def test_intervals_over_examples_and_orders_cover(monkeypatch):
    name = "8 layers, two needed by most examples"
    chances, rng = simulated.NEEDED[name], np.random.default_rng(3)
    truth = simulated._shares(simulated._needs(rng, (100_000,), chances)).mean(axis=0)
    covered = [simulated._covers(rng, chances, (50, 10), 0, float(truth[0])) for _ in range(400)]
    assert np.mean(covered) >= 0.915


def test_influence_of_parts_is_that_of_transformerlens_streams():
    model, texts = tiny_bridge("llama"), ["w5 w6 w7 w8", "w9 w10 w11"]
    table = influence_by_part(model, texts).set_index(["layer", "part"])["value"]
    found = {}
    for text in texts:
        _, cache = model.run_with_cache(model.tokenizer.encode(text, return_tensors="pt"))
        for layer in range(3):
            pre, mid, post = (cache[f"blocks.{layer}.hook_resid_{at}"] for at in
                              ("pre", "mid", "post"))  # fmt: skip
            for part, ends in (("attention", (pre, mid)), ("mlp", (mid, post)),
                               ("layer", (pre, post))):  # fmt: skip
                turned = 1 - torch.cosine_similarity(*ends, dim=-1).mean()
                found.setdefault((layer, part), []).append(float(turned))
    for key, values in found.items():
        assert table[key] == pytest.approx(np.mean(values), abs=1e-5), key
    with pytest.raises(UserError, match="empty text"):
        influence_by_part(model, ["a", " "])

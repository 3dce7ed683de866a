"""A drop that splits into a part at the prompt, a part at the answer, and what both share."""

import numpy as np
import pandas as pd
import pytest

from experiments.coverage import contrasts as simulated
from interp.errors import UserError
from interp.results import interactions, scope_parts


def long(table: pd.DataFrame, **more) -> pd.DataFrame:
    names = {"model": "m", "task": "t", "metric": "acc"} | more
    return table.rename_axis("doc_id").reset_index().melt("doc_id", var_name="ablation").assign(
        **names
    )  # fmt: skip


def planted(n: int = 60) -> pd.DataFrame:
    """Layer 0 only reads, layer 1 only writes, layer 2 does either, layer 3 nothing."""
    lost = np.arange(n) < n // 2
    right = np.ones(n)
    columns = {"baseline": right}
    for layer, (prompt, answer, whole) in enumerate(
        [(True, False, True), (False, True, True), (False, False, True), (False,) * 3]
    ):
        for text, is_lost in (("@@prompt", prompt), ("@@answer", answer), ("", whole)):
            columns[f"layer:{layer}{text}"] = np.where(lost & is_lost, 0.0, right)
    return pd.DataFrame(columns)


def test_each_part_is_found_where_it_was_planted_and_nowhere_else():
    parts = scope_parts(long(planted())).set_index(["ablation", "part"])
    value = parts["value"].to_numpy().reshape(4, 4)  # prompt, answer, interaction, whole
    assert value.tolist() == [
        [50, 0, 0, 50], [0, 50, 0, 50], [0, 0, 50, 50], [0, 0, 0, 0],
    ]  # fmt: skip
    found = parts[parts["p_adjusted"] < 0.05].drop("whole", level="part")
    assert list(found.index) == [
        ("layer:0", "prompt"), ("layer:1", "answer"), ("layer:2", "interaction"),
    ]  # fmt: skip
    # nothing moved under layer 3: the interval is still not of width 0
    assert (parts.loc["layer:3", "high"] > 1).all()
    assert (parts.loc["layer:3", "low"] < -1).all()


def test_parts_add_up_example_by_example_and_in_any_metric():
    rng = np.random.default_rng(0)
    names = ["baseline", "mlp:0@mean", "mlp:0@mean@@prompt", "mlp:0@mean@@answer"]
    table = pd.DataFrame(rng.normal(size=(40, 4)), columns=names)
    rows = scope_parts(long(table)).set_index("part")
    whole, prompt, answer = ((table[names[0]] - table[n]).mean() for n in names[1:])
    assert rows["value"].to_dict() == pytest.approx(
        {"prompt": prompt, "answer": answer, "interaction": whole - prompt - answer, "whole": whole}
    )
    beyond = table[names[2]] + table[names[3]] - table[names[1]] - table[names[0]]
    error = beyond.std() / np.sqrt(40)
    assert rows.loc["interaction", "high"] >= beyond.mean() + 2.0227 * error - 1e-4
    assert set(rows["unit"]) == {"value"}


def test_clusters_widen_an_interval_that_examples_alone_would_give():
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(20), 5)
    lost = rng.random(20)[cluster] < 0.4
    columns = {"baseline": 1.0, "layer:0": np.where(lost, 0.0, 1.0)}
    columns |= {"layer:0@@prompt": 1.0, "layer:0@@answer": 1.0}
    table = long(pd.DataFrame(columns, index=np.arange(100)))
    alone = scope_parts(table).set_index("part").loc["interaction"]
    both = scope_parts(table.assign(cluster=cluster[table["doc_id"]])).set_index("part")
    assert both.loc["interaction", "interval"].endswith("by cluster")
    wider = both.loc["interaction", "high"] - both.loc["interaction", "low"]
    assert wider > 1.5 * (alone["high"] - alone["low"])


def test_without_both_scopes_it_is_said_what_to_sweep():
    with pytest.raises(
        UserError, match=r"sweep layers, layers@@prompt and layers@@answer together"
    ):
        scope_parts(long(planted()[["baseline", "layer:0", "layer:0@@prompt"]]))


def test_intervals_of_interactions_cover_and_their_test_keeps_its_level(monkeypatch):
    chosen = ("10 and 20 points, 15 more together", "2 and 2 points, no interaction", "nothing")
    settings = {name: simulated.SETTINGS[name] for name in chosen}
    monkeypatch.setattr(simulated, "SETTINGS", settings)
    monkeypatch.setattr(simulated, "SIZES", (100,))
    for row in simulated.rows(1000, 1):
        if row["measure"] == "coverage":
            assert row["share"] >= 0.925, row
        else:
            assert row["share"] <= 0.07, row


def test_an_interaction_that_few_examples_show_has_an_interval_of_some_width():
    table = planted(200).rename(
        columns={"layer:0@@prompt": "layer:9", "layer:0": "layer:0+layer:9"}
    )
    table = table[["baseline", "layer:3", "layer:9", "layer:0+layer:9"]]
    table = table.rename(columns={"layer:3": "layer:0"})
    row = interactions(long(table)).iloc[0]
    assert row["interaction"] == 0
    assert row["low"] < -1 < 1 < row["high"]
    assert row["interval"] == "95% Tango score"

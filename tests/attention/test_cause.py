"""Removal curves, skills and detectors on planted models; the trace of one example."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

import interp
from experiments.validity.planted import build, circuit_plan, hand_written, tokenizer
from experiments.validity.questions import CONFIG, planted_task
from interp import figures
from interp.attention.contrast import removal_curve, removals
from interp.attention.detectors import detector_scores
from interp.attention.example import trace_example
from interp.attention.heads import retrieval_heads, top_heads
from interp.attention.skills import explained, head_map, overlap
from interp.cli import main
from interp.errors import UserError

PLAN = circuit_plan(0)  # L0H3 and L3H1 retrieve, L4H2 only looks, no head knows the chain


@pytest.fixture(scope="module")
def model():
    return build(PLAN)


@pytest.fixture(scope="module")
def heads(model):
    return retrieval_heads(model, planted_task(PLAN, "kv", rows=16))


@pytest.fixture(scope="module")
def importance(model, tmp_path_factory):
    tasks = [planted_task(PLAN, skill, rows=16) for skill in ("kv", "chain")]
    families = [
        *interp.each_head(model), *interp.each_attention(model), *interp.each_layer(model),
    ]  # fmt: skip
    out = tmp_path_factory.mktemp("skills") / "run"
    return interp.sweep(model, tasks, families, out=out).importance(resamples=100)


def test_the_removal_curve_separates_top_from_random(model, heads, tmp_path):
    plan = removals(heads, [1, 2], draws=5, seed=0, nearest=True)
    assert sum(kind == "random" and k == 1 for _, k, kind, _ in plan) == 3  # all there are
    ablations = list({a.text: a for a, *_ in plan}.values())
    run = interp.sweep(model, planted_task(PLAN, "kv", rows=16), ablations, out=tmp_path / "run")
    curve = removal_curve(run.scores(), plan, metric="acc").set_index(["k", "kind"])
    assert curve.loc[(0, "top"), "value"] == curve.loc[(1, "random"), "value"] == 100
    assert curve.loc[(1, "top"), "value"] < 60
    assert curve.loc[(1, "top"), "p"] == 1 / 4
    assert curve.loc[(2, "top"), "p"] == pytest.approx(1 / 6)
    drawn = figures.removal(curve.reset_index())
    assert "up to 5 draws" in drawn.footnote
    kept = run.responses()
    kept = kept.assign(correct=kept["acc"])
    place = figures.gold_position(kept, heads.trace.examples[["doc_id", "gold_position"]])
    assert place.data["count"].sum() == len(kept)
    with pytest.raises(UserError, match="some examples have none"):
        figures.gold_position(kept, heads.trace.examples[["doc_id", "gold_position"]].head(3))


def test_head_maps_and_their_overlap(importance):
    grid = head_map(importance, "planted-kv:continuation", "acc")
    assert {tuple(map(int, place)) for place in np.argwhere(grid > 0)} == {(0, 3), (3, 1)}
    names = ["planted-kv:continuation", "planted-chain:continuation"]
    (row,) = overlap(importance, dict.fromkeys(names, "acc"), k=3).to_dict("records")
    assert (row["n_task"], row["n_other"]) == (2, 0)  # no head's removal hurts the chain
    assert np.isnan(row["jaccard"])
    assert np.isnan(row["spearman"])
    same = importance[importance["task"] == names[0]].assign(task="copy")
    both = pd.concat([importance, same])
    (row,) = overlap(both, {names[0]: "acc", "copy": "acc"}, k=3).to_dict("records")
    assert row["jaccard"] == 1
    assert row["spearman"] == pytest.approx(1)
    assert row["p"] == pytest.approx(1 / 190)  # the same 2 of 20
    assert row["expected"] == pytest.approx(36 / 190 / 3 + 1 / 190)
    with pytest.raises(UserError, match="some heads were not ablated"):
        head_map(importance[importance["ablation"] != "head:1.1"], names[0], "acc")


def test_what_heads_explain_of_a_layer(importance):
    table = explained(importance, "acc").set_index(["task", "layer"])
    assert len(table) == 10
    kv, chain = "planted-kv:continuation", "planted-chain:continuation"
    for layer in (0, 3):
        assert table.loc[(kv, layer), "share"] > 0.7
        assert table.loc[(kv, layer), "attention_drop"] > 40
    for layer in PLAN.chain:
        assert table.loc[(chain, layer), "share"] == 0
        assert table.loc[(chain, layer), "layer_drop"] > 30


def test_the_detector_finds_the_planted_kinds(model):
    scores = detector_scores(model, length=10, sequences=3)
    assert top_heads(scores["previous_token_head"], 1) == [PLAN.previous_token]
    assert set(top_heads(scores["induction_head"], 2)) == {*PLAN.induction, *PLAN.null}
    assert scores["previous_token_head"].max() > 0.9


def test_the_trace_of_one_example(model):
    task = planted_task(PLAN, "kv", rows=16)
    example = trace_example(model, task, 2, [PLAN.induction[0], (0, 0)])
    table = example.table()
    looked = table[(table["layer"] == PLAN.induction[0][0]) & (table["role"] == "gold value")]
    assert looked["attention"].sum() > 0.9
    assert looked["text"].iloc[0] == task.documents()[2]["answer"]
    assert table.groupby(["layer", "head"])["attention"].sum().to_numpy() == pytest.approx(1)
    assert repr(example).startswith("ExampleTrace(planted-0, row 2: L3H1, L0H0")
    assert figures.example(table).axes
    with pytest.raises(UserError, match="row 16: task planted-kv:continuation has rows 0-15"):
        trace_example(model, task, 16, [(0, 0)])
    with pytest.raises(UserError, match="head L5H0: the model has layers 0-4"):
        trace_example(model, task, 0, [(5, 0)])


def test_maps_and_depth_draw(heads, importance):
    both = pd.concat([heads.table(), heads.table().assign(model="other")])
    assert len(figures.retrieval_map(both, mark=2).axes) == 3
    assert figures.depth(both).axes[0].get_ylabel() == "Retrieval score"
    drawn = figures.importance_map(importance, metric="acc")
    assert drawn.axes[0].get_xlabel() == "Head"
    with pytest.raises(UserError, match="one model"):
        figures.importance_map(pd.concat([importance, importance.assign(model="x")]))
    with pytest.raises(UserError, match=r"no ablation head:N\.M"):
        figures.importance_map(importance[importance["ablation"].str.startswith("layer")])


def test_the_command_line_traces(tmp_path, capsys):
    documents = [dict(row) for row in planted_task(PLAN, "kv", rows=12).documents()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    config = CONFIG | {
        "task": "planted-rows",
        "dataset_path": "json",
        "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
    }
    task, folder, out = tmp_path / "planted.yaml", tmp_path / "model", tmp_path / "out"
    task.write_text(yaml.safe_dump(config))
    hand_written(PLAN).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    arguments = ["trace", str(folder), "--task", str(task), "--out", str(out), "--device", "cpu"]
    for bad, message in (
        (["--top", "99"], "top 99: the model has 1-20 heads"),
        (["--gold", "3"], "only the task kv:N can place its gold pair"),
        (["--limit", "0"], "limit 0"),
        (["--draws", "-1"], "draws -1"),
    ):
        assert main([*arguments, *bad]) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()
    assert main([*arguments, "--top", "2", "--draws", "3"]) == 0
    assert "L3H1 1.00" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert {"heads.csv", "trace.parquet", "by-gold-position.csv", "retrieval-map.pdf",
            "retrieval-depth.png", "example.svg", "removal-curve.csv"} <= names  # fmt: skip

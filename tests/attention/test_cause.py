"""Removal curves, skills and detectors on planted models; the trace of one example."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats as sps

import interp
from experiments.validity.planted import build, circuit_plan, hand_written, tokenizer
from experiments.validity.questions import CONFIG, planted_task
from interp import figures
from interp.attention import (
    by_gold_position,
    detector_scores,
    explained,
    overlap,
    removal_contrasts,
    removal_curve,
    removals,
    retrieval_heads,
    top_heads,
    trace_example,
)
from interp.attention.skills import head_map, shared_heads
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
def run(model, tmp_path_factory):
    tasks = [planted_task(PLAN, skill, rows=16) for skill in ("kv", "chain")]
    families = [
        *interp.each_head(model, by="zero"),
        *interp.each_attention(model),
        *interp.each_layer(model),
    ]
    return interp.sweep(model, tasks, families, out=tmp_path_factory.mktemp("skills") / "run")


@pytest.fixture(scope="module")
def importance(run):
    return run.importance(resamples=100)


@pytest.mark.slow
def test_the_removal_curve_separates_top_from_random(model, heads, tmp_path):
    plan = removals(heads, [1, 2], draws=5, seed=0, nearest=True)
    assert sum(kind == "random" and k == 1 for _, k, kind, _ in plan) == 3  # all there are
    ablations = list({a.text: a for a, *_ in plan}.values())
    run = interp.sweep(model, planted_task(PLAN, "kv", rows=16), ablations, out=tmp_path / "run")
    curve = removal_curve(run.scores(), plan, metric="acc").set_index(["k", "kind"])
    assert curve.loc[(0, "top"), "value"] == curve.loc[(1, "random"), "value"] == 100
    assert curve.loc[(1, "top"), "value"] < 60
    assert "p" not in curve, "matched controls are no permutations"
    contrasts = removal_contrasts(run.values(), plan, metric="acc", resamples=200)
    one = contrasts[contrasts["k"] == 1]
    assert set(one["n_controls"]) == {3}
    assert len(one) == 4  # three controls and their mean
    assert (one["low"] > 0).all()
    acc = run.values().query("metric == 'acc'").set_index(["doc_id", "ablation"])["value"]
    whole = acc.unstack("ablation")  # noqa: PD010
    control = one.iloc[0]
    more = (whole[control["control"]] - whole[plan[0][0].text]).mean()
    assert control["difference"] == pytest.approx(100 * more)
    drawn = figures.removal(curve.reset_index())
    assert "up to 5 draws" in drawn.footnote
    kept = run.responses()
    kept = kept.assign(correct=kept["acc"])
    places = heads.trace.examples[["doc_id", "gold_position"]]
    table = by_gold_position(kept, places)
    assert table["n"].sum() == len(kept)
    assert "Wilson" in figures.gold_position(table).footnote
    with pytest.raises(UserError, match="some examples have none"):
        by_gold_position(kept, places.head(3))


@pytest.mark.slow
def test_head_maps(importance):
    grid = head_map(importance, "planted-kv:continuation", "acc")
    assert {tuple(map(int, place)) for place in np.argwhere(grid > 0)} == {(0, 3), (3, 1)}
    with pytest.raises(UserError, match="some heads were not ablated"):
        head_map(importance[importance["ablation"] != "head:1.1"], "planted-kv:continuation", "acc")


def test_the_least_p_of_sharing_is_that_of_sharing_all_that_can_be():
    # one head each of four in a layer, and one against three in another: both can be shared
    one = np.array([1, 0, 0, 0, 1, 0, 0, 0], dtype=bool)
    other = np.array([0, 1, 0, 0, 1, 1, 1, 0], dtype=bool)
    found = shared_heads(one, other, np.repeat([0, 1], 4))
    assert found["shared"] == 1
    assert found["least_p"] == pytest.approx(1 / 4 * 3 / 4)
    assert found["p"] == pytest.approx(1 - 3 / 4 * 1 / 4)


@pytest.mark.slow
def test_the_overlap_of_skills(run):
    values = run.values()
    values = values[values["metric"] == "acc"]
    (row,) = overlap(values, k=3, resamples=200).to_dict("records")
    assert (row["n_task"], row["n_other"]) == (0, 2)  # no head's removal hurts the chain
    assert np.isnan([row[name] for name in ("jaccard", "spearman", "spearman_p", "p")]).all()
    assert row["reason"] == "no important heads in planted-chain:continuation: not testable"
    same = values[values["task"] == "planted-kv:continuation"]
    both = pd.concat([same, same.assign(task="planted-kv:copy")])
    (row,) = overlap(both, k=3, resamples=200).to_dict("records")
    assert row["jaccard"] == 1
    assert row["spearman"] == pytest.approx(1)
    # one head each in two layers of four: the same one by chance in 1 of 4, twice
    assert row["p"] == pytest.approx(1 / 16)
    assert row["least_p"] == row["p"], "no more than two can be shared"
    assert row["expected"] == pytest.approx(2 * 1 / 4 * 3 / 4 / 3 + 1 / 16)
    assert (row["n_examples"], row["reason"]) == (16, "")
    with pytest.raises(UserError, match="several models or metrics"):
        overlap(run.values(), k=3)
    with pytest.raises(UserError, match="no ablation of a single head"):
        overlap(values[~values["ablation"].str.startswith("head")], k=3)


def made_up_heads(rates, n, *, task, seed):
    """Values of a sweep in which the removal of each `head:L.H` loses each example at its rate."""
    flat = [(layer, head) for layer in range(len(rates)) for head in range(len(rates[layer]))]
    chances = np.array([rates[layer][head] for layer, head in flat])
    right = np.random.default_rng(seed).random((n, len(flat))) >= chances
    wide = pd.DataFrame(
        np.hstack([np.ones((n, 1)), right]),
        columns=["baseline", *(f"head:{layer}.{head}" for layer, head in flat)],
    ).rename_axis("doc_id").reset_index()  # fmt: skip
    long = wide.melt("doc_id", var_name="ablation", value_name="value")
    return long.assign(model="m", task=task, metric="acc")


@pytest.mark.slow
def test_tasks_that_need_the_same_layers_but_other_heads_do_not_share_heads():
    """Both tasks need two of four heads in two of eight layers, drawn independently."""
    rng, found = np.random.default_rng(0), []
    for seed in range(24):
        rates = []
        for _ in "ab":
            rate = np.zeros((8, 4))
            for layer in (1, 5):
                rate[layer, rng.permutation(4)[:2]] = 0.4
            rates.append(rate)
        (row,) = overlap(
            pd.concat([
                made_up_heads(rates[0], 80, task="a", seed=2 * seed),
                made_up_heads(rates[1], 80, task="b", seed=2 * seed + 1),
            ]), k=8, resamples=100,
        ).to_dict("records")  # fmt: skip
        assert (row["n_task"], row["n_other"]) == (4, 4)
        over_all = sps.hypergeom(32, 4, 4).sf(row["shared"] - 1)
        found.append([row["p"], over_all, row["spearman_p"]])
    p = np.array(found)
    # over all 32 heads a quarter would be called significant
    assert np.mean(p[:, 1] <= 0.05) > 0.08
    assert np.mean(p[:, 0] <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 24)
    assert np.mean(p[:, 2] <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 24)


def test_heads_of_five_harmed_examples_are_not_important():
    rates = np.zeros((4, 4))
    rates[0, 1] = 0.02
    values = [made_up_heads(rates, 100, task=task, seed=3) for task in "ab"]
    (row,) = overlap(pd.concat(values), k=3, resamples=100).to_dict("records")
    assert row["shared"] == row["n_task"] == 0
    assert row["reason"] == "no important heads in a, b: not testable"


@pytest.mark.slow
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


@pytest.mark.slow
def test_maps_and_depth_draw(heads, importance):
    both = pd.concat([heads.table(), heads.table().assign(model="other")])
    assert len(figures.retrieval_map(both, mark=2).axes) == 3
    assert figures.depth(both).axes[0].get_ylabel() == "Retrieval score"
    drawn = figures.importance_map(importance, metric="acc")
    assert drawn.axes[0].get_xlabel() == "Head"
    several = figures.importance_map(pd.concat([importance, importance.assign(model="x")]))
    assert len(several.axes) - len(drawn.axes) == len(drawn.axes) - 1  # and one colour bar
    with pytest.raises(UserError, match=r"no ablation head:N\.M"):
        figures.importance_map(importance[importance["ablation"].str.startswith("layer")])


@pytest.mark.slow
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
        (["--gold", "3"], "only a task kv-N can place its gold pair"),
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

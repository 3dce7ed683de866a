"""Metrics: by hand, against the harness, and again from what is stored."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from lm_eval.api.registry import get_aggregation

import interp
from interp.errors import UserError
from interp.results.export import harness_results
from interp.tasks import load_task, recomputed
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task
from tests.parity.real_rows import invented


@pytest.fixture
def task(tmp_path):
    return load_task(write_task(tmp_path, rows=12))


def test_three_ways_to_choose_an_option(task):
    """Sum, per character and per token each choose another option."""
    document = {
        "question": "w1",
        "choices": ["w4", "w5 w6 w7", "w8 w9", "w10"],
        "gold": 1,
        "answer": "",
    }
    scores, counts = (-2.0, -4.0, -3.5, -9.0), (1, 4, 2, 1)
    found = task.score_options(document, [(s, False) for s in scores], token_counts=counts)
    # sums: option 0; per character -1, -.5, -.7, -3: option 1; per token -2, -1, -1.75, -9: 1
    assert (found["acc"], found["acc_norm"], found["acc_ce"]) == (0.0, 1.0, 1.0)
    assert found["gold_logprob"] == -4.0
    assert found["gold_prob"] == pytest.approx(np.exp(-4) / np.exp(scores).sum())
    # the same scores where the first option has three tokens more
    found = task.score_options(document, [(s, False) for s in scores], token_counts=(4, 1, 2, 1))
    assert found["acc_ce"] == 0.0


@pytest.mark.slow
def test_metrics_are_computed_again_from_the_store(tmp_path):
    tasks = [load_task(write_task(tmp_path, kind=kind, rows=6)) for kind in ("texts", "generate")]
    run = interp.sweep(tiny_bridge("llama"), tasks, ["layer:1"], out=tmp_path / "run")
    stored = interp.open_run(tmp_path / "run").responses()
    for task in tasks:
        rows = stored[stored["task"] == task.name]
        again = recomputed(rows, task)
        assert set(again) >= ({"exact_match"} if task.generates else {"acc", "acc_ce", "gold_prob"})
        for name in again:
            assert again[name].tolist() == rows[name].tolist()
    assert len(run.responses()) == 24


def test_responses_of_something_else_are_refused(tmp_path, task):
    run = interp.sweep(tiny_bridge("llama"), [task], ["layer:1"], out=tmp_path / "run", limit=2)
    rows = run.responses()
    with pytest.raises(UserError, match="of task other; asked for tiny-texts"):
        recomputed(rows.assign(task="other"), task)
    with pytest.raises(UserError, match="row 99; tiny-texts has 12 rows"):
        recomputed(rows.assign(doc_id=99), task)
    with pytest.raises(UserError, match="no column greedy"):
        recomputed(rows.drop(columns="greedy"), task)


def test_the_right_option_where_options_stand_in_the_contexts(tmp_path):
    """Winogrande: the harness keeps the number in the question and the text in the target."""
    for name, split, rows in invented(6):
        (tmp_path / name).mkdir()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name / f"{split}.jsonl").write_text(text)
    task = load_task("winogrande", data=tmp_path)
    for document in task.documents():
        gold = int(document["answer"]) - 1
        assert task.gold_options(document) == [gold]
        assert task.target_text(document).endswith(document[f"option{gold + 1}"])


def changed(path, **config):
    """The YAML with other keys."""
    kept = yaml.safe_load(path.read_text()) | config
    path.write_text(yaml.safe_dump({k: v for k, v in kept.items() if v is not None}))
    return path


@pytest.mark.slow
def test_a_perplexity_is_what_the_harness_makes_of_the_log_likelihoods(tmp_path):
    """Against the harness' own aggregation, and against a bootstrap written out."""
    listed = [{"metric": "perplexity"}, {"metric": "acc"}]
    path = changed(
        write_task(tmp_path, rows=9),
        output_type="loglikelihood",
        doc_to_choice=None,
        doc_to_target=" {{answer}}",
        metric_list=listed,
    )
    run = interp.sweep(tiny_bridge("llama"), [str(path)], ["layer:1", "mlp:0"], out=tmp_path / "r")
    logs = run.responses().set_index(["doc_id", "ablation"])["gold_logprob"].unstack()  # noqa: PD010
    scores = run.scores().query("metric == 'perplexity'").set_index("ablation")
    for ablation, row in scores.iterrows():
        right = get_aggregation("perplexity")(logs[ablation].tolist())
        assert row["value"] == pytest.approx(right)
        assert row["low"] < right < row["high"]
        exported = harness_results(run, ablation)["results"]["tiny-texts"]
        assert exported["perplexity,none"] == pytest.approx(right)
    drops = run.importance().query("metric == 'perplexity'").set_index("ablation")
    assert set(drops.index) == {"layer:1", "mlp:0"}
    rng, perplexities = np.random.default_rng(5), np.exp(-logs.mean())
    drawn = logs.to_numpy()[rng.integers(9, size=(20_000, 9))].mean(axis=1)
    drawn = pd.DataFrame(np.exp(-drawn), columns=logs.columns)
    for ablation, row in drops.iterrows():
        assert row["baseline"] == pytest.approx(perplexities["baseline"])
        assert row["drop"] == pytest.approx(perplexities[ablation] - perplexities["baseline"])
        expected = np.quantile(drawn[ablation] - drawn["baseline"], [0.025, 0.975])
        allowed = 0.2 * (expected[1] - expected[0])
        assert [row["low"], row["high"]] == pytest.approx(list(expected), abs=allowed)
    known = run.manifest.tasks[0].metrics["perplexity"]
    assert known == {"aggregation": "perplexity", "higher_is_better": False}


@pytest.mark.slow
def test_a_brier_score_is_the_mean_of_the_examples_and_less_of_it_is_better(tmp_path):
    listed = [{"metric": "brier_score"}, {"metric": "acc"}]
    path = changed(write_task(tmp_path, rows=7), metric_list=listed)
    task, run = load_task(path), None
    run = interp.sweep(tiny_bridge("llama"), [task], ["layer:1"], out=tmp_path / "run")
    right = {}
    for ablation, rows in run.responses().groupby("ablation"):
        items = []
        for row in rows.itertuples():
            chances = np.exp(row.loglikelihoods) / np.exp(row.loglikelihoods).sum()
            items.append((task.documents()[row.doc_id]["gold"], chances))
        right[ablation] = get_aggregation("brier_score")(items)
    scores = run.scores().query("metric == 'brier_score'").set_index("ablation")["value"]
    assert scores.to_dict() == pytest.approx(right)
    (row,) = run.importance().query("metric == 'brier_score'").to_dict("records")
    assert row["drop"] == pytest.approx(right["layer:1"] - right["baseline"])
    assert row["low"] <= row["drop"] <= row["high"]


@pytest.mark.parametrize(
    ("kind", "metric", "reason"),
    [
        ("texts", {"metric": "mcc"}, "its aggregation matthews_corrcoef needs all examples"),
        ("texts", {"metric": "f1"}, "its aggregation f1 needs all examples"),
        ("texts", {"metric": "bleu"}, "tasks of kind multiple_choice have only acc,"),
        ("texts", {"metric": "likelihood"}, "likelihood: tuple for one example"),
        ("texts", {"metric": "f1", "aggregation": "mean"}, "f1: tuple for one example"),
        ("texts", {"metric": "acc", "aggregation": "median"}, "aggregation median needs all"),
        ("generate", {"metric": "bleu"}, "its aggregation bleu needs all examples"),
        ("generate", {"metric": "acc", "aggregation": "mean"}, "acc: list for one example"),
    ],
)
def test_a_metric_that_is_no_mean_is_refused_by_name_before_work(
    tmp_path, llama, kind, metric, reason
):
    path = write_task(tmp_path, kind=kind)
    kept = yaml.safe_load(path.read_text())["metric_list"]
    changed(path, metric_list=[*kept, {"aggregation": None, **metric}])
    text = path.read_text().replace("- aggregation: null\n  metric", "- metric")
    path.write_text(text)
    with pytest.raises(UserError, match=f"task tiny-{kind}: metric .*{reason}"):
        interp.sweep(llama, [str(path)], ["layer:1"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    chosen = load_task(path, metrics=[kept[-1]["metric"]])
    assert set(chosen.metrics()) == {kept[-1]["metric"]}
    with pytest.raises(UserError, match="metrics nothing; it lists"):
        load_task(path, metrics=["nothing"])


def test_numbers_of_numpy_and_torch_count(tmp_path):
    path = write_task(tmp_path, rows=4)
    (tmp_path / "own.py").write_text(
        "import numpy as np, torch\n"
        "def results(doc, answers):\n"
        "    scores = np.array([score for score, _ in answers])\n"
        "    return {'acc': np.argmax(scores) == doc['gold'], 'picked': np.argmax(scores),\n"
        "            'mass': np.float32(np.exp(scores).sum()), 'own': torch.tensor(0.5)}\n"
    )
    names = ("acc", "picked", "mass", "own")
    listed = [{"metric": n, "aggregation": "mean", "higher_is_better": True} for n in names]
    changed(path, metric_list=listed)
    path.write_text(path.read_text() + "process_results: !function own.results\n")
    task = load_task(path, allow_code=True)
    found = task.score_options(
        task.documents()[0], [(-1.0, False), (-0.5, False)] * 2, token_counts=[1] * 4
    )
    assert found["picked"] == 1.0
    assert found["own"] == 0.5
    assert found["mass"] == pytest.approx(2 * np.exp(-1) + 2 * np.exp(-0.5), rel=1e-6)
    assert found["acc"] == float(task.documents()[0]["gold"] == 1)


def test_a_row_whose_right_option_is_missing_counts_as_wrong(task):
    document = {"question": "w1", "choices": ["w4", "w5"], "gold": 3, "answer": ""}
    found = task.score_options(document, [(-1.0, False), (-2.0, False)], token_counts=(1, 1))
    assert (found["acc"], found["acc_ce"]) == (0.0, 0.0)
    assert "gold_logprob" not in found

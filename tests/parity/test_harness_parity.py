"""A sweep, example by example, against lm-evaluation-harness on models with layers deleted."""

import logging
from typing import Any

import pytest

import interp
from interp.tasks import load_task
from tests.helpers.families import FAMILIES, N_LAYERS, deleted, tiny_bridge, tiny_tokenizer
from tests.helpers.harness import harness_evaluates, harness_responses
from tests.helpers.task_files import write_task


@pytest.mark.thinned(share=2)
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize(
    ("kind", "num_fewshot"), [("letters", 0), ("letters", 3), ("texts", 0), ("texts", 3)]
)
def test_options_equal_the_harness_on_deleted_layers(tmp_path, family, kind, num_fewshot):
    task = load_task(write_task(tmp_path, kind=kind, rows=6, num_fewshot=num_fewshot))
    bridge = tiny_bridge(family)
    run = interp.sweep(bridge, [task], interp.each_layer(bridge), out=tmp_path / "run")
    found: Any = run.responses().set_index(["ablation", "doc_id"])
    for layer in range(N_LAYERS):
        expected = harness_responses(deleted(family, [layer]), task, doc_ids=range(6))
        for doc_id, options in expected.items():
            row = found.loc[f"layer:{layer}", doc_id]
            likelihoods = [value for value, _ in options]
            assert list(row["loglikelihoods"]) == pytest.approx(likelihoods, abs=1e-4)
            assert list(row["greedy"]) == [greedy for _, greedy in options]
            metrics = task._harness.process_results(task.documents()[doc_id], options)
            assert {name: row[name] for name in metrics} == metrics


@pytest.mark.thinned(share=2)
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_texts_equal_the_harness_on_deleted_layers(tmp_path, family):
    task = load_task(write_task(tmp_path, kind="generate", rows=6))
    bridge = tiny_bridge(family)
    run = interp.sweep(bridge, [task], interp.each_layer(bridge), out=tmp_path / "run")
    found: Any = run.responses().set_index(["ablation", "doc_id"])
    for layer in range(N_LAYERS):
        expected = harness_responses(deleted(family, [layer]), task, doc_ids=range(6))
        for doc_id, (text,) in expected.items():
            assert found.loc[(f"layer:{layer}", doc_id), "text"] == text


@pytest.mark.slow
def test_the_scores_of_the_baseline_equal_the_harness(tmp_path):
    from lm_eval.models.huggingface import HFLM

    task = load_task(write_task(tmp_path))
    run = interp.sweep(tiny_bridge("llama"), [task], ["mlp:0"], out=tmp_path / "run")
    scores = run.scores().query("ablation == 'baseline'").set_index("metric")["value"]
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    lm = HFLM(pretrained=deleted("llama", []), tokenizer=tiny_tokenizer(), device="cpu")
    (results,) = harness_evaluates(lm, [task._harness])["results"].values()
    assert scores["acc"] == pytest.approx(100 * results["acc,none"])
    assert scores["acc_norm"] == pytest.approx(100 * results["acc_norm,none"])

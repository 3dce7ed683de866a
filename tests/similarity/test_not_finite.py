"""A model whose numbers are not finite is named by similarity and tracing, and never ranked."""

import logging
from types import SimpleNamespace

import pandas as pd
import pytest

import interp
from interp.attention import detector_scores, query_focused_heads
from interp.errors import UserError
from interp.lens import direct_logit_attribution, patchscope, prompt_grid, self_repair
from interp.models import decoder
from interp.results.truncation import truncated
from interp.similarity import downstream_effects, influence_by_part, layer_shapley
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def broken():
    """The base organism with one weight of layer 2 that is not a number."""
    model = interp.load_model("organism:base")
    root = decoder(model).root
    name = next(n for n, _ in root.named_parameters() if ".2.mlp.down_proj.weight" in n)
    root.get_parameter(name).data[0, 0] = float("nan")
    return model


def test_similarity_names_the_example_and_the_depth(broken):
    with pytest.raises(UserError, match="example 0: the residual stream is not finite at depth 3"):
        interp.layer_similarity(broken, ["one text"] * 4)


def test_a_trace_names_the_example(broken):
    with pytest.raises(UserError, match=r"example \d+: logits of organism:base are not finite"):
        interp.retrieval_heads(broken, "world-kv:generate", limit=2)


def test_effects_and_influence_name_the_text_and_the_depth(broken):
    for call in (downstream_effects, influence_by_part):
        with pytest.raises(UserError, match="text 0: the residual stream is not finite at depth 3"):
            call(broken, ["one text of several words and a few more"] * 2)


def test_heads_of_such_a_model_have_no_scores(broken):
    with pytest.raises(UserError, match="logits are not finite, so that its heads have no scores"):
        detector_scores(broken, length=4, sequences=1)
    with pytest.raises(UserError, match="attention is not finite in 2 of 2 examples"):
        query_focused_heads(broken, "world-kv:generate", queries="last", keys="gold", limit=2)


def test_what_is_not_finite_has_no_token_and_no_entropy(broken, caplog):
    """An entropy of 0 would say that the model is certain."""
    caplog.set_level(logging.WARNING, logger="interp")
    grid = prompt_grid(broken, "Where does")
    lost = grid["layer"] >= 2
    lost &= ~((grid["layer"] == 2) & (grid["after"] == "attention"))
    assert grid.loc[lost, ["entropy", "probability"]].isna().all(axis=None)
    assert (grid.loc[lost, "top_id"] == -1).all()
    assert grid.loc[~lost, ["entropy", "probability"]].notna().all(axis=None)
    assert "logits are not finite at" in caplog.text
    read = patchscope(broken, "Where does", "Rome is", layers=[0])
    assert (read["top_id"] == -1).all()
    assert read["probability"].isna().all()


def test_attribution_and_self_repair_name_the_example(broken):
    with pytest.raises(
        UserError, match=r"model organism:base, example \d+: the residual stream is"
    ):
        direct_logit_attribution(broken, "world-facts:continuation", limit=2)
    with pytest.raises(
        UserError, match=r"model organism:base, example \d+: the residual stream is"
    ):
        self_repair(broken, "world-facts:continuation", ablations="mlp:1", limit=2)


def test_rows_of_attention_and_distances_of_weights_name_the_layer(broken):
    with pytest.raises(UserError, match="its attention is not finite in layer 3"):
        interp.attention_rows(broken, "Where does")
    with pytest.raises(UserError, match=r"layer 2: mlp\.down_proj\.weight is not finite"):
        interp.comparison.weight_distances(broken, broken)


def test_nothing_is_shared_between_layers_where_nothing_is_known(llama, tmp_path, monkeypatch):
    task = write_task(tmp_path, rows=3)
    values = pd.DataFrame({"doc_id": range(3), "value": float("nan")}).assign(
        model="m", task="tiny-texts", metric="acc", ablation="baseline"
    )
    run = SimpleNamespace(gains=lambda: values)
    monkeypatch.setattr("interp.similarity.shapley.sweep", lambda *_, **__: run)
    with pytest.raises(UserError, match="every example of a task failed without any ablation"):
        layer_shapley(llama, task, orders=3, metric="acc", out=tmp_path / "out")


def test_an_answer_that_failed_was_not_cut_by_the_token_limit():
    rows = [(0, False, "logits are not finite"), (0, False, ""), (3, True, ""), (0, None, "")]
    baseline = pd.DataFrame(rows, columns=["cut_tokens", "finished", "failure"]).assign(task="t")
    found = truncated(baseline).iloc[0]
    assert (found["cut_prompts"], found["cut_answers"], found["n"]) == (1, 1, 4)

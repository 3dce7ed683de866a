"""Tracing against a brute-force reference on TransformerLens' full patterns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.validity.planted import build, circuit_plan
from experiments.validity.questions import planted_task
from interp import models
from interp.attention import retrieval_heads
from interp.attention.prompts import locate
from interp.attention.tracing import TOKEN_KINDS, trace
from interp.errors import UserError
from interp.tasks import load_task, task_of_rows
from tests.helpers.families import tiny_bridge
from tests.helpers.key_value import CONFIG, make_task
from tests.helpers.task_files import write_task

# <s> w60 | w5 w6 w20 | w7 w21 w22 w23 | w8 w20 w23 | w9 w10 w22 | w61 key
PLACES = {
    0: ([2, 3], [4]),
    1: ([5], [6, 7, 8]),
    2: ([9], [10, 11]),
    3: ([12, 13], [14]),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2", "gemma3", "bloom"])
def test_a_trace_equals_brute_force(family):
    model, task = tiny_bridge(family), make_task()
    found = trace(model, task, piece=4)
    for n in range(5):
        gold_key, gold_value = PLACES[n % 4]
        prompt = locate(task, n, models.decoder(model))
        with torch.no_grad():
            logits, cache = model.run_with_cache(torch.tensor([prompt.tokens]))
        answer = range(len(prompt.tokens) - len(gold_value), len(prompt.tokens))
        others = [p for m, (_, value) in PLACES.items() if m != n % 4 for p in value]
        right = all(logits[0, p - 1].argmax() == prompt.tokens[p] for p in answer)
        assert found.examples["copied"][n] == right
        for layer in range(3):
            for head in range(4):
                pattern = cache["pattern", layer][0, head]
                hits = [
                    int(pattern[p - 1].argmax()) == g
                    for p, g in zip(answer, gold_value, strict=True)
                ]
                assert found.retrieval[n, layer, head] == pytest.approx(np.mean(hits))
                places = {"gold_value": gold_value, "gold_key": gold_key, "first_token": [0]}
                for target, positions in {**places, "other_values": others}.items():
                    mass = np.mean([pattern[p - 1][positions].sum().item() for p in answer])
                    assert found.attention[target][n, layer, head] == pytest.approx(mass, abs=1e-5)
    assert found.retrieval.max() <= 1


def test_offsets_find_the_gold_tokens_by_place_not_by_text():
    """The key's and value's words also stand in the question, in other values, in the answer."""
    decoder, task = models.decoder(tiny_bridge("llama")), make_task()
    for n in range(5):
        prompt = locate(task, n, decoder)
        assert (list(prompt.gold_key), list(prompt.gold_value)) == PLACES[n % 4]
        assert prompt.copied == tuple((p,) for p in PLACES[n % 4][1])
        assert prompt.queries[-1] == len(prompt.tokens) - 2
        everything = [
            *prompt.gold_key,
            *prompt.gold_value,
            *prompt.other_keys,
            *prompt.other_values,
        ]
        assert sorted(everything) == list(range(2, 15))


def test_few_shot_prompts_are_located_too():
    rows = [dict(row) for row in make_task(8).documents()]
    config = CONFIG | {"num_fewshot": 2, "fewshot_delimiter": " w63 ", "fewshot_split": "test",
                       "fewshot_config": {"sampler": "first_n"}}  # fmt: skip
    decoder = models.decoder(tiny_bridge("llama"))
    task = task_of_rows("tiny-kv:generate", rows, config)
    prompt = locate(task, 6, decoder)
    tokens = [decoder.tokenizer.decode([prompt.tokens[p]]) for p in prompt.gold_value]
    assert tokens == ["w20", "w23"]
    assert min(prompt.gold_value) > 30


@pytest.mark.slow
def test_the_table_and_the_groupings_agree_with_the_arrays():
    plan = circuit_plan(5)
    heads = retrieval_heads(build(plan), planted_task(plan, "kv", rows=12))
    (layer, head), (null_layer, null_head) = plan.induction[0], plan.null[0]
    assert heads.scores[layer, head] == heads.scores[null_layer, null_head] == 1
    written = heads.trace.written.mean(axis=0)
    assert written[layer, head] == 1
    assert written[null_layer, null_head] == 0  # it looks, and writes nothing
    writing = replace(heads, rule="writes")
    assert writing.scores[null_layer, null_head] == 0
    assert (writing.table()["layer"][0], writing.table()["head"][0]) == plan.induction[0]
    published = replace(heads, rule="published")
    np.testing.assert_array_equal(published.scores, heads.scores)  # values of one token are alike
    with pytest.raises(UserError, match="allowed are attends, published, writes"):
        retrieval_heads(build(plan), planted_task(plan, "kv", rows=12), rule="looks")
    table = heads.table()
    assert {(r.layer, r.head) for r in table.head(2).itertuples()} == {
        plan.induction[0],
        plan.null[0],
    }
    assert table["low"].isna().iloc[0]
    spread = table[table["low"].notna()]
    assert (spread["low"] <= spread["score"]).all()
    assert (spread["high"] >= spread["score"]).all()
    by = heads.by("gold_position").set_index(["gold_position", "layer", "head"])
    assert (by.loc[(slice(None), layer, head), "score"] == 1).all()
    assert by["n"].groupby("gold_position").first().sum() == 12
    assert set(TOKEN_KINDS) <= set(heads.trace.table().columns)
    assert f"L{layer}H{head} 1.00" in repr(heads)
    with pytest.raises(UserError, match="allowed are gold_position, n_pairs, layer"):
        heads.by("doc_id")


def test_tasks_without_pairs_or_with_letters_are_refused(tmp_path):
    model = tiny_bridge("llama")
    with pytest.raises(UserError, match="its rows hold no key-value pairs"):
        trace(model, load_task(write_task(tmp_path)))
    with pytest.raises(UserError, match="limit 0"):
        trace(model, make_task(), limit=0)
    letters = CONFIG | {"output_type": "multiple_choice", "doc_to_choice": ["A", "B"],
                        "doc_to_target": "gold_position"}  # fmt: skip
    letters.pop("generation_kwargs")
    rows = [row | {"gold_position": 1, "key": "w7", "answer": "w21 w22 w23"}
            for row in make_task(2).documents()]  # fmt: skip
    with pytest.raises(UserError, match="'B' is not the value"):
        trace(model, task_of_rows("tiny-kv:default", rows, letters | {"metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}))  # fmt: skip

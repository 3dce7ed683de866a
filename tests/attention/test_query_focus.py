"""The query-focused score: sums of TransformerLens' patterns, planted heads, and agreement."""

import numpy as np
import pytest
import torch

from experiments.validity.planted import build, circuit_plan
from experiments.validity.questions import planted_task
from interp import models
from interp.attention import head_agreement, query_focused_heads, retrieval_heads
from interp.errors import UserError
from interp.tasks import encode
from tests.helpers.families import tiny_bridge
from tests.helpers.key_value import classes, scored_task

PLAN = circuit_plan(0)


def test_scores_are_sums_of_patterns():
    model, task = tiny_bridge("llama"), scored_task(2)
    found = query_focused_heads(model, task, queries="key", keys="gold,gold-key")
    for row in range(2):
        prompt = f"w60 {task.documents()[row]['pairs_text']} w61 {task.documents()[row]['key']}"
        tokens = encode(prompt, models.decoder(model))
        _, at = classes(row)
        with torch.no_grad():
            _, cache = model.run_with_cache(torch.tensor([tokens]))
        seen = sorted(at["gold"] | at["gold-key"])
        for layer in range(3):
            pattern = cache["pattern", layer][0][:, sorted(at["key"])][:, :, seen]
            expected = pattern.sum(dim=-1).mean(dim=-1).numpy()
            np.testing.assert_allclose(found.by_example[row, layer], expected, atol=1e-5)
    table = found.table()
    assert table["score"].is_monotonic_decreasing
    assert len(table) == found.scores.size
    assert repr(found).startswith("QueryFocus(")


def test_planted_heads_look_at_the_pair_and_both_scores_agree():
    model, task = build(PLAN), planted_task(PLAN, "kv", rows=12)
    focus = query_focused_heads(model, task, queries="last", keys="gold,gold-key")
    looking = {*PLAN.induction, *PLAN.null}
    best = focus.table().head(2)
    assert {(r.layer, r.head) for r in best.itertuples()} == looking
    assert best["score"].min() > 0.9
    (row,) = head_agreement(focus, retrieval_heads(model, task), top=2).to_dict("records")
    assert (row["shared"], row["jaccard"], row["n"]) == (2, 1.0, 12)
    # one head of four in two layers each: by chance in one of sixteen
    assert row["p"] == pytest.approx(1 / 16)
    (same,) = head_agreement(focus, focus, top=2, resamples=100).to_dict("records")
    assert same["spearman"] == pytest.approx(1)
    with pytest.raises(UserError, match="give scores of one shape"):
        head_agreement(focus, query_focused_heads(tiny_bridge("llama"), scored_task(2),
                                                  queries="key", keys="gold"))  # fmt: skip

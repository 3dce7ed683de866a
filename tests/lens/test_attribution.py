"""Direct logit attribution: it adds up, equals TransformerLens', and finds planted writers."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformer_lens.tools.analysis import direct_logit_attribution as theirs

from interp import models
from interp.errors import UserError
from interp.lens import direct_logit_attribution, logit_lens
from interp.lens.answers import build_answers
from interp.lens.attribution import Component, component_vectors, head_table, logit_shares
from interp.tasks import load_task
from tests.helpers.families import BY_HALF, random_tokens, tiny_bridge
from tests.helpers.planted import planted_bridge, write_planted
from tests.helpers.task_files import write_task

NORMED_HEADS = ("gemma2", "gemma3", "olmo2")


@pytest.mark.parametrize("name", BY_HALF)
def test_the_parts_add_up_to_the_logits(name):
    model = tiny_bridge(name)
    decoder, row = models.decoder(model), random_tokens(1, 10)[0].tolist()
    positions, tokens = torch.tensor([4, 9]), torch.tensor([20, 30])
    at = (torch.zeros_like(positions), positions)
    vectors, final = component_vectors(model, [row], at, heads=name not in NORMED_HEADS)
    kept = [c for c in vectors if c.kind in ("embedding", "attention", "mlp")]
    assert len(kept) == 7
    shares, rest = logit_shares(decoder, torch.stack([vectors[c] for c in kept]), final, tokens)
    with torch.no_grad():
        logits = decoder.root(torch.tensor([row])).logits[0, positions].gather(-1, tokens[:, None])
    cap = getattr(decoder.root.config, "final_logit_softcapping", None)
    if cap:  # shares are of the logit before its cap
        logits = cap * (logits / cap).atanh()
    torch.testing.assert_close(shares.sum(dim=0) + rest, logits[:, 0], atol=1e-4, rtol=0)
    if name in NORMED_HEADS:
        with pytest.raises(UserError, match="give heads=False"):
            component_vectors(model, [row], at)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_the_shares_are_those_of_transformer_lens(name):
    model, folded = tiny_bridge(name), tiny_bridge(name)
    folded.enable_compatibility_mode()
    row, right, wrong = random_tokens(1, 10)[0].tolist(), 20, 30
    vectors, final = component_vectors(model, [row], (torch.tensor([0]), torch.tensor([9])))

    def ours(components):
        stacked = torch.stack([vectors[c] for c in components])
        one, other = (
            logit_shares(models.decoder(model), stacked, final, torch.tensor([t]))[0]
            for t in (right, wrong)
        )
        return (one - other)[:, 0]

    whole = theirs(folded, torch.tensor([row]), right, wrong, unit="component")
    sublayers = [Component(k, layer) for layer in range(3) for k in ("attention", "mlp")]
    found = dict(zip(whole.labels, whole.attribution[:, 0], strict=True))
    expected = torch.stack(
        [found[f"{c.layer}_{'attn' if c.kind == 'attention' else 'mlp'}_out"] for c in sublayers]
    )
    if name != "gpt2":  # there, folding moves biases of values from heads to the attention
        by_head = theirs(folded, torch.tensor([row]), right, wrong, unit="head")
        heads = [Component("head", layer, h) for layer in range(3) for h in range(4)]
        assert by_head.labels[:12] == [f"L{c.layer}H{c.head}" for c in heads]
        torch.testing.assert_close(ours(heads), by_head.attribution[:12, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours(sublayers), expected, atol=1e-4, rtol=0)


def test_a_task_s_margin_is_the_sum_and_the_lens_s(llama, tmp_path):
    path = write_task(tmp_path, kind="letters", rows=10)
    table = direct_logit_attribution(llama, path)
    assert set(table["kind"]) == {"embedding", "attention", "mlp", "layer", "head", "bias"}
    margins = table[table["quantity"] == "margin"]
    total = margins[margins["kind"].isin(["embedding", "attention", "mlp", "bias"])]["value"].sum()
    lens = logit_lens(llama, path).table()
    end = lens[(lens["quantity"] == "right_margin") & (lens["depth"] == 3)]["value"].item()
    assert total == pytest.approx(end, abs=1e-4)
    for layer in range(3):
        rows = margins[margins["layer"] == layer].groupby("kind")["value"].sum()
        assert rows["layer"] == pytest.approx(rows["attention"] + rows["mlp"], abs=1e-4)
        assert rows["head"] == pytest.approx(rows["attention"], abs=1e-4)


def test_the_rival_in_a_text_is_the_best_other_token(llama, tmp_path):
    path = write_task(tmp_path, kind="generate", rows=4)
    margins = direct_logit_attribution(llama, path, heads=False).query("quantity == 'margin'")
    total = margins[margins["kind"] != "layer"]["value"].sum()
    expected = []
    for answer in build_answers(llama, load_task(path), range(4)):
        option = answer.options[0]
        with torch.no_grad():
            ids = torch.tensor([[*option.context, *option.continuation]])
            logits = models.decoder(llama).root(ids).logits[0, len(option.context) - 1]
        token = option.continuation[0]
        others = torch.cat([logits[:token], logits[token + 1 :]])
        expected.append(float(logits[token] - others.max()))
    assert total == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.slow
def test_the_planted_writer_has_the_whole_effect(tmp_path):
    path = write_planted(tmp_path, kind="letters")
    table = direct_logit_attribution(planted_bridge(3), path).query("quantity == 'margin'")
    table = table.set_index("ablation")["value"]
    assert table["mlp:3"] > 1
    assert table.drop(["mlp:3", "layer:3"]).abs().max() < 1e-5


@pytest.mark.slow
def test_heads_stand_in_one_table(llama, tmp_path):
    from interp.ablations.families import each_head
    from interp.sweeps import sweep

    path = write_task(tmp_path, kind="letters", rows=6)
    attribution = direct_logit_attribution(llama, path)
    importance = sweep(llama, [str(path)], each_head(llama), out=tmp_path / "run").importance()
    scores = np.arange(12.0).reshape(3, 4) / 12
    table = head_table(attribution, importance.query("metric == 'acc'"), scores)
    effects = ["direct_effect", "direct_low", "direct_high", "drop", "p_adjusted"]
    assert list(table.columns) == ["task", "layer", "head", *effects, "retrieval_score"]
    assert len(table) == 12
    row = table[(table["layer"] == 1) & (table["head"] == 2)].iloc[0]
    assert row["retrieval_score"] == 0.5
    drop = importance[(importance["ablation"] == "head:1.2@mean") & (importance["metric"] == "acc")]
    assert row["drop"] == drop["drop"].item()
    with pytest.raises(UserError, match="one metric"):
        head_table(attribution, importance)
    assert isinstance(head_table(attribution), pd.DataFrame)

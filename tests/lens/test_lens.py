"""The lens against TransformerLens' own, the model's own logits, and planted facts."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformer_lens.tools.analysis import logit_lens as their_lens

from interp.ablations import checked_edits
from interp.ablations.on_bridge import ablate
from interp.errors import UserError
from interp.lens import decision_difference, depths, logit_lens, prompt_grid
from interp.lens.answers import build_answers
from interp.lens.quantities import QUANTITIES, decision
from interp.lens.readout import logits_of, read
from interp.lens.residual_stream import residual_stack
from interp.models import decoder, wrap
from interp.stats import StreamingMean, poisson_weights
from interp.tasks import load_task
from tests.helpers.families import BY_HALF, random_tokens, tiny_bridge, tiny_tokenizer
from tests.helpers.forked import in_a_fork
from tests.helpers.planted import planted_bridge, write_planted
from tests.helpers.regimes import SWITCH, model_of
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module", params=BY_HALF)
def any_model(request):
    return tiny_bridge(request.param)


def every_place(tokens):
    return [(r, p) for r in range(tokens.shape[0]) for p in range(tokens.shape[1])]


def test_the_last_depth_is_the_model_itself(any_model):
    tokens = random_tokens(2, 12)
    stack = residual_stack(any_model, tokens.tolist(), every_place(tokens))
    assert len(stack) == len(depths(3)) == 7
    found = logits_of(decoder(any_model), stack)[-1].view(2, 12, -1)
    with torch.no_grad():
        expected = decoder(any_model).root(tokens).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_rows_on_both_sides_of_a_switch_are_read_as_each_alone():
    """Padded together, the short rows would take the long ones' rotary factors (LongRoPE)."""
    plain = model_of("longrope")
    model = wrap(plain, tiny_tokenizer(), name="longrope")
    rows = [
        random_tokens(1, length, seed=length)[0].tolist()
        for length in (SWITCH + 9, 5, SWITCH, SWITCH + 1)
    ]
    places = [(r, p) for r in (1, 3, 0, 2) for p in range(len(rows[r]))]
    stack = residual_stack(model, rows, places, sublayers=False)
    with torch.no_grad():
        states = [plain(torch.tensor([row]), output_hidden_states=True).hidden_states
                  for row in rows]  # fmt: skip
        logits = [plain(torch.tensor([row])).logits[0] for row in rows]
    for n, (row, position) in enumerate(places):
        for depth in range(plain.config.num_hidden_layers):
            torch.testing.assert_close(stack[depth, n], states[row][depth][0, position])
    found = logits_of(decoder(model), stack[-1:])[0]
    expected = torch.stack([logits[row][position] for row, position in places])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_every_depth_is_that_of_transformer_lens(model):
    tokens = random_tokens(2, 9)
    # parallel blocks (GPT-NeoX) have no residual stream behind the attention alone
    middle = "blocks.0.hook_resid_mid" in model.hook_dict
    theirs = their_lens(model, tokens, positions=None, incl_mid=middle, return_type="log_probs")
    stack = residual_stack(model, tokens.tolist(), every_place(tokens), sublayers=middle)
    assert [d.label for d in depths(3, sublayers=middle)][:-1] == theirs.labels[:-1]
    ours = logits_of(decoder(model), stack).log_softmax(dim=-1)
    torch.testing.assert_close(ours, theirs.values.flatten(1, 2), atol=1e-4, rtol=0)


def test_ranks_entropy_and_selected_values_are_those_of_transformer_lens(llama):
    tokens, targets = random_tokens(2, 9), torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13]] * 2)
    theirs = their_lens(
        llama, tokens, positions=None, incl_mid=True, targets=targets, return_type="log_probs"
    )
    stack = residual_stack(llama, tokens.tolist(), every_place(tokens))
    reads = torch.stack([torch.arange(18), targets.flatten()], dim=1).flip(0)
    found = read(decoder(llama), stack, reads)
    assert np.array_equal(found.rank[:, ::-1], theirs.readout.target_ranks.flatten(1))
    np.testing.assert_allclose(found.logprob[:, ::-1], theirs.values.flatten(1), atol=1e-4)
    np.testing.assert_allclose(found.entropy, theirs.readout.entropy.flatten(1), atol=1e-4)
    np.testing.assert_allclose(found.kl[-1], 0, atol=1e-6)
    logprobs = logits_of(decoder(llama), stack).log_softmax(dim=-1)
    kl = torch.nn.functional.kl_div(
        logprobs, logprobs[-1:].expand_as(logprobs), log_target=True, reduction="none"
    ).sum(dim=-1)
    np.testing.assert_allclose(found.kl, kl, atol=1e-5)
    np.testing.assert_array_equal(found.top_ids, logprobs.topk(2, dim=-1).indices)


@pytest.mark.parametrize("text", ["layer:1", "attn:1", "mlp:1", "head:1.2", "swap:1", "layer:0"])
def test_under_an_ablation_every_depth_is_the_hooked_bridge_s(llama, text):
    tokens = random_tokens(2, 9)
    donor = tiny_bridge("llama", seed=1) if text.startswith("swap") else None
    stack = residual_stack(
        llama, tokens.tolist(), every_place(tokens), edits=checked_edits(llama, text, donor=donor)
    )
    with ablate(llama, text, donor=donor), torch.no_grad():
        _, cache = llama.run_with_cache(tokens)
    for depth, vectors in zip(depths(3), stack, strict=True):
        if depth.after == "attention":
            if text == f"layer:{depth.layer}":
                continue  # a skipped block has no attention; ours passes its input on
            expected = cache[f"blocks.{depth.layer}.hook_resid_mid"]
        elif depth.after == "layer":
            expected = cache[f"blocks.{depth.layer}.hook_out"]
        else:
            expected = cache["blocks.0.hook_in"]
        torch.testing.assert_close(vectors, expected.flatten(0, 1), atol=1e-4, rtol=0)


def test_the_grid_is_that_of_transformer_lens(model):
    prompt = "w5 w6 w7 w9 w50"
    table = prompt_grid(model, prompt)
    tokens = torch.tensor([[1, 5, 6, 7, 9, 50]])
    theirs = their_lens(model, tokens, positions=None, top_k=1, return_type="probs")
    ids = table.pivot_table(index="depth", columns="position", values="top_id")
    probabilities = table.pivot_table(index="depth", columns="position", values="probability")
    np.testing.assert_array_equal(ids, theirs.readout.top_ids[:, 0, :, 0])
    np.testing.assert_allclose(probabilities, theirs.values[:, 0, :, 0], atol=1e-5)
    assert list(table["token"].unique()) == ["<s>", "w5", "w6", "w7", "w9", "w50"]


def brute_force(model, task, doc_id, text="baseline"):
    """Log-likelihood of each option at each layer, one row and one depth at a time."""
    (answer,) = build_answers(model, task, [doc_id])
    options = []
    for option in answer.options:
        whole = torch.tensor([[*option.context, *option.continuation]])
        with ablate(model, text), torch.no_grad():
            _, cache = model.run_with_cache(whole)
            stack = [cache["blocks.0.hook_in"]] + [cache[f"blocks.{i}.hook_out"] for i in range(3)]
            logprobs = [model.unembed(model.ln_final(x))[0].log_softmax(dim=-1) for x in stack]
        start = len(option.context) - 1
        options.append(
            [
                sum(float(lp[start + i, t]) for i, t in enumerate(option.continuation))
                for lp in logprobs
            ]
        )
    return np.array(options).T, answer.right


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["letters", "texts"])
@pytest.mark.parametrize("text", ["baseline", "layer:1"])
def test_a_task_s_table_equals_brute_force(llama, tmp_path, kind, text):
    task = load_task(write_task(tmp_path, kind=kind, rows=6))
    lens = logit_lens(llama, task, ablation=text, sublayers=False, out=tmp_path / "out")
    written = pd.read_parquet(tmp_path / "out" / "examples.parquet")
    ahead = []
    for doc_id in range(6):
        options, right = brute_force(llama, task, doc_id, text)
        rows = written[written["doc_id"] == doc_id]
        rivals = np.delete(options, right, axis=1).max(axis=1)
        np.testing.assert_allclose(rows["right_logprob"], options[:, right], atol=1e-4)
        np.testing.assert_allclose(rows["wrong_logprob"], rivals, atol=1e-4)
        np.testing.assert_allclose(rows["right_margin"], options[:, right] - rivals, atol=1e-4)
        chosen = options[-1].argmax()
        np.testing.assert_allclose(rows["chosen_logprob"], options[:, chosen], atol=1e-4)
        ahead.append(options.argmax(axis=1) == right)
        np.testing.assert_array_equal(rows["right_leads"], ahead[-1])
    table = lens.table()
    leads = table[table["quantity"] == "right_leads"]
    np.testing.assert_allclose(leads["value"], np.mean(ahead, axis=0))
    assert (leads["low"] <= leads["value"]).all()
    assert (leads["value"] <= leads["high"]).all()
    decided = lens.decided()
    decided = decided[decided["answer"] == "right"]["value"]
    stays = [[all(one[d:]) for d in range(4)] for one in ahead]
    np.testing.assert_allclose(decided, np.mean(stays, axis=0))


def test_the_last_depth_of_a_sweep_and_of_the_lens_agree(llama, tmp_path):
    from interp.sweeps import sweep

    path = write_task(tmp_path, kind="texts", rows=10)
    run = sweep(llama, [str(path)], ["layer:1"], out=tmp_path / "run", limit=5, seed=3)
    acc = run.scores().query("metric == 'acc'").set_index("ablation")["value"] / 100
    for text in ("baseline", "layer:1"):
        table = logit_lens(llama, path, limit=5, ablation=text, seed=3).table()
        end = table[(table["quantity"] == "right_leads") & (table["depth"] == 3)]
        assert end["value"].item() == pytest.approx(acc[text])
        assert end["n"].item() == 5


@pytest.mark.slow
def test_a_written_out_text_is_read_step_by_step(tmp_path):
    path = write_planted(tmp_path, kind="generate")
    model = planted_bridge(2)
    lens = logit_lens(model, path, follow="generated", steps=r"(w\d+)(?: |$)")
    table = lens.table()
    end = table[table["depth"] == 5].pivot_table(index="step", columns="quantity", values="value")
    # what the model writes greedily leads at the last depth, token by token
    assert set(end.index) == {"answer", *(f"step {n}" for n in range(1, 7))}
    assert (end["right_leads"] == 1).all()
    assert (end["agreement"] == 1).all()
    # the fact is looked up once, at layer 2; behind it the model repeats the token it reads
    depth = lens.decision_depth().query("answer == 'right'").set_index("step")["mean"]
    assert depth["step 1"] == depth["answer"] == 3
    assert (depth[[f"step {n}" for n in range(2, 7)]] == 0).all()
    target = logit_lens(model, path)
    assert list(target.steps) == ["answer"]
    assert target.decision_depth()["mean"].eq(3).all()


def test_steps_are_the_tokens_that_the_expression_finds(llama, tmp_path):
    path = write_task(tmp_path, kind="generate", rows=2)
    rows = [json.loads(x) for x in (tmp_path / "generate.jsonl").read_text().splitlines()]
    rows[0]["answer"] = "w5 w6 w7 w8 w9"
    (tmp_path / "generate.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (answer, _) = build_answers(llama, load_task(path), [0, 1], steps="w6 (w7 w8)|w9")
    assert answer.options[0].continuation == (5, 6, 7, 8, 9)
    assert answer.steps[:2] == (("answer", (0, 1, 2, 3, 4)), ("step 1", (2, 3)))
    (answer, _) = build_answers(llama, load_task(path), [0, 1], steps="w6|w9")
    assert answer.steps[1:] == (("step 1", (1,)), ("step 2", (4,)))


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, 2, 4])
def test_a_planted_fact_becomes_readable_exactly_at_its_layer(tmp_path, layer):
    model = planted_bridge(layer)
    path = write_planted(tmp_path, kind="letters")
    lens = logit_lens(model, path)
    table = lens.table().query("quantity == 'right_logrank'").set_index("depth")["value"]
    assert (table[table.index <= layer + 0.5] > 0.5).all()  # not the top token before
    assert (table[table.index >= layer + 1] == 0).all()  # the top of the vocabulary from there on
    leads = lens.table().query("quantity == 'right_margin'").set_index("depth")["value"]
    assert (leads[leads.index <= layer + 0.5].abs() < 1e-5).all()
    assert (leads[leads.index >= layer + 1] > 1).all()
    without = logit_lens(model, path, ablation=f"layer:{layer}").table()
    assert (without.query("quantity == 'right_margin'")["value"].abs() < 1e-5).all()
    elsewhere = logit_lens(model, path, ablation=f"layer:{(layer + 1) % 5}").table()
    margins = elsewhere.query("quantity == 'right_margin' and depth == 5")
    assert margins["value"].item() == pytest.approx(leads[5.0], abs=1e-5)


def test_the_decision_is_the_first_depth_that_stays():
    assert decision(np.array([False, True, False, True, True])) == 3
    assert decision(np.array([True, True])) == 0
    assert decision(np.array([True, False])) == 2


@pytest.mark.slow
def test_the_difference_of_two_models_is_paired(tmp_path):
    path = write_task(tmp_path, kind="letters", rows=30)
    one, other = (logit_lens(tiny_bridge("llama", seed=s), path) for s in (0, 1))
    same = decision_difference(one, one, answer="chosen")
    assert same == {"difference": 0, "low": 0, "high": 0}
    found = decision_difference(one, other, answer="chosen")
    depth = [x.decision_depth().set_index("answer")["relative"]["chosen"] for x in (one, other)]
    assert found["difference"] == pytest.approx(depth[0] - depth[1])
    assert found["low"] <= found["difference"] <= found["high"]
    with pytest.raises(UserError, match="did not read the same examples"):
        decision_difference(one, logit_lens(tiny_bridge("llama"), path, limit=5))


def test_intervals_are_the_bootstrap_s_and_order_does_not_matter():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, size=(300, 1))
    weights = poisson_weights(range(300), resamples=2000)
    whole, parts = StreamingMean((1,), resamples=2000), StreamingMean((1,), resamples=2000)
    whole.add(weights, values)
    for chosen in (slice(200, 300), slice(0, 200)):
        parts.add(weights[chosen], values[chosen])
    np.testing.assert_allclose(parts.interval(), whole.interval())
    low, high = whole.interval()
    error = values.std() / np.sqrt(300)
    assert whole.mean[0] == pytest.approx(values.mean())
    assert low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_bad_requests_are_one_line(llama, tmp_path):
    path = write_task(tmp_path, kind="generate", rows=3)
    for options, message in [
        ({"limit": 0}, "limit 0"),
        ({"ablation": "layer:9"}, "layer 9: the model has layers 0-2"),
        ({"follow": "else"}, "follow 'else'"),
        ({"steps": "("}, "no regular expression"),
        ({"out": tmp_path}, "it is not empty"),
    ]:
        with pytest.raises(UserError, match=message.replace("(", r"\(")):
            logit_lens(llama, path, **options)
    with pytest.raises(UserError, match="allowed are 1-64"):
        prompt_grid(llama, " ".join(["w5"] * 70))


MEMORY = """
import resource, sys
import torch
from interp.lens import logit_lens
from tests.helpers.families import tiny_bridge
torch.set_num_threads(1)
model = tiny_bridge("llama")
def used():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
logit_lens(model, sys.argv[1], limit=60, resamples=100)
before = used()
logit_lens(model, sys.argv[1], resamples=100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_examples(tmp_path):
    grown = []
    for rows in (300, 1500):
        folder = tmp_path / str(rows)
        folder.mkdir()
        path = write_task(folder, kind="letters", rows=rows)
        grown.append(float(in_a_fork(MEMORY, str(path)).split()[-1]))
    # 1,200 more examples hold 8 MB of numbers (14 quantities, 7 depths); none of it stays
    assert grown[1] - grown[0] < 6, grown


def test_every_quantity_is_tallied(llama, tmp_path):
    table = logit_lens(llama, write_task(tmp_path, kind="texts", rows=3)).table()
    assert set(table["quantity"]) == set(QUANTITIES)
    assert np.isfinite(table["value"]).all()


def test_a_lens_that_is_refused_half_way_gives_its_folder_back(llama, tmp_path):
    path = write_task(tmp_path, kind="generate", rows=2)
    file = tmp_path / "generate.jsonl"
    rows = [json.loads(line) | {"answer": ""} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"adds no token|no example has an answer"):
        logit_lens(llama, path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_lens_leaves_no_half_of_its_examples(llama, tmp_path, monkeypatch):
    path, out = write_task(tmp_path, rows=2), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("interp.lens.tasks.read", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            logit_lens(llama, path, out=out)
    assert [file.name for file in out.iterdir()] == ["result.json"]
    logit_lens(llama, path, out=out)
    assert len(pd.read_parquet(out / "examples.parquet"))


def _interrupted(*_, **__):
    raise KeyboardInterrupt

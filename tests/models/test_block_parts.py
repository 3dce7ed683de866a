"""Layers of unlike parts: which have heads, which an MLP, and what is refused of them."""

import pytest
import torch

import interp
from experiments.families.configurations import small_model
from interp.ablations import as_ablations, checked_edits
from interp.engine import generate, score_requests
from interp.errors import UserError
from interp.models import decoder, in_order, wrap
from interp.tasks import GenerationRequest, OptionRequest
from tests.helpers.families import random_tokens, tiny_bridge, tiny_tokenizer

HYBRIDS = ("Qwen3NextForCausalLM", "NemotronHForCausalLM", "FalconH1ForCausalLM")


def bridge_of(architecture):
    return wrap(small_model(architecture), tiny_tokenizer(), name=architecture)


@pytest.fixture(scope="module", params=HYBRIDS)
def hybrid(request):
    return bridge_of(request.param)


def test_a_dense_model_has_every_part_in_every_layer():
    model = tiny_bridge("llama")
    found = decoder(model)
    assert [found.layers_with(part) for part in ("attention", "mlp", "heads")] == [(0, 1, 2)] * 3
    assert found.block_returns == (0, 0, 0)


@pytest.mark.slow
def test_families_name_what_is_there():
    model = bridge_of("Qwen3NextForCausalLM")
    texts = {name: [one.text for one in as_ablations(model, name)]
             for name in ("attentions", "mlps", "heads", "kvgroups")}  # fmt: skip
    assert texts["attentions"] == [f"attn:{n}" for n in range(4)]
    assert texts["mlps"] == [f"mlp:{n}" for n in range(4)]
    assert texts["heads"] == [f"head:{n}.{h}@mean" for n in (1, 3) for h in range(4)]
    assert texts["kvgroups"] == [f"kvgroup:{n}.{h}" for n in (1, 3) for h in range(2)]
    model = bridge_of("NemotronHForCausalLM")
    assert [one.text for one in as_ablations(model, "attentions")] == ["attn:0", "attn:2"]
    assert [one.text for one in as_ablations(model, "mlps@mean")] == ["mlp:1@mean", "mlp:3@mean"]
    assert [one.text for one in as_ablations(model, "heads")] == [
        f"head:2.{head}@mean" for head in range(4)
    ]
    with pytest.raises(UserError, match="no layer has attention heads that can be told apart"):
        as_ablations(bridge_of("Mamba2ForCausalLM"), "heads")


@pytest.mark.parametrize(
    ("architecture", "layer", "attention"),
    [("NemotronHForCausalLM", 2, "mixer"), ("RecurrentGemmaForCausalLM", 1, "temporal_block")],
)
def test_heads_of_an_attention_that_is_mapped_as_a_whole(architecture, layer, attention):
    model, plain = bridge_of(architecture), small_model(architecture)
    tokens = random_tokens(2, 9, seed=1)
    with torch.no_grad():
        assert torch.allclose(model(tokens), plain(tokens).logits, atol=1e-5)
        weight = plain.get_submodule(f"model.layers.{layer}.{attention}.o_proj").weight
        width = weight.shape[1] // 4
        weight[:, 3 * width :] = 0
        expected = plain(tokens).logits
        with interp.ablate(model, f"head:{layer}.3"):
            assert torch.allclose(model(tokens), expected, atol=1e-5)
        weight.zero_()
        no_attention = plain(tokens).logits
        with interp.ablate(model, [f"head:{layer}.{head}" for head in range(4)]):
            assert torch.allclose(model(tokens), no_attention, atol=1e-5)
    assert not torch.allclose(expected, no_attention, atol=1e-3)


@pytest.mark.parametrize(
    ("architecture", "text", "words"),
    [
        ("Qwen3NextForCausalLM", "head:2.0", "its tokens are mixed by Qwen3NextGatedDeltaNet"),
        ("NemotronHForCausalLM", "attn:1", "layer 1: it has no part that mixes tokens"),
        ("NemotronHForCausalLM", "mlp:2@mean", "layer 2: it has no MLP; allowed is layer:2"),
        ("JetMoeForCausalLM", "head:1.0", "a router picks other heads for every token"),
        ("FalconH1ForCausalLM", "attn:2@mean", "attn and mamba work side by side"),
    ],
)
def test_what_a_layer_lacks_is_refused(architecture, text, words):
    with pytest.raises(UserError, match=words):
        checked_edits(bridge_of(architecture), text)


def test_the_bridge_and_the_native_blocks_agree(hybrid):
    tokens = random_tokens(2, 11)
    for text in ("attn:2", "mlp:1", "layer:2", "layer:3"):
        try:
            edits = checked_edits(hybrid, text)
        except UserError:
            continue
        requests = [OptionRequest(0, 0, tuple(tokens[0].tolist()), (7, 8))]
        ((value, _),) = score_requests(hybrid, requests, [edits])[0]
        with interp.ablate(hybrid, text), torch.no_grad():
            logprobs = hybrid(torch.tensor([[*tokens[0].tolist(), 7]])).log_softmax(-1)[0]
        assert value == pytest.approx(float(logprobs[-2, 7] + logprobs[-1, 8]), abs=1e-4)


@pytest.mark.slow
def test_states_are_carried_from_token_to_token(hybrid):
    prompts = [random_tokens(1, n, seed=n)[0].tolist() for n in (4, 13)]
    requests = [GenerationRequest(n, tuple(p), (), 4 + n) for n, p in enumerate(prompts)]
    texts = ["baseline", "layer:2", "layer:0+layer:3"]
    edits = [checked_edits(hybrid, text) for text in texts]
    for text, answers in zip(texts, generate(hybrid, requests, edits), strict=True):
        for prompt, answer in zip(prompts, answers, strict=True):
            with interp.ablate(hybrid, text), torch.no_grad():
                logits = hybrid(torch.tensor([[*prompt, *answer.tokens]]))
            expected = logits[0, len(prompt) - 1 : -1].argmax(-1).tolist()
            assert list(answer.tokens) == expected, text


def test_blocks_in_another_order_keep_their_parts():
    model = bridge_of("FalconH1ForCausalLM")
    found = in_order(model, (2, 0, 0))
    assert [one.mixers for one in found.parts] == [("attn", "mamba")] * 3
    assert all(len(further) == 1 for further in found.further_mixers)
    assert len({id(further[0]) for further in found.further_mixers}) == 3


def test_a_model_that_sees_what_follows_is_refused():
    with pytest.raises(UserError, match="lets a position see what follows it"):
        bridge_of("BertLMHeadModel")

"""Replay and decoding, against deleted layers, the plain forward pass and brute force."""

import pytest
import torch
import transformers

from interp import models
from interp.ablations import Edits, checked_edits, edited, mean_outputs
from interp.ablations.on_bridge import ablate
from interp.engine import generate, record, unembed
from interp.engine.replay import replay
from interp.tasks import GenerationRequest
from tests.helpers.families import (
    BY_HALF,
    N_LAYERS,
    assert_logits,
    delete_layers,
    deleted,
    random_tokens,
    tiny_bridge,
    tiny_model,
)

KINDS = ["layer:0", "layer:1", "layer:2", "attn:1", "mlp:1", "head:1.2", "head:0.1@mean",
         "kvgroup:1.1", "layers:0-1", "swap:1", "swap-attn:2", "layer:0+head:2.1",
         "layer:1+mlp:1"]  # fmt: skip
MEANS_OVER = ["w5 w6 w7", "w8 w9"]


@pytest.fixture(scope="module", params=BY_HALF)
def any_family(request):
    return request.param


@pytest.fixture(scope="module")
def any_model(any_family):
    return tiny_bridge(any_family)


def replayed_logits(model, tokens, text, *, donor=None):
    """Logits `[batch, pos, d_vocab]` by recording the baseline and replaying the ablation."""
    decoder, edits = models.decoder(model), checked_edits(model, text, donor=donor)
    means = mean_outputs(model, MEANS_OVER) if "mean" in text else None
    baseline = record(decoder, tokens, use_cache=False)
    with edited(model, edits, means):
        resid = replay(decoder, baseline, edits.first_layer(decoder.n_layers))
        rows = torch.cat(list(unembed(decoder, resid.flatten(end_dim=1))))
    return rows.view(*tokens.shape, -1)


@pytest.mark.slow
@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_replay_equals_the_deleted_layer(any_model, any_family, layer):
    tokens = random_tokens(3, 14)
    with torch.no_grad():
        expected = deleted(any_family, [layer])(tokens).logits
    assert_logits(replayed_logits(any_model, tokens, f"layer:{layer}"), expected)


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("text", KINDS)
def test_replay_equals_the_hooked_bridge(any_model, any_family, text):
    if any_family == "bloom" and text in ("mlp:1", "layer:1+mlp:1"):
        pytest.skip("BLOOM's bridge MLP adds the residual; covered against brute force below")
    tokens = random_tokens(2, 14)
    donor = tiny_bridge(any_family, seed=1) if "swap" in text else None
    with torch.no_grad(), ablate(any_model, text, donor=donor, reference=MEANS_OVER):
        expected = any_model(tokens)
    found = replayed_logits(any_model, tokens, text, donor=donor)
    assert_logits(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "text"), [("attn", "attn:1"), ("mlp", "mlp:1")])
def test_sublayers_equal_zeroed_output_weights(any_model, any_family, what, text):
    if any_family in ("mixtral", "qwen3_moe") and what == "mlp":
        pytest.skip("a mixture's experts have no single output matrix to zero")
    tokens, reference = random_tokens(2, 14), tiny_model(any_family)
    block = next(m for m in reference.modules() if isinstance(m, torch.nn.ModuleList))[1]
    endings = {
        "attn": ("o_proj", "c_proj", "dense", "out_proj"),
        "mlp": ("down_proj", "mlp.c_proj", "dense_4h_to_h", "fc2"),
    }[what]
    zeroed = []
    for name, module in block.named_modules():
        inside = ("attn" in name or "attention" in name) == (what == "attn")
        if inside and name.endswith(endings) and hasattr(module, "weight"):
            for parameter in module.parameters():
                parameter.data.zero_()
            zeroed.append(name)
    assert len(zeroed) == 1
    with torch.no_grad():
        expected = reference(tokens).logits
    assert_logits(replayed_logits(any_model, tokens, text), expected)


def test_the_empty_ablation_is_bit_identical(any_model):
    decoder, tokens = models.decoder(any_model), random_tokens(2, 14)
    baseline = record(decoder, tokens, use_cache=False)
    with edited(any_model, Edits()):
        for first in range(N_LAYERS + 1):
            assert torch.equal(replay(decoder, baseline, first), baseline.residuals[-1])


def test_edits_leave_the_native_blocks_as_they_were(any_model):
    decoder, tokens = models.decoder(any_model), random_tokens(2, 14)
    with torch.no_grad():
        plain = decoder.root(tokens).logits
        edits = checked_edits(any_model, ["layer:0", "head:1.1", "mlp:2", "attn:1"])
        with edited(any_model, edits):
            assert not torch.allclose(decoder.root(tokens).logits, plain, atol=1e-3)
        with pytest.raises(ZeroDivisionError), edited(any_model, edits):
            raise ZeroDivisionError
        assert torch.equal(decoder.root(tokens).logits, plain)


def prompts(until: tuple[str, ...] = (), longest: int = 10) -> list[GenerationRequest]:
    lengths = (9, 5, 7, 5)
    return [
        GenerationRequest(i, tuple(random_tokens(1, n, seed=i)[0].tolist()), until, longest)
        for i, n in enumerate(lengths)
    ]


def plain_greedy(model: transformers.PreTrainedModel, request: GenerationRequest) -> list[int]:
    """Token ids by transformers' own greedy generation, one prompt, no padding."""
    ids = torch.tensor([request.prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.max_gen_toks,
        do_sample=False, pad_token_id=0,
    )  # fmt: skip
    return out[0, ids.shape[1] :].tolist()


def text_of(tokens: list[int]) -> str:
    # ids 0 to 3 are special tokens, which are not decoded
    return " ".join(f"w{t}" for t in tokens if t > 3)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@pytest.mark.parametrize("layers", [[0], [1], [2], [0, 1], [1, 2]])
def test_batched_decoding_equals_transformers_on_the_deleted_layer(any_model, any_family, layers):
    reference = deleted(any_family, layers)
    text = "+".join(f"layer:{layer}" for layer in layers)
    (found,) = generate(any_model, prompts(), [checked_edits(any_model, text)])
    for request, answer in zip(prompts(), found, strict=True):
        assert answer.text == text_of(plain_greedy(reference, request))


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["attn:1", "mlp:1", "head:1.2", "kvgroup:0.1", "swap:1", "baseline"]
)
def test_batched_decoding_equals_one_prompt_at_a_time_without_a_cache(any_model, any_family, text):
    donor = tiny_bridge(any_family, seed=1)
    edits = checked_edits(any_model, text, donor=donor)
    (found,) = generate(any_model, prompts(), [edits])
    decoder = models.decoder(any_model)
    for request, answer in zip(prompts(), found, strict=True):
        tokens = list(request.prompt)
        with edited(any_model, edits), torch.no_grad():
            for _ in range(request.max_gen_toks):
                ids = torch.tensor([tokens])
                tokens.append(int(decoder.root(ids, use_cache=False).logits[0, -1].argmax()))
                if tokens[-1] == 2:
                    break
        assert answer.text == text_of(tokens[len(request.prompt) :])


def test_all_layers_but_one_can_be_skipped(llama):
    reference = delete_layers(tiny_model("llama"), [0, 2])
    (found,) = generate(llama, prompts(), [checked_edits(llama, "layer:0+layer:2")])
    expected = [text_of(plain_greedy(reference, r)) for r in prompts()]
    assert [a.text for a in found] == expected


def test_answers_end_at_stop_strings_and_budgets(llama):
    (free,) = generate(llama, prompts(), [Edits()])
    words = free[0].text.split()
    (cut,) = generate(llama, prompts(longest=3), [Edits()])
    assert cut[0].text.split() == words[:3]
    assert not cut[0].finished
    assert cut[0].n_tokens == 3
    (stopped,) = generate(llama, prompts(until=(words[4],)), [Edits()])
    before = free[0].text.split(words[4])[0]
    assert stopped[0].text == before
    assert stopped[0].finished
    (across,) = generate(llama, prompts(until=(f"{words[2]} {words[3]}",)), [Edits()])
    assert across[0].text == free[0].text.split(f"{words[2]} {words[3]}")[0]
    (empty,) = generate(llama, prompts(until=(words[0],)), [Edits()])
    assert empty[0].text == ""

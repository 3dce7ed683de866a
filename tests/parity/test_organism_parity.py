"""The shipped models: every layer skipped equals a Hugging Face model without that layer."""

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

import interp
from interp.ablations import checked_edits, edited
from interp.models import organisms
from interp.tasks import load_task
from tests.helpers.families import assert_logits, delete_layers, random_tokens
from tests.helpers.harness import harness_responses

NAMES = ("organism:base", "organism:distilled")
N_LAYERS = 8


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def bridge(name):
    return interp.load_model(name)


def without(name: str, layer: int) -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(organisms()[name], attn_implementation="eager")
    return delete_layers(model.eval(), [layer])


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_with_padding(bridge, name, layer, side):
    tokens, mask = random_tokens(3, 12), torch.ones(3, 12, dtype=torch.long)
    mask[1, :4] = 0
    mask[2, :9] = 0
    if side == "right":
        mask = mask.flip(1)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    kept = mask.bool()
    with torch.no_grad():
        given = {"attention_mask": mask, "position_ids": positions}
        expected = without(name, layer)(tokens, **given).logits
        with interp.ablate(bridge, f"layer:{layer}"):
            hooked = bridge(tokens, attention_mask=mask)
        with edited(bridge, checked_edits(bridge, f"layer:{layer}")) as decoder:
            native = decoder.root(tokens, **given).logits
    assert_logits(hooked[kept], expected[kept])
    assert_logits(native[kept], expected[kept])


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_logits_token_by_token_with_a_cache(bridge, name, layer):
    tokens = random_tokens(2, 9)
    with torch.no_grad():
        expected = without(name, layer)(tokens).logits
        with edited(bridge, checked_edits(bridge, f"layer:{layer}")) as decoder:
            cache, found = None, []
            for at in range(tokens.shape[1]):
                out = decoder.root(tokens[:, at : at + 1], past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                found.append(out.logits)
    assert_logits(torch.cat(found, dim=1), expected)


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["default", "continuation"])
@pytest.mark.parametrize("num_fewshot", [0, 3])
def test_sweeps_equal_the_harness_on_deleted_layers(bridge, name, tmp_path, protocol, num_fewshot):
    task = load_task(f"world-kv:{protocol}", num_fewshot=num_fewshot)
    run = interp.sweep(bridge, [task], interp.each_layer(bridge), out=tmp_path / "run", limit=4)
    found = run.responses().set_index(["ablation", "doc_id"])
    asked = [int(i) for i in sorted(set(run.responses()["doc_id"]))]
    tokenizer = AutoTokenizer.from_pretrained(organisms()[name])
    for layer in range(N_LAYERS):
        reference = without(name, layer)
        expected = harness_responses(reference, task, doc_ids=asked, tokenizer=tokenizer)
        for doc_id, options in expected.items():
            mine = list(found.loc[f"layer:{layer}", doc_id]["loglikelihoods"])
            wanted = [value for value, _ in options]
            # each is within 1e-4 of float64 (7.8e-5 here, 7.9e-5 there), and so not of the other
            assert mine == pytest.approx(wanted, abs=2e-4)
            assert max(range(4), key=mine.__getitem__) == max(range(4), key=wanted.__getitem__)

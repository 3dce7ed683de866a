"""The width of a head is read from the module that makes z, in each layer."""

import pytest
import torch
import transformers as hf

import interp
from interp.ablations import checked_edits, edited, mean_outputs
from interp.models import decoder, wrap
from tests.helpers.families import assert_logits, random_tokens

COMMON = {"vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
          "num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0}  # fmt: skip
MLA = {"q_lora_rank": 12, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
       "v_head_dim": 10, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
       "moe_intermediate_size": 16, "first_k_dense_replace": 1, "n_group": 1,
       "topk_group": 1}  # fmt: skip
CONFIGS = {
    # values are wider than the part of a key that the configuration calls head_dim
    "deepseek_v2": (
        lambda: hf.DeepseekV2Config(**COMMON, num_key_value_heads=4, **MLA),
        [10, 10, 10, 10],
    ),
    "deepseek_v3": (
        lambda: hf.DeepseekV3Config(**COMMON, num_key_value_heads=4, **MLA),
        [10, 10, 10, 10],
    ),
    # layers of full attention have wider heads
    "gemma4": (
        lambda: hf.Gemma4TextConfig(
            **COMMON, num_key_value_heads=2, head_dim=8, global_head_dim=16, sliding_window=8,
            num_kv_shared_layers=0, layer_types=["sliding_attention", "full_attention"] * 2,
            hidden_size_per_layer_input=8, vocab_size_per_layer_input=101,
        ),
        [8, 16, 8, 16],
    ),
}  # fmt: skip
IDS = random_tokens(2, 9)


def random_model(name):
    torch.manual_seed(0)
    root = hf.AutoModelForCausalLM.from_config(CONFIGS[name][0](), attn_implementation="eager")
    with torch.no_grad():
        for parameter in root.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    return root.eval()


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request):
    """A plain Hugging Face model, the same as a bridge, and the width of a head in each layer."""
    plain = random_model(request.param)
    return (
        plain,
        wrap(random_model(request.param), None, name=request.param),
        CONFIGS[request.param][1],
    )


def logits_with(plain, layer, change):
    """Plain logits where z of a layer is changed on its way into the output projection."""
    projection = plain.model.layers[layer].self_attn.o_proj
    handle = projection.register_forward_pre_hook(lambda _module, args: (change(args[0].clone()),))
    try:
        with torch.no_grad():
            return plain(input_ids=IDS).logits
    finally:
        handle.remove()


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_head_is_its_own_columns_of_the_output_projection(pair, layer):
    plain, model, widths = pair
    head, width = 2, widths[layer]
    columns = slice(head * width, (head + 1) * width)

    def zeroed(z):
        z[..., columns] = 0
        return z

    expected = logits_with(plain, layer, zeroed)
    with torch.no_grad():
        assert (expected - plain(input_ids=IDS).logits).abs().max() > 1e-3
        with interp.ablate(model, f"head:{layer}.{head}"):
            assert_logits(model(IDS), expected)
        with edited(model, checked_edits(model, f"head:{layer}.{head}")) as decoder:
            assert_logits(decoder.root(input_ids=IDS).logits, expected)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_mean_is_over_the_heads_own_columns(pair, layer):
    plain, model, widths = pair
    head, width, reference = 1, widths[layer], [[5, 6, 7, 8], [9, 10]]
    columns = slice(head * width, (head + 1) * width)
    seen = []
    projection = plain.model.layers[layer].self_attn.o_proj
    handle = projection.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0][0, :, columns])
    )
    with torch.no_grad():
        for tokens in reference:
            plain(input_ids=torch.tensor([tokens]))
    handle.remove()
    mean = torch.cat(seen).mean(dim=0)
    means = mean_outputs(model, reference)
    assert_logits(means[layer, "z"][head], mean)

    def averaged(z):
        z[..., columns] = mean
        return z

    expected = logits_with(plain, layer, averaged)
    with (
        torch.no_grad(),
        edited(model, checked_edits(model, f"head:{layer}.{head}@mean"), means) as decoder,
    ):
        assert_logits(decoder.root(input_ids=IDS).logits, expected)


def test_the_width_is_that_of_the_first_layer(pair):
    _, model, widths = pair
    assert decoder(model).d_head == widths[0]

"""`with interp.ablate(...)` on the bridge, against deleted layers and brute force."""

from typing import Any

import pytest
import torch

import interp
from interp.ablations import forward_replaced, mean_outputs
from interp.errors import UserError
from interp.models import decoder
from tests.helpers.families import (
    N_LAYERS,
    assert_logits,
    deleted,
    random_tokens,
    tiny_bridge,
    tiny_model,
)

LAYERS = range(N_LAYERS)


def padded(side: str, rows: int = 3, longest: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of 12, 9 and 6 tokens, padded on one side: ids and mask."""
    ids, mask = torch.zeros(rows, longest, dtype=torch.long), torch.zeros(rows, longest).long()
    for row in range(rows):
        length = longest - 3 * row
        at = slice(longest - length, None) if side == "left" else slice(0, length)
        ids[row, at] = random_tokens(1, length, seed=row)[0]
        mask[row, at] = 1
    return ids, mask


def positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_skipping_equals_deleting_with_padding(model, family, layer, side):
    ids, mask = padded(side)
    reference = deleted(family, [layer])
    with torch.no_grad():
        expected = reference(ids, attention_mask=mask, position_ids=positions(mask)).logits
        with interp.ablate(model, f"layer:{layer}"):
            found = model(ids, attention_mask=mask)
    assert_logits(found[mask == 1], expected[mask == 1])


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_skipping_equals_deleting_token_by_token(model, family, layer):
    prompt = random_tokens(1, 6)
    expected = deleted(family, [layer]).generate(
        prompt, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    with interp.ablate(model, f"layer:{layer}"):
        for cached in (True, False):
            found = model.generate(
                prompt, max_new_tokens=8, do_sample=False, verbose=False, stop_at_eos=False,
                use_past_kv_cache=cached, return_type="tokens",
            )  # fmt: skip
            assert found.tolist() == expected.tolist()


def test_the_empty_ablation_is_bit_identical(model):
    tokens = random_tokens(2, 10)
    with torch.no_grad():
        plain = model(tokens)
        with interp.ablate(model, []):
            assert torch.equal(model(tokens), plain)


def test_the_model_is_as_it_was_also_after_an_exception(model):
    tokens = random_tokens(2, 10)
    every = ["layer:0", "head:1.2", "attn:1", "mlp:2"]
    with torch.no_grad():
        plain = model(tokens)
        with interp.ablate(model, every):
            assert not torch.allclose(model(tokens), plain, atol=1e-3)
        assert torch.equal(model(tokens), plain)
        with pytest.raises(ZeroDivisionError), interp.ablate(model, every):
            raise ZeroDivisionError
        assert torch.equal(model(tokens), plain)
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_contexts_nest(model):
    tokens = random_tokens(2, 10)
    with torch.no_grad():
        with interp.ablate(model, ["layer:0", "layer:2"]):
            expected = model(tokens)
        with interp.ablate(model, "layer:0"), interp.ablate(model, "layer:2"):
            assert torch.equal(model(tokens), expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_before_the_layer_changes_and_the_cache_shows_the_skip(model, layer):
    tokens = random_tokens(2, 10)
    with torch.no_grad():
        _, plain = model.run_with_cache(tokens)
        with interp.ablate(model, f"layer:{layer}"):
            _, ablated = model.run_with_cache(tokens)
    for before in range(layer + 1):
        name = f"blocks.{before}.hook_resid_pre"
        assert torch.equal(plain[name], ablated[name])
    entered = ablated[f"blocks.{layer}.hook_resid_pre"]
    assert torch.equal(ablated[f"blocks.{layer}.hook_resid_post"], entered)


@pytest.mark.parametrize("head", range(4))
def test_a_head_equals_zeroed_columns_of_the_output_projection(model, family, head):
    tokens, reference = random_tokens(2, 10), tiny_model(family)
    zero_columns(reference, family, layer=1, heads=[head], d_head=decoder(model).d_head)
    with torch.no_grad(), interp.ablate(model, f"head:1.{head}"):
        assert_logits(model(tokens), reference(tokens).logits)


def test_a_head_is_not_its_kv_group(llama):
    tokens = random_tokens(2, 10)
    outputs = {}
    with torch.no_grad():
        for text in ("head:1.2", "head:1.3", "kvgroup:1.1", "head:1.2+head:1.3"):
            with interp.ablate(llama, text):
                outputs[text] = llama(tokens)
    assert (outputs["head:1.2"] - outputs["kvgroup:1.1"]).abs().max() > 1e-2
    assert torch.equal(outputs["kvgroup:1.1"], outputs["head:1.2+head:1.3"])


def test_a_kv_group_equals_zeroed_key_and_value_weights(llama):
    tokens, reference = random_tokens(2, 10), tiny_model("llama")
    attention = reference.model.layers[1].self_attn
    with torch.no_grad():
        attention.k_proj.weight[8:16] = 0
        attention.v_proj.weight[8:16] = 0
        with interp.ablate(llama, "kvgroup:1.1"):
            assert_logits(llama(tokens), reference(tokens).logits)


def test_all_heads_are_the_attention_where_its_projection_has_no_bias():
    for name in ("llama", "qwen3"):
        bridge, tokens = tiny_bridge(name), random_tokens(2, 10)
        with torch.no_grad():
            with interp.ablate(bridge, [f"head:1.{h}" for h in range(4)]):
                heads = bridge(tokens)
            with interp.ablate(bridge, "attn:1"):
                assert_logits(bridge(tokens), heads)


def test_attention_and_mlp_are_the_layer(model):
    tokens = random_tokens(2, 10)
    with torch.no_grad():
        with interp.ablate(model, "layer:1"):
            layer = model(tokens)
        with interp.ablate(model, "attn:1+mlp:1"):
            assert_logits(model(tokens), layer)


def test_a_mean_head_equals_brute_force(model):
    tokens, texts = random_tokens(2, 10), ["w5 w6 w7", "w8 w9 w10 w11 w12"]
    total, count = torch.zeros(()), 0
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([decoder(model).tokenizer.encode(text)])
            _, cache = model.run_with_cache(ids)
            z = cache["blocks.1.attn.hook_z"].reshape(ids.shape[1], 4, -1)[:, 3]
            total, count = total + z.sum(dim=0), count + len(z)
        mean = total / count
        assert_logits(mean_outputs(model, texts)[1, "z"][3], mean)

        def put(z, hook):
            z = z.clone().view(*z.shape[:2], 4, -1)
            z[:, :, 3] = mean
            return z.view(2, 10, -1) if hook_is_flat else z

        hook_is_flat = cache["blocks.1.attn.hook_z"].ndim == 3
        expected = model.run_with_hooks(tokens, fwd_hooks=[("blocks.1.attn.hook_z", put)])
        with interp.ablate(model, "head:1.3@mean", reference=texts):
            assert_logits(model(tokens), expected)


def test_a_mean_needs_a_reference_set(llama):
    with (
        pytest.raises(UserError, match=r"head:1\.3@mean: it needs a reference set"),
        interp.ablate(llama, "head:1.3@mean"),
    ):
        pass


@pytest.mark.slow
def test_swapping_equals_an_assembled_checkpoint(model, family):
    tokens, donor = random_tokens(2, 10), tiny_bridge(family, seed=1)
    reference = tiny_model(family)
    blocks(reference)[1].load_state_dict(blocks(tiny_model(family, seed=1))[1].state_dict())
    before = model(tokens)
    with torch.no_grad(), interp.ablate(model, "swap:1", donor=donor):
        assert_logits(model(tokens), reference(tokens).logits)
        native = decoder(model).root(tokens).logits
        assert_logits(native, reference(tokens).logits)
    assert torch.equal(model(tokens), before)


def test_a_swap_with_itself_changes_nothing(model):
    tokens = random_tokens(2, 10)
    with torch.no_grad():
        plain = model(tokens)
        with interp.ablate(model, "swap:0+swap:1", donor=model):
            assert torch.equal(model(tokens), plain)


def test_donors_that_do_not_fit_are_named(llama):
    with (
        pytest.raises(UserError, match=r"swap:0: the donor.*(no twin|is \[)"),
        interp.ablate(llama, "swap:0", donor=tiny_bridge("qwen3")),
    ):
        pass
    with pytest.raises(UserError, match="a swap needs a donor"), interp.ablate(llama, "swap:0"):
        pass


def test_an_ablation_that_does_nothing_is_an_error(llama):
    def silent(*args, **kwargs):
        return torch.zeros(1, 4, 32), None

    with (
        forward_replaced(llama.blocks[1].attn, silent),
        pytest.raises(RuntimeError, match=r"blocks\.1\.attn\.hook_z never fired"),
        interp.ablate(llama, "head:1.0"),
    ):
        llama(random_tokens(1, 4))


def test_layers_out_of_range_are_refused_before_any_work(llama):
    with (
        pytest.raises(UserError, match="layer 40: the model has layers 0-2"),
        interp.ablate(llama, "layer:40"),
    ):
        pass


def blocks(model: Any) -> torch.nn.ModuleList:
    """The list of blocks of a Hugging Face model."""
    return next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))


def zero_columns(
    model: torch.nn.Module, family: str, *, layer: int, heads: list[int], d_head: int
) -> None:
    """Zero what the output projection reads of some heads."""
    names = {"gpt2": "attn.c_proj", "gpt_neox": "attention.dense"}
    projection: Any = blocks(model)[layer].get_submodule(names.get(family, "self_attn.o_proj"))
    for head in heads:
        inputs = slice(head * d_head, (head + 1) * d_head)
        # GPT-2's Conv1D keeps its matrix transposed: [in, out]
        where = (inputs, slice(None)) if family == "gpt2" else (slice(None), inputs)
        projection.weight.data[where] = 0

"""Swaps against checkpoints that are put together by hand from two folders."""

import re

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import interp
from interp import models
from interp.ablations import (
    Edits,
    checked_edits,
    cumulative_swaps,
    each_swap,
    edited,
    family,
    part_parameters,
)
from interp.ablations.edits import Shape
from interp.ablations.swap_families import SWAP_FAMILIES, swapped_blocks
from interp.engine import Settings, generate, record, unembed
from interp.engine.replay import replay
from interp.errors import UserError
from interp.models import wrap
from interp.tasks import GenerationRequest
from tests.helpers.families import (
    BY_HALF,
    N_LAYERS,
    assert_logits,
    random_tokens,
    tiny_bridge,
    tiny_model,
)

# the norms' names in the checkpoints say too little: the same one belongs to either sublayer
ATTENTION = {
    "default": r"self_attn\.|input_layernorm",
    "gemma2": r"self_attn\.|input_layernorm|post_attention_layernorm",
    "gemma3": r"self_attn\.|input_layernorm|post_attention_layernorm",
    "olmo2": r"self_attn\.|post_attention_layernorm",
    "gpt2": r"attn\.|ln_1",
    "gpt_neox": r"attention\.|input_layernorm",
    "bloom": r"self_attention\.|input_layernorm",
    "opt": r"self_attn\.|self_attn_layer_norm",
}
BLOCK = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)\.(.*)")


def travels(name: str, family: str, text: str) -> bool:
    """Whether a tensor of a checkpoint is the donor's under a swap."""
    place, (form, _, layers) = BLOCK.search(name), text.partition(":")
    first, _, last = layers.partition("-")
    if place is None or not int(first) <= int(place[1]) <= int(last or first):
        return False
    attention = bool(re.match(ATTENTION.get(family, ATTENTION["default"]), place[2]))
    part = form.partition("-")[2]
    return not part or attention == (part == "attn")


@pytest.fixture(scope="module", params=BY_HALF)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def two(kind):
    """Recipient, donor, and their Hugging Face models."""
    return tiny_bridge(kind), tiny_bridge(kind, seed=1)


def assembled(kind: str, text: str) -> hf.PreTrainedModel:
    """The recipient's checkpoint with the donor's tensors in place of its own."""
    host, state = tiny_model(kind), tiny_model(kind, seed=1).state_dict()
    chosen = {name: tensor for name, tensor in state.items() if travels(name, kind, text)}
    assert 0 < len(chosen) < len(state)
    host.load_state_dict(chosen, strict=False)
    return host


TEXTS = ["swap:1", "swap-attn:1", "swap-mlp:1", "swaps:0-1", "swaps-attn:1-2", "swaps-mlp:0-1"]


@pytest.mark.thinned(share=3)
@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_every_swap_equals_an_assembled_checkpoint(kind, two, text):
    model, donor = two
    tokens, decoder = random_tokens(2, 12), models.decoder(model)
    with torch.no_grad():
        expected = assembled(kind, text)(tokens).logits
        plain = model(tokens)
        with interp.ablate(model, text, donor=donor):
            assert_logits(model(tokens), expected)
        baseline = record(decoder, tokens, use_cache=False)
        edits = checked_edits(model, text, donor=donor)
        with edited(model, edits):
            resid = replay(decoder, baseline, min(edits))
            rows = torch.cat(list(unembed(decoder, resid.flatten(end_dim=1))))
        assert_logits(rows.view(expected.shape), expected)
        assert (expected - plain).abs().max() > 1e-2
        assert torch.equal(model(tokens), plain)


def test_all_layers_are_the_donors_between_the_recipients_ends(kind, two):
    model, donor = two
    tokens, text = random_tokens(2, 12), f"swaps:0-{N_LAYERS - 1}"
    with torch.no_grad():
        expected = assembled(kind, text)(tokens).logits
        for swap in (text, f"swaps-attn:0-{N_LAYERS - 1}+swaps-mlp:0-{N_LAYERS - 1}"):
            with interp.ablate(model, swap, donor=donor):
                assert_logits(model(tokens), expected)
        assert (expected - donor(tokens)).abs().max() > 1e-2  # not the donor itself


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_a_swap_equals_two_folders_mixed_on_disk(kind, tmp_path):
    for name, seed in (("host", 0), ("donor", 1)):
        tiny_model(kind, seed=seed).save_pretrained(tmp_path / name)
    mine, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("host", "donor"))
    tokens = random_tokens(2, 12)
    for text in ("swap-attn:2", "swap-mlp:0", "swaps:1-2"):
        mixed = {n: theirs[n] if travels(n, kind, text) else t for n, t in mine.items()}
        (tmp_path / "mixed").mkdir(exist_ok=True)
        save_file(mixed, tmp_path / "mixed" / "model.safetensors", metadata={"format": "pt"})
        config = (tmp_path / "host" / "config.json").read_text()
        (tmp_path / "mixed" / "config.json").write_text(config)
        reference = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "mixed")
        model, donor = tiny_bridge(kind), tiny_bridge(kind, seed=1)
        with torch.no_grad(), interp.ablate(model, text, donor=donor):
            assert_logits(model(tokens), reference.eval()(tokens).logits)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "olmo2", "gpt2"])
def test_generated_texts_are_those_of_the_assembled_checkpoint(kind):
    model, donor = tiny_bridge(kind), tiny_bridge(kind, seed=1)
    prompts = [tuple(random_tokens(1, 5 + i, seed=i)[0].tolist()) for i in range(3)]
    asked = [GenerationRequest(i, (1, *p), (), 8) for i, p in enumerate(prompts)]
    edits = [Edits(), *(checked_edits(model, text, donor=donor) for text in TEXTS)]
    expected = []
    for text in TEXTS:
        reference, written = assembled(kind, text), []
        for request in asked:
            ids = torch.tensor([request.prompt])
            out = reference.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
            written.append(tuple(out[0, ids.shape[1] :].tolist()))
        expected.append(written)
    for settings in (Settings(), Settings(plain=True)):
        found = list(generate(model, asked, edits, settings=settings))[1:]
        assert [[answer.tokens for answer in answers] for answers in found] == expected, settings


def test_the_two_parts_are_the_block(kind, two):
    model, _ = two
    whole = {id(p) for p in part_parameters(model, 1).values()}
    attention = {id(p) for p in part_parameters(model, 1, "attention").values()}
    mlp = {id(p) for p in part_parameters(model, 1, "mlp").values()}
    assert attention | mlp == whole
    assert not attention & mlp


def test_one_norm_for_both_sublayers_is_refused():
    config = hf.GPTJConfig(
        vocab_size=101, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=8
    )
    both = [wrap(hf.AutoModelForCausalLM.from_config(config).eval(), None, name=n) for n in "ab"]
    with pytest.raises(UserError, match=r"swap-attn:1: .* share one norm; allowed is swap:1"):
        checked_edits(both[0], "swap-attn:1", donor=both[1])
    checked_edits(both[0], "swaps:0-1", donor=both[1])


def test_of_two_swaps_of_the_same_weights_the_later_holds(llama):
    one, other = tiny_bridge("llama", seed=1), tiny_bridge("llama", seed=2)
    tokens = random_tokens(2, 8)
    both = interp.SwapLayer(1, one) + interp.SwapLayer(1, other, "mlp")
    parts = interp.SwapLayer(1, one, "attention") + interp.SwapLayer(1, other, "mlp")
    with torch.no_grad():
        with interp.ablate(llama, parts):
            expected = llama(tokens)
        with interp.ablate(llama, both):
            assert torch.equal(llama(tokens), expected)


def test_families(llama):
    donor = tiny_bridge("llama", seed=1)

    def texts(ablations):
        return [a.text for a in ablations]

    assert texts(each_swap(llama, donor, part="mlp")) == ["swap-mlp:0", "swap-mlp:1", "swap-mlp:2"]
    assert texts(cumulative_swaps(llama, donor)) == ["swap:0", "swaps:0-1", "swaps:0-2"]
    down = cumulative_swaps(llama, donor, start="last", part="attention")
    assert texts(down) == ["swap-attn:2", "swaps-attn:1-2", "swaps-attn:0-2"]
    assert texts(swapped_blocks(llama, donor, 2)) == ["swaps:0-1", "swaps:1-2"]
    for name in (*SWAP_FAMILIES, "swap-blocks:2"):
        assert all(a.edits(Shape(N_LAYERS, 4, 2)) for a in family(name, llama, donor))
        with pytest.raises(UserError, match=r"give donor=MODEL \(--donor MODEL\)"):
            family(name, llama)
    with pytest.raises(UserError, match=r"write swaps-mlp:3-5"):
        interp.parse("swaps-mlp:5-3")
    with pytest.raises(UserError, match=r"block size 4: allowed are 1-3"):
        swapped_blocks(llama, donor, 4)

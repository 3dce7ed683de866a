"""Quantised models: every ablation that needs no weights, against the Hugging Face model itself."""

import inspect

import pytest
import torch
import transformers

import interp
from interp.ablations import checked_edits
from interp.engine import score_requests
from interp.errors import UserError
from interp.models import decoder, quantization_of, weights_hash
from interp.models.placement import weight_bytes
from interp.models.quantised import quantization_config
from interp.sweeps.transport import pack_model
from tests.helpers.families import assert_logits, delete_layers, tiny_model, tiny_tokenizer
from tests.helpers.scoring import some_requests

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt")
TOKENS = torch.arange(4, 22).view(2, 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def plain(folder, bits):
    """The quantised model in transformers."""
    how = {"4bit": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
           "8bit": {"load_in_8bit": True}}[bits]  # fmt: skip
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        quantization_config=transformers.BitsAndBytesConfig(**how),
        dtype=torch.float32,
        attn_implementation="eager",
    ).eval()


@pytest.fixture(scope="module", params=["4bit", "8bit"])
def bits(request):
    return request.param


@pytest.fixture(scope="module")
def model(folder, bits):
    return interp.load_model(folder, quantize=bits)


@pytest.mark.slow
def test_ablations_are_those_of_the_edited_model(model, folder, bits):
    assert quantization_of(model) == f"bitsandbytes {bits}"
    with torch.no_grad():
        expected = plain(folder, bits)(TOKENS).logits
        whole = tiny_model("llama")(TOKENS).logits
        assert (expected - whole).abs().max() > 0.01  # it is quantised
        assert_logits(decoder(model).root(TOKENS).logits, expected)
        for layer in range(3):
            edited = delete_layers(plain(folder, bits), [layer])
            with interp.ablate(model, f"layer:{layer}"):
                assert_logits(model(TOKENS), edited(TOKENS).logits)
        edited = plain(folder, bits)

        def without_head_2(_module, args):
            z = args[0].clone()
            z[..., 16:24] = 0
            return (z,)

        edited.model.layers[1].self_attn.o_proj.register_forward_pre_hook(without_head_2)
        with interp.ablate(model, "head:1.2"):
            assert_logits(model(TOKENS), edited(TOKENS).logits)


@pytest.mark.slow
def test_scores_are_those_of_one_row_at_a_time(model, folder, bits):
    requests = some_requests(examples=3)
    texts = ["layer:1", "attn:0", "mlp:2"]
    found = score_requests(model, requests, [checked_edits(model, text) for text in texts])
    edited = delete_layers(plain(folder, bits), [1])
    for request, (value, _) in zip(requests, found[0], strict=True):
        tokens = torch.tensor([[*request.context, *request.continuation]])
        with torch.no_grad():
            logprobs = edited(tokens).logits[0].log_softmax(dim=-1)
        start = len(request.context) - 1
        expected = sum(
            float(logprobs[start + i, token]) for i, token in enumerate(request.continuation)
        )
        # activations are rounded to 8 bits, and a rounding that falls otherwise is seen
        assert value == pytest.approx(expected, abs=1e-3 if bits == "4bit" else 0.05)


def test_answers_are_written(model):
    assert interp.generate(model, "w5 w6", "layer:1", max_new_tokens=4)


def test_what_needs_full_weights_is_refused_by_name(model, bits):
    other = interp.load_model("organism:base")
    for work in (
        lambda: checked_edits(model, "swap:1", donor=model),
        lambda: interp.comparison.weight_distances(model, model),
        lambda: pack_model(model),
    ):
        with pytest.raises(UserError, match=rf"quantised \(bitsandbytes {bits}\)"):
            work()
    assert quantization_of(other) == ""


def test_scales_are_part_of_what_a_run_is(folder):
    model = interp.load_model(folder, quantize="4bit")
    before = weights_hash(model)
    state = decoder(model).root.model.layers[0].mlp.up_proj.weight.quant_state
    state.absmax.mul_(1.5)
    assert weights_hash(model) != before


def test_options_that_cannot_be_are_refused(folder, monkeypatch):
    with pytest.raises(UserError, match="quantize 3bit: allowed are 4bit, 8bit"):
        inspect.unwrap(quantization_config)("model", "3bit", torch.float32)
    monkeypatch.setattr("interp.models.quantised.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"interp\[quantized\]"):
        interp.load_model(folder, quantize="4bit")


@pytest.mark.slow
def test_a_checkpoint_that_was_saved_quantised_loads(folder, tmp_path, bits):
    if bits == "8bit":
        pytest.skip("one format of a saved checkpoint is enough")
    plain(folder, bits).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = interp.load_model(tmp_path)
    assert quantization_of(model) == "bitsandbytes 4bit"
    with torch.no_grad():
        assert_logits(model(TOKENS), plain(folder, bits)(TOKENS).logits)
    with pytest.raises(UserError, match="quantised already"):
        interp.load_model(tmp_path, quantize="8bit")
    assert weight_bytes(tmp_path, torch.float32, stored=True) < weight_bytes(folder, torch.float32)


def test_the_room_that_is_needed_is_that_of_few_bits(folder):
    full = weight_bytes(folder, torch.float32)
    four = weight_bytes(folder, torch.float32, quantize="4bit")
    root = plain(folder, "4bit")
    held = sum(p.numel() * p.element_size() for p in root.parameters())
    assert held <= four < 1.2 * held < full


def test_the_dtype_of_the_checkpoint(folder, tmp_path):
    tiny_model("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert next(interp.load_model(tmp_path, dtype="auto").parameters()).dtype == torch.bfloat16
    assert next(interp.load_model(folder, dtype="auto").parameters()).dtype == torch.float32

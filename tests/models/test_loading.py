"""Loading: one copy of the weights, plain bridges, and one-line errors."""

import gc
import json
from pathlib import Path

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module

import interp
from interp import models
from interp.errors import UserError
from interp.models import load_model, model_folder, model_name, weights_hash
from tests.helpers.families import random_tokens, tiny_bridge, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model("llama").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_bridge_is_plain_and_equals_hugging_face(model, family):
    assert type(model) is TransformerBridge
    assert not model.compatibility_mode
    tokens = random_tokens(2, 12)
    with torch.no_grad():
        expected = tiny_model(family)(tokens).logits
        torch.testing.assert_close(model(tokens), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            models.decoder(model).root(tokens).logits, expected, atol=1e-5, rtol=0
        )


def test_native_blocks_share_every_parameter(model):
    bridge = {p.data_ptr() for p in model.parameters()}
    native = {p.data_ptr() for p in models.decoder(model).root.parameters()}
    # TransformerLens itself adds split copies of joint q, k, v matrices to its bridge
    assert native <= bridge


@pytest.mark.slow
def test_loading_costs_the_memory_of_one_copy(folder):
    def living() -> list[torch.Tensor]:
        gc.collect()
        return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]

    def storages(tensors: list[torch.Tensor]) -> dict[int, int]:
        found = [tensor.untyped_storage() for tensor in tensors]
        return {storage.data_ptr(): storage.nbytes() for storage in found}

    held = living()  # they stay, so that none of their addresses is given anew
    model = load_model(folder)
    models.decoder(model)
    before = storages(held)
    grown = sum(size for at, size in storages(living()).items() if at not in before)
    one_copy = sum(p.numel() * p.element_size() for p in model.parameters())
    assert one_copy <= grown < 1.5 * one_copy


def test_folder_loads_with_its_tokenizer_and_name(folder):
    model = load_model(str(folder))
    assert model_name(model) == folder.name
    assert models.decoder(model).tokenizer.encode("w5 w6") == [1, 5, 6]


def test_dtype(folder):
    assert next(load_model(folder, dtype="bfloat16").parameters()).dtype == torch.bfloat16
    with pytest.raises(UserError, match="dtype int8: allowed are float32, bfloat16, float16"):
        load_model(folder, dtype="int8")


def test_a_bridge_booted_by_hand_works_by_its_own_blocks():
    root = tiny_model("llama")
    hand_made = build_bridge_from_module(root, "LlamaForCausalLM", hf_config=root.config)
    decoder = models.decoder(hand_made)
    assert decoder.blocks[0] is hand_made.blocks[0]
    assert (decoder.n_layers, decoder.n_heads, decoder.n_kv_heads, decoder.d_head) == (3, 4, 2, 8)


def test_head_width_is_not_derived_from_the_hidden_size():
    assert models.decoder(tiny_bridge("qwen3")).d_head == 16


def test_weights_hash_sees_one_changed_number():
    model = tiny_bridge("llama")
    before = weights_hash(model)
    assert before == weights_hash(tiny_bridge("llama"))
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    assert weights_hash(model) != before


def test_compatibility_mode_is_refused():
    model = tiny_bridge("llama")
    model.compatibility_mode = True
    with pytest.raises(UserError, match="has rewritten its weights"):
        models.decoder(model)


def test_unknown_models_are_named(monkeypatch):
    with pytest.raises(UserError, match=r"model no/such-model: no folder .* give the path"):
        load_model("no/such-model")
    with pytest.raises(UserError, match="organism:nobody: the shipped organisms are"):
        load_model("organism:nobody")


def test_a_folder_without_config_is_named(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.json"):
        load_model(tmp_path)


def test_pickles_are_refused_unless_asked_for(folder):
    state = tiny_model("llama").state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"only pickles \(pytorch_model\.bin\).*allow_pickle=True"):
        load_model(folder)
    tokens = random_tokens(1, 5)
    with torch.no_grad():
        loaded = load_model(folder, allow_pickle=True)(tokens)
        torch.testing.assert_close(loaded, tiny_model("llama")(tokens).logits)


def test_code_that_comes_with_a_model_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('this must never run')")
    with pytest.raises(UserError, match="comes with Python code of its own"):
        load_model(folder)


def test_no_weights_is_said(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights in"):
        load_model(folder)


def test_importing_the_package_loads_nothing_heavy():
    import subprocess
    import sys

    heavy = {"torch", "transformers", "matplotlib"}
    code = f"import sys, interp; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
    assert len(interp.__all__) <= 72


@pytest.mark.parametrize("name", ["organism:base", "."])
def test_a_revision_of_a_folder_is_refused(name):
    with pytest.raises(UserError, match=r"revision main: .* is a local folder; only hub models"):
        model_folder(name, "main")


def test_a_model_in_memory_is_taken_as_it_is():
    root = tiny_model("llama").to(torch.bfloat16).train()
    tokens = random_tokens(1, 6)
    expected = tiny_model("llama").to(torch.bfloat16)(tokens).logits
    model = load_model(root, tokenizer=tiny_tokenizer())
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), expected, atol=0.1, rtol=0)
    assert (model_name(model), next(model.parameters()).dtype) == (
        "LlamaForCausalLM",
        torch.bfloat16,
    )
    assert not model.training
    assert isinstance(interp.generate(model, "w5 w6", max_new_tokens=2), str)


def test_a_tokenizer_is_for_models_in_memory_and_headless_models_are_refused(folder):
    with pytest.raises(UserError, match="tokenizer= is for an object"):
        load_model(folder, tokenizer=tiny_tokenizer())
    with pytest.raises(UserError, match="LlamaModel is no model that predicts tokens"):
        load_model(tiny_model("llama").model)

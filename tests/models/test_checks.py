"""Models that would give wrong numbers, or none, are refused by name when they are loaded."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import interp
from interp import models
from interp.errors import UserError
from interp.models import load_model, wrap
from interp.tasks import encode
from tests.helpers.families import tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model("llama").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def tensors_changed(folder: Path, change: Callable[[dict], dict]) -> None:
    changed = change(load_file(folder / "model.safetensors"))
    weights = {name: tensor.clone() for name, tensor in changed.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def configured(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def without(text: str) -> Callable[[dict], dict]:
    return lambda weights: {k: v for k, v in weights.items() if text not in k}


def renamed(old: str, new: str) -> Callable[[dict], dict]:
    return lambda weights: {k.replace(old, new): v for k, v in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.1.mlp.up_proj"), r"lack model\.layers\.1\.mlp\.up_proj\.weight, which"),
        (without("layers.1"), r"lack model\.layers\.1\..* and \d more \(\d in all\)"),
        (renamed("model.layers.1", "x.layers.1"), r"lack model\.layers\.1.* and have x\.layers\.1"),
        (without("lm_head"), r"lack lm_head\.weight"),
        (lambda w: w | {"model.layers.1.own": torch.zeros(2)}, r"have model\.layers\.1\.own"),
        (lambda w: w | {"lm_head.weight": torch.zeros(101, 16)}, r"\[101, 16\].*\[101, 32\]"),
        (lambda w: w | renamed("layers.2.", "layers.3.")(w),
         r"config\.json says num_hidden_layers 3, its weights have 4 \(model\.layers\)"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_by_name(folder, change, message):
    tensors_changed(folder, change)
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_tied_weights_are_not_missing(folder):
    tensors_changed(folder, without("lm_head"))
    configured(folder, tie_word_embeddings=True)
    assert models.decoder(load_model(folder)).n_layers == 3


def test_tables_that_are_derived_are_not_spare(folder):
    table = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    tensors_changed(folder, lambda weights: weights | table)
    assert models.decoder(load_model(folder)).n_layers == 3


@pytest.mark.parametrize("count", [0, -1, 2, 4, 10**9, 2.5, "3", None, True])
def test_a_number_of_layers_that_the_weights_do_not_have_is_refused(folder, count):
    configured(folder, num_hidden_layers=count)
    with pytest.raises(UserError, match=r"config\.json says num_hidden_layers"):
        load_model(folder)


@pytest.mark.parametrize("family", [[], {}, 3, True])
def test_a_family_that_is_no_name_is_refused(folder, family):
    configured(folder, model_type=family)
    with pytest.raises(UserError, match=r"config\.json says model_type"):
        load_model(folder)


def test_a_device_without_numbers_is_refused(folder):
    with pytest.raises(UserError, match=r"device meta: .*allowed are cpu, cuda"):
        load_model(folder, device="meta")


def test_a_configuration_that_is_nested_without_end_is_refused(folder):
    (folder / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        load_model(folder)


def test_an_architecture_that_is_no_decoder_is_refused(folder):
    configured(folder, architectures=["BertForMaskedLM"])
    try:
        model = load_model(folder)
    except UserError as error:
        assert "model model" in str(error) or str(folder) in str(error)  # noqa: PT017
    else:
        assert models.decoder(model).n_layers == 3


COMMON = {"vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
          "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}  # fmt: skip
UNSUPPORTED = {
    "openai-gpt": lambda: hf.OpenAIGPTConfig(
        vocab_size=101, n_embd=32, n_layer=4, n_head=4, n_positions=64
    ),
    "opt-350m": lambda: hf.OPTConfig(
        vocab_size=101, hidden_size=32, ffn_dim=48, num_hidden_layers=4, num_attention_heads=4,
        word_embed_proj_dim=16, do_layer_norm_before=False,
    ),
    "falcon-40b": lambda: hf.FalconConfig(
        vocab_size=101, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
        num_kv_heads=2, new_decoder_architecture=True, alibi=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_families_that_cannot_be_taken_apart_are_refused_when_they_are_loaded(name):
    root = hf.AutoModelForCausalLM.from_config(UNSUPPORTED[name]()).eval()
    with pytest.raises(UserError, match=f"model {name}: ") as caught:
        wrap(root, tiny_tokenizer(), name=name)
    assert type(root).__name__ in str(caught.value)


def test_a_failure_of_the_device_is_not_called_one_of_the_family(monkeypatch):
    def fails(*_args):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("interp.models.native_blocks._native_decoder", fails)
    with pytest.raises(UserError, match=r"cannot be taken apart \(CUDA error") as caught:
        wrap(tiny_model("llama"), tiny_tokenizer(), name="x")
    assert "an attention and an MLP" not in str(caught.value)


def test_tokens_outside_the_embedding_are_named_at_load_and_refused_in_a_prompt(folder, caplog):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(folder)
    with caplog.at_level(logging.WARNING, logger="interp"):
        model = load_model(folder)
    assert r"2 tokens of its tokenizer lie outside its embedding of 101 rows" in caplog.text
    assert "[PAD] (101)" in caplog.text
    decoder = models.decoder(model)
    assert decoder.pad_id == 0
    with pytest.raises(UserError, match=r"token 102 \(extra\): the model's embedding has 101 rows"):
        encode("w5 extra w6", decoder)
    assert encode("w5 w6", decoder) == tiny_tokenizer().encode("w5 w6")


def test_padding_with_a_token_outside_the_embedding_changes_no_answer(folder):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    model = wrap(tiny_model("bloom"), tokenizer, name="bloom")
    prompts = ["w5 w6 w7 w8 w9 w10", "w11"]
    alone = [interp.generate(model, prompt, max_new_tokens=4) for prompt in prompts]
    assert interp.generate(model, prompts, max_new_tokens=4) == alone


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (hf.MptConfig(vocab_size=101, d_model=32, n_heads=4, n_layers=2, max_seq_len=48), 48),
        (hf.BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4, seq_length=40), 40),
        (hf.GPT2Config(vocab_size=101, n_embd=32, n_layer=2, n_head=4, n_positions=56), 56),
        (hf.BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4), 2048),
    ],
)
def test_the_context_length_has_many_names(config, length):
    root = hf.AutoModelForCausalLM.from_config(config).eval()
    assert models.decoder(wrap(root, None, name="x")).max_length == length


def test_the_context_length_may_be_the_tokenizers():
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer, model_max_length=32
    )
    root = hf.AutoModelForCausalLM.from_config(
        hf.BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4)
    )
    assert models.decoder(wrap(root.eval(), tokenizer, name="x")).max_length == 32

"""What lies beside the weights of a pruned folder: all that belongs to it, and nothing else."""

import json
import os

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from interp.ablations import on_disk, prune
from interp.errors import UserError
from tests.helpers.families import FAMILIES, tiny_model, tiny_tokenizer

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def configured(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def written_config(folder):
    return json.loads((folder / "config.json").read_text())


def test_all_chat_templates_are_kept(folder, tmp_path):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = {"default": TEMPLATE, "tool_use": f"tools {TEMPLATE}"}
    tokenizer.save_pretrained(folder)
    prune(folder, "layer:1", out=tmp_path / "pruned")
    kept = hf.AutoTokenizer.from_pretrained(tmp_path / "pruned").chat_template
    assert kept == {"default": TEMPLATE, "tool_use": f"tools {TEMPLATE}"}


@pytest.mark.parametrize("file", ["tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"[1]", b"\xff", b""])
def test_a_damaged_file_is_named_and_nothing_is_left(folder, tmp_path, file, content):
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"its {file} cannot be read"):
        prune(folder, "layer:1", out=tmp_path / "pruned")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_code_that_stays_behind_is_not_named(folder, tmp_path):
    configured(folder, auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    (folder / "modeling_own.py").write_text("raise SystemExit")
    prune(folder, "layer:1", out=tmp_path / "pruned")
    assert "auto_map" not in written_config(tmp_path / "pruned")
    assert not list((tmp_path / "pruned").glob("*.py"))
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "pruned", trust_remote_code=True)
    assert model.config.num_hidden_layers == 2


def test_layers_that_the_quantisation_names_are_renumbered(folder, tmp_path):
    names = ["model.layers.2.mlp.down_proj", "model.layers.0.mlp", "lm_head", "model.layers.1"]
    configured(folder, quantization_config={
        "quant_method": "fp8", "modules_to_not_convert": names, "weight_block_size": [16, 16],
        "activation_scheme": "dynamic", "per_layer": {"model.layers.2.mlp": 4, "lm_head": 8},
    })  # fmt: skip
    prune(folder, "layer:0", out=tmp_path / "pruned")
    found = written_config(tmp_path / "pruned")["quantization_config"]
    assert found["modules_to_not_convert"] == [
        "model.layers.1.mlp.down_proj",
        "lm_head",
        "model.layers.0",
    ]
    assert found["weight_block_size"] == [16, 16]


def test_layers_that_are_named_by_an_expression_are_refused(folder, tmp_path):
    configured(folder, quantization_config={
        "quant_method": "fp8", "modules_to_not_convert": [r"re:.*layers\.2\..*"],
        "activation_scheme": "dynamic",
    })  # fmt: skip
    with pytest.raises(UserError, match="names layers by an expression"):
        prune(folder, "layer:0", out=tmp_path / "pruned")
    assert not (tmp_path / "pruned").exists()


def test_layers_that_predict_further_tokens_are_left_out(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    last = {k: v for k, v in weights.items() if "layers.2." in k}
    weights |= {k.replace("layers.2.", "layers.3."): v.clone() for k, v in last.items()}
    weights["model.layers.3.eh_proj.weight"] = torch.zeros(2, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    configured(folder, num_nextn_predict_layers=1)
    written = prune(folder, "layer:1", out=tmp_path / "pruned")
    assert written.kept == (0, 2)
    kept = load_file(tmp_path / "pruned" / "model.safetensors")
    assert {k.split(".")[2] for k in kept if "layers" in k} == {"0", "1"}
    assert written_config(tmp_path / "pruned")["num_nextn_predict_layers"] == 0


def test_notes_and_scores_of_the_original_are_not_taken_along(folder, tmp_path):
    for name in ("scores.json", "training.json", "README.md", "notes.txt"):
        (folder / name).write_text("{}")
    prune(folder, "layer:1", out=tmp_path / "pruned")
    found = {path.name for path in (tmp_path / "pruned").iterdir()}
    assert not found & {"scores.json", "training.json", "notes.txt"}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= found
    assert "without layer:1" in (tmp_path / "pruned" / "README.md").read_text()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX'")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_modes_follow_the_umask(folder, tmp_path, umask):
    before = os.umask(umask)
    try:
        prune(folder, "layer:1", out=tmp_path / "pruned")
    finally:
        os.umask(before)
    for path in (tmp_path / "pruned").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path
    assert (tmp_path / "pruned").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_folder_that_does_not_load_again_is_not_left_behind(folder, tmp_path, monkeypatch):
    write = on_disk._write_weights

    def losing(source, out, shards, stack, kept):
        fewer = {
            file: [k for k in keys if "layers.2.mlp" not in k] for file, keys in shards.items()
        }
        return write(source, out, fewer, stack, kept)

    monkeypatch.setattr(on_disk, "_write_weights", losing)
    with pytest.raises(UserError, match=r"pruned model does not load.*lack model\.layers\.1\.mlp"):
        prune(folder, "layer:1", out=tmp_path / "pruned")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_needs_code_of_its_own_is_refused_in_one_line(folder, tmp_path):
    configured(folder, model_type="own", auto_map={"AutoConfig": "configuration_own.Own"})
    with pytest.raises(UserError, match="code of its own"):
        prune(folder, "layer:1", out=tmp_path / "pruned")


def test_lists_of_layers_inside_a_dict_are_cut_and_others_kept():
    config = FAMILIES["llama"]()
    config.own = {"layer_scales": [1, 2, 3], "long_factor": [1.0, 2.0, 3.0]}
    pruned = on_disk.pruned_config(config, (0, 2))
    assert pruned.own == {"layer_scales": [1, 3], "long_factor": [1.0, 2.0, 3.0]}

"""A pruned folder, in plain transformers, gives what the ablated model gives."""

import json

import pytest
import torch
import transformers as hf

import interp
from interp.ablations import prune
from interp.ablations.edits import Shape
from interp.ablations.on_disk import pruned_config
from interp.cli import main
from interp.errors import UserError
from tests.helpers.families import (
    FAMILIES,
    N_LAYERS,
    assert_logits,
    random_tokens,
    tiny_model,
    tiny_tokenizer,
)
from tests.helpers.regimes import model_of
from tests.helpers.shared import SHARED


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request, tmp_path_factory):
    """A random checkpoint of each family, as it lies on disk."""
    path = tmp_path_factory.mktemp("checkpoint") / request.param
    tiny_model(request.param).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.mark.thinned(share=2)
@pytest.mark.slow
@pytest.mark.parametrize("ablation", ["layer:0", "layer:1", "layer:2"])
def test_a_pruned_folder_gives_what_the_ablated_model_gives(folder, tmp_path, ablation):
    written = prune(folder, ablation, out=tmp_path / "pruned")
    assert len(written.kept) == N_LAYERS - len(interp.parse(ablation).edits(Shape(N_LAYERS, 4, 2)))
    plain = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").eval()
    assert plain.config.get_text_config().num_hidden_layers == len(written.kept)
    model = interp.load_model(folder)
    # longer than every sliding window
    tokens = random_tokens(2, 20, seed=3)
    with torch.no_grad(), interp.ablate(model, ablation):
        ablated = model(tokens, return_type="logits")
        assert_logits(plain(tokens).logits, ablated)
        step_by_step = ablated_text(model, tokens[:1], 8)
    for use_cache in (True, False):
        text = plain.generate(
            tokens[:1], attention_mask=torch.ones_like(tokens[:1]), max_new_tokens=8,
            min_new_tokens=8, do_sample=False, use_cache=use_cache,
        )  # fmt: skip
        assert text[0, 20:].tolist() == step_by_step
    before, after = (hf.AutoTokenizer.from_pretrained(p) for p in (folder, tmp_path / "pruned"))
    assert after.encode("w9 w8") == before.encode("w9 w8")


def ablated_text(model, tokens, count):
    """Greedy text of the ablated bridge without a cache, token by token; EOS does not count."""
    found = []
    for _ in range(count):
        logits = model(tokens, return_type="logits")[0, -1]
        logits[2] = -torch.inf
        found.append(int(logits.argmax()))
        tokens = torch.cat([tokens, torch.tensor([[found[-1]]])], dim=1)
    return found


@pytest.mark.parametrize("ablation", ["layer:0", "layer:3", "layers:1-2"])
def test_what_transformers_builds_no_model_of_is_refused_before_work(tmp_path, ablation):
    """Gemma 4 counts from its last layer which ones use the keys and values of others."""
    model_of("shared keys").save_pretrained(tmp_path / "m")
    tiny_tokenizer().save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match=r"no configuration of its layers .* alone .*cache"):
        prune(tmp_path / "m", ablation, out=tmp_path / "p")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_pruned_folder_is_swept_like_any_other(tmp_path):
    tiny_model("qwen3").save_pretrained(tmp_path / "m")
    tiny_tokenizer().save_pretrained(tmp_path / "m")
    assert prune(tmp_path / "m", "layers:0-1", out=tmp_path / "block").kept == (2,)
    prune(tmp_path / "m", "layer:1", out=tmp_path / "p")
    again = prune(tmp_path / "p", "layer:0", out=tmp_path / "pp")
    assert again.kept == (1,)
    assert len(list(interp.each_layer(interp.load_model(tmp_path / "pp")))) == 1


def test_shards_and_types_stay_as_they_are(tmp_path):
    model = tiny_model("llama").to(torch.bfloat16)
    model.save_pretrained(tmp_path / "m", max_shard_size="20KB")
    before = {n: p.clone() for n, p in model.state_dict().items()}
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    prune(tmp_path / "m", "layer:0", out=tmp_path / "p")
    pruned = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "p", dtype="auto")
    for name, value in pruned.state_dict().items():
        old = name.replace("layers.1.", "layers.2.").replace("layers.0.", "layers.1.")
        assert value.dtype == torch.bfloat16
        assert torch.equal(value, before[old])
    index = json.loads((tmp_path / "p" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {
        p.name for p in (tmp_path / "p").glob("*.safetensors")
    }


def test_every_per_layer_entry_of_a_configuration_is_cut():
    config = hf.Gemma3TextConfig(num_hidden_layers=8, sliding_window_pattern=3)
    pruned = pruned_config(config, (0, 2, 5, 7))
    assert pruned.layer_types == [config.layer_types[n] for n in (0, 2, 5, 7)]
    moe = hf.Qwen3MoeConfig(num_hidden_layers=8, decoder_sparse_step=2, mlp_only_layers=[3])
    cut = pruned_config(moe, (1, 2, 3, 7))
    # even layers are dense by the step, layer 3 by the list
    assert (cut.mlp_only_layers, cut.decoder_sparse_step, cut.num_hidden_layers) == ([1, 2], 1, 4)
    qwen = hf.Qwen2Config(
        num_hidden_layers=6, use_sliding_window=True, sliding_window=8, max_window_layers=4
    )
    cut = pruned_config(qwen, (0, 3, 4, 5))
    assert cut.layer_types == [qwen.layer_types[n] for n in (0, 3, 4, 5)]
    assert cut.max_window_layers == 2
    ends = hf.LlamaConfig(num_hidden_layers=3, eos_token_id=[1, 2, 3])
    assert pruned_config(ends, (0,)).eos_token_id == [1, 2, 3]


def test_layers_that_compute_by_their_number_are_refused(tmp_path):
    config = FAMILIES["gpt2"]()
    config.scale_attn_by_inverse_layer_idx = True
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match=r"layer 1 would compute differently as layer 0 \(.*scal"):
        prune(tmp_path / "m", "layer:0", out=tmp_path / "p")
    assert not (tmp_path / "p").exists()
    # the layers in front keep their numbers
    assert prune(tmp_path / "m", "layer:2", out=tmp_path / "p").kept == (0, 1)


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        ("head:0.1", "only whole layers can be removed"),
        ("attn:1", "only whole layers can be removed"),
        ("layer:1+mlp:0", "only whole layers can be removed"),
        ("layer:3", "layer 3: the model has layers 0-2"),
        ("layers:0-2", "no layer would be left"),
        ("baseline", "only whole layers can be removed"),
    ],
)
def test_what_cannot_be_pruned_is_refused_and_nothing_written(tmp_path, capsys, ablation, message):
    tiny_model("llama").save_pretrained(tmp_path / "m")
    arguments = ["prune", str(tmp_path / "m"), "--ablate", ablation, "--out", str(tmp_path / "p")]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_with_files_and_pickled_weights_are_refused(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        prune(tmp_path / "m", "layer:0", out=tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(UserError, match="only safetensors are pruned"):
        prune(tmp_path / "m", "layer:0", out=tmp_path / "p")
    (tmp_path / "m" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json has no weight_map"):
        prune(tmp_path / "m", "layer:0", out=tmp_path / "p")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real model is not there ({SHARED})")
def test_a_real_model_and_its_note(tmp_path):
    stories = SHARED / "models" / "stories260K"
    prune(stories, "layer:1+layer:3", out=tmp_path / "p")
    note = (tmp_path / "p" / "README.md").read_text()
    assert "stories260K without layer:1+layer:3" in note
    assert "| 1 | 2 |" in note
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "p")
    plain = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "p")
    tokens = torch.tensor([tokenizer.encode("Once upon a time there was")])
    model = interp.load_model(stories)
    with torch.no_grad(), interp.ablate(model, "layer:1+layer:3"):
        assert_logits(plain(tokens).logits, model(tokens, return_type="logits"))

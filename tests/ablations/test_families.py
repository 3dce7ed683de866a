"""Families of ablations."""

import pytest
import transformers

import interp
from interp.errors import UserError
from interp.models import wrap
from interp.similarity import greedy_removal
from tests.helpers.families import tiny_model, tiny_tokenizer


def texts(family) -> list[str]:
    return [ablation.text for ablation in family]


def test_each_of_everything(llama):
    assert texts(interp.each_layer(llama)) == ["layer:0", "layer:1", "layer:2"]
    assert texts(interp.each_attention(llama)) == ["attn:0", "attn:1", "attn:2"]
    assert texts(interp.each_mlp(llama)) == ["mlp:0", "mlp:1", "mlp:2"]
    assert len(interp.each_head(llama)) == 12
    assert texts(interp.each_head(llama))[-1] == "head:2.3@mean"
    assert texts(interp.each_head(llama, by="zero"))[-1] == "head:2.3"
    assert texts(interp.each_kv_group(llama))[:3] == ["kvgroup:0.0", "kvgroup:0.1", "kvgroup:1.0"]


def test_a_family_of_which_a_model_has_none_is_refused(tmp_path):
    """It would run the baseline alone, and its tables would hold nothing."""
    config = tiny_model("llama").config
    config.num_hidden_layers = 1
    model = wrap(transformers.LlamaForCausalLM(config).eval(), tiny_tokenizer(), name="one")
    for text in ("exchanges", "pairs:layers", "backpatches@last"):
        with pytest.raises(UserError, match=f"{text}: the model has too few layers or heads"):
            interp.sweep(model, "world-facts:default", [text], out=tmp_path / "out")
    with pytest.raises(UserError, match="the model has one layer, which cannot be removed"):
        greedy_removal(model, "world-facts:default", most=1, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sliding_blocks(llama):
    assert texts(interp.sliding_blocks(llama, 2)) == ["layers:0-1", "layers:1-2"]
    for size in (0, 4):
        with pytest.raises(UserError, match=rf"block size {size}: allowed are 1-3"):
            interp.sliding_blocks(llama, size)


def test_cumulative_from_the_deepest_or_in_a_given_order(llama):
    assert texts(interp.cumulative(llama)) == [
        "layer:2",
        "layer:2+layer:1",
        "layer:2+layer:1+layer:0",
    ]
    assert texts(interp.cumulative(llama, [1, 0])) == ["layer:1", "layer:1+layer:0"]
    with pytest.raises(UserError, match="named twice"):
        interp.cumulative(llama, [1, 1])
    with pytest.raises(UserError, match="layer 3: the model has layers 0-2"):
        interp.cumulative(llama, [3])

"""Families of ablations."""

import pytest

import interp
from interp.errors import UserError


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

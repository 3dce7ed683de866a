"""Checkpoints that were saved quantised: FP8 as transformers reads it, GPTQ and AWQ played.

The packages of GPTQ and AWQ are not installed here and need a GPU. Their border is played: what
transformers calls to put their modules in place of the linear ones puts ours, which hold four bits
of eight weights in one whole number, as theirs do.
"""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.quantizers import auto
from transformers.quantizers.base import HfQuantizer

import interp
from interp.ablations import checked_edits
from interp.engine import score_requests
from interp.errors import UserError
from interp.models import decoder, quantization_of, weights_kept
from tests.helpers.families import assert_logits, delete_layers, tiny_model, tiny_tokenizer
from tests.helpers.scoring import some_requests

TOKENS = torch.arange(4, 22).view(2, 9)
BLOCK = 16


def linear_names(root):
    return [name for name, m in root.model.layers.named_modules() if isinstance(m, nn.Linear)]


def saved(folder, change, settings):
    """A checkpoint in which some tensors stand for the matrices of the layers."""
    root = tiny_model("llama")
    names = [f"model.layers.{name}" for name in linear_names(root)]
    root.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in names:
        weight = tensors.pop(f"{name}.weight")
        stored, seen = change(weight)
        tensors |= {f"{name}.{key}": value for key, value in stored.items()}
        with torch.no_grad():
            root.get_submodule(name).weight.copy_(seen)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return root.eval()


def eight_bits(weight):
    """Blocks in float8 with a scale each, and what they stand for."""
    rows, columns = (size // BLOCK for size in weight.shape)
    blocks = weight.view(rows, BLOCK, columns, BLOCK)
    scale = blocks.abs().amax(dim=(1, 3), keepdim=True) / 448
    stored = (blocks / scale).to(torch.float8_e4m3fn)
    seen = (stored.float() * scale).view_as(weight)
    scales = scale.view(rows, columns).contiguous()
    return {"weight": stored.view_as(weight), "weight_scale_inv": scales}, seen


def four_bits(weight):
    """Eight weights of a column in one whole number, a scale a column, and what they stand for."""
    scale = weight.abs().amax(dim=1) / 7
    whole = (weight / scale[:, None]).round().clamp(-7, 7).to(torch.int32)
    parts = (whole + 8).T.reshape(-1, 8, len(weight))
    packed = sum(parts[:, n] << (4 * n) for n in range(8))
    return {"qweight": packed.contiguous(), "scales": scale}, whole * scale[:, None]


class PackedLinear(nn.Module):
    """A linear map of four bits a weight, with the names and shapes of GPTQ's modules."""

    def __init__(self, given: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = given.in_features, given.out_features
        packed = torch.zeros(self.in_features // 8, self.out_features, dtype=torch.int32)
        self.register_buffer("qweight", packed)
        self.register_buffer("scales", torch.zeros(self.out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shifts = torch.arange(0, 32, 4, device=x.device)
        whole = ((self.qweight[:, None] >> shifts[:, None]) & 15) - 8
        return x @ (whole.flatten(end_dim=1) * self.scales).to(x.dtype)


class Played(HfQuantizer):
    """What transformers calls of a package that keeps four bits a weight."""

    def _process_model_before_weight_loading(self, model, **kwargs):
        for name in linear_names(model):
            owner, _, last = name.rpartition(".")
            module = model.model.layers.get_submodule(owner)
            setattr(module, last, PackedLinear(getattr(module, last)))

    def is_serializable(self):
        return True

    @property
    def is_trainable(self):
        return False


SETTINGS = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": -1},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": -1, "version": "gemm"},
}


def compared(model, plain):
    with torch.no_grad():
        assert_logits(decoder(model).root(TOKENS).logits, plain(TOKENS).logits)
        for part, edit in (("layer:1", lambda root: delete_layers(root, [1])),):
            with interp.ablate(model, part):
                found = model(TOKENS)
            assert_logits(found, edit(plain)(TOKENS).logits)


def without_head(plain, tokens):
    def hook(_module, args):
        z = args[0].clone()
        z[..., 16:24] = 0
        return (z,)

    handle = plain.model.layers[1].self_attn.o_proj.register_forward_pre_hook(hook)
    try:
        return plain(tokens).logits
    finally:
        handle.remove()


@pytest.mark.parametrize("how", SETTINGS)
def test_packed_weights_are_ablated_and_refused_where_they_are_read(how, tmp_path, monkeypatch):
    plain = saved(tmp_path / "model", four_bits, SETTINGS[how])
    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, how, Played)
    model = interp.load_model(tmp_path / "model")
    assert quantization_of(model) == how
    assert weights_kept(model) == f"float32, {how}"
    with torch.no_grad(), interp.ablate(model, "head:1.2"):
        assert_logits(model(TOKENS), without_head(plain, TOKENS))
    edits = [checked_edits(model, text) for text in ("layer:1", "attn:0", "mlp:2", "head:1.2")]
    found = score_requests(model, some_requests(examples=2), edits)
    assert len({tuple(value for value, _ in scores) for scores in found}) == 4
    for work in (
        lambda: checked_edits(model, "swap:1", donor=model),
        lambda: interp.comparison.weight_distances(model, model),
    ):
        with pytest.raises(UserError, match=rf"is quantised \({how}\), and this needs full"):
            work()
    compared(model, plain)


@pytest.mark.parametrize("how", SETTINGS)
def test_a_package_that_is_not_there_is_named_in_one_line(how, tmp_path):
    saved(tmp_path / "model", four_bits, SETTINGS[how])
    with pytest.raises(UserError, match=r"model .*: .*(optimum|gptqmodel|autoawq)") as told:
        interp.load_model(tmp_path / "model")
    assert "\n" not in str(told.value)


def test_float8_is_widened_where_no_gpu_computes_with_it(tmp_path):
    settings = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    settings |= {"weight_block_size": [BLOCK, BLOCK], "modules_to_not_convert": ["lm_head"]}
    plain = saved(tmp_path / "model", eight_bits, settings)
    model = interp.load_model(tmp_path / "model")
    compared(model, plain)

"""Adapters of `peft`, merged or beside the weights, against `peft` itself."""

import json
import shutil

import pytest
import torch

import interp
from interp.ablations import checked_edits
from interp.engine import score_requests
from interp.errors import UserError
from interp.models import decoder, model_name, weights_hash
from tests.helpers.families import assert_logits, random_tokens, tiny_model, tiny_tokenizer
from tests.helpers.scoring import some_requests
from tests.helpers.task_files import write_task

peft = pytest.importorskip("peft")

TARGETS = {"llama": ["q_proj", "v_proj", "o_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}


def adapted(family):
    """A tiny model with a random adapter, as peft makes it."""
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=4,
        target_modules=TARGETS[family],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
        fan_in_fan_out=family == "gpt2",
    )
    return peft.get_peft_model(tiny_model(family), config).eval()


@pytest.fixture(scope="module", params=sorted(TARGETS))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folders(family, tmp_path_factory):
    """A model's folder and its adapter's."""
    folder = tmp_path_factory.mktemp(family)
    tiny_model(family).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    adapted(family).save_pretrained(folder / "medical")
    return folder / "base", folder / "medical"


@pytest.mark.parametrize("merge", [True, False])
def test_logits_and_ablations_are_those_of_peft(folders, family, merge):
    base, adapter = folders
    if not merge and family == "gpt2":
        # TransformerLens splits its joint matrix, and would leave the adapter out
        with pytest.raises(UserError, match=r"with an adapter beside its weights .* merge it"):
            interp.load_model(base, adapter=adapter, merge_adapter=merge)
        return
    model = interp.load_model(base, adapter=adapter, merge_adapter=merge)
    assert model_name(model) == "base+medical"
    tokens, plain = random_tokens(2, 9), adapted(family)
    with torch.no_grad():
        assert_logits(decoder(model).root(tokens).logits, plain(tokens).logits)
        assert_logits(model(tokens), plain(tokens).logits)
        projection = {
            "llama": lambda m: m.base_model.model.model.layers[1].self_attn.o_proj,
            "gpt2": lambda m: m.base_model.model.transformer.h[1].attn.c_proj,
        }[family](plain)

        def without_head_2(_module, args):
            z = args[0].clone()
            z[..., 16:24] = 0
            return (z,)

        handle = projection.register_forward_pre_hook(without_head_2)
        expected = plain(tokens).logits
        handle.remove()
        with interp.ablate(model, "head:1.2"):
            assert_logits(model(tokens), expected)


@pytest.mark.slow
def test_a_sweep_scores_alike_whether_merged_or_not(folders, family):
    if family == "gpt2":
        pytest.skip("its adapter can only be merged")
    base, adapter = folders
    found = []
    for merge in (True, False):
        model = interp.load_model(base, adapter=adapter, merge_adapter=merge)
        edits = [checked_edits(model, text) for text in ("layer:1", "attn:0", "mlp:2", "head:1.2")]
        found.append(score_requests(model, some_requests(examples=3), edits))
    plain = interp.load_model(base)
    without = score_requests(plain, some_requests(examples=3), [checked_edits(plain, "layer:1")])
    values = [torch.tensor([[s[0] for s in row] for row in scores]) for scores in found]
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=0)
    assert (values[0][0] - torch.tensor([s[0] for s in without[0]])).abs().max() > 0.01


def test_direct_attribution_reads_what_the_projection_gives(folders, tmp_path, family):
    if family == "gpt2":
        pytest.skip("its adapter can only be merged")
    base, adapter = folders
    task = write_task(tmp_path, kind="texts", rows=3)
    tables = [
        interp.lens.direct_logit_attribution(
            interp.load_model(base, adapter=adapter, merge_adapter=merge), task
        )
        for merge in (True, False)
    ]
    numbers = [table.select_dtypes("number") for table in tables]
    torch.testing.assert_close(
        torch.tensor(numbers[0].to_numpy()), torch.tensor(numbers[1].to_numpy()), atol=1e-3, rtol=0
    )


@pytest.mark.slow
def test_the_adapter_is_part_of_what_a_run_is(folders, family):
    base, adapter = folders
    hashes = {
        weights_hash(interp.load_model(base)),
        weights_hash(interp.load_model(base, adapter=adapter)),
    }
    if family == "llama":
        beside = interp.load_model(base, adapter=adapter, merge_adapter=False)
        hashes.add(weights_hash(beside))
    assert len(hashes) == (3 if family == "llama" else 2)


def test_adapters_that_do_not_fit_are_refused_in_one_line(folders, tmp_path, family):
    base, adapter = folders
    with pytest.raises(UserError, match=r"has no adapter_config\.json"):
        interp.load_model(base, adapter=base)
    with pytest.raises(UserError, match=r"no config\.json"):
        interp.load_model(adapter)
    broken = tmp_path / "broken"
    broken.mkdir()
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (broken / "adapter_config.json").write_text(json.dumps(settings))
    (broken / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"allowed is adapter_model\.safetensors"):
        interp.load_model(base, adapter=broken)
    # beside safetensors of another name the pickle would be read
    (broken / "x.safetensors").write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"allowed is adapter_model\.safetensors"):
        interp.load_model(base, adapter=broken)
    other = next(name for name in TARGETS if name != family)
    adapted(other).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="adapter") as told:
        interp.load_model(base, adapter=tmp_path / "other")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "entries",
    [
        {"megatron_config": {"x": 1}, "megatron_core": "evil"},
        {"alora_invocation_tokens": [5]},
        {"layer_replication": [[0, 2], [1, 3]]},
        "[" * 100_000,
    ],
)
def test_an_adapter_that_is_more_than_weights_is_refused(folders, tmp_path, monkeypatch, entries):
    base, adapter = folders
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(adapter, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    nested = isinstance(entries, str)
    file.write_text(entries if nested else json.dumps(json.loads(file.read_text()) | entries))
    with pytest.raises(UserError, match="is no JSON" if nested else next(iter(entries))) as told:
        interp.load_model(base, adapter=tmp_path / "adapter")
    assert "\n" not in str(told.value)


def test_an_adapter_whose_tensors_are_missing_is_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    base, adapter = folders
    tensors = load_file(adapter / "adapter_model.safetensors")
    lost = sorted(tensors)[0]
    (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    save_file(
        {k: v for k, v in tensors.items() if k != lost}, tmp_path / "adapter_model.safetensors"
    )
    with pytest.raises(UserError, match=r"[Mm]issing adapter keys"):
        interp.load_model(base, adapter=tmp_path)


def test_without_peft_the_extra_is_named(folders, monkeypatch):
    base, adapter = folders
    monkeypatch.setattr("interp.models.adapters.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"interp\[peft\]"):
        interp.load_model(base, adapter=adapter)

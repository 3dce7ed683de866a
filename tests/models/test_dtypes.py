"""Every result says in which type the model computed, in what it prints and in its folder."""

import json

import pytest
import torch

import interp
from interp.models import folder_name, model_name, weights_kept
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.key_value import make_task
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half") / "tiny"
    tiny_model("llama").to(torch.bfloat16).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return interp.load_model(folder, dtype="auto")


TEXTS = ["w5 w6 w7", "w8 w9", "w10 w11 w12 w13", "w14", "w5 w15 w16"]
MEASURES = {
    "lens": lambda model, task, out: interp.logit_lens(model, task, out=out),
    "similarity": lambda model, task, out: interp.layer_similarity(model, TEXTS, out=out),
    "retrieval heads": lambda model, task, out: interp.retrieval_heads(
        model, make_task(), copied_only=False, out=out
    ),
}


@pytest.mark.parametrize("kind", MEASURES)
def test_a_measure_says_its_type(kind, model, tmp_path):
    task = write_task(tmp_path, kind="letters", rows=4)
    found = MEASURES[kind](model, task, tmp_path / "out")
    opened = interp.open_run(tmp_path / "out")
    for one in (found, opened):
        assert "tiny in bfloat16" in repr(one)
        assert "bfloat16" in one.summary()
    assert json.loads((tmp_path / "out" / "result.json").read_text())["request"]["dtype"] == (
        "bfloat16"
    )


def test_sweeps_and_comparisons_say_their_type(model, tmp_path):
    task = write_task(tmp_path, kind="letters", rows=4)
    found = interp.compare(
        {"one": model, "other": model}, [task], ["layer:1"], limit=4, out=tmp_path / "both"
    )
    assert "one (3 layers, bfloat16)" in repr(found)
    for sweep in found.sweeps.values():
        assert sweep.manifest.dtype == "bfloat16"
        assert "bfloat16" in sweep.summary()


def test_an_adapter_beside_the_weights_is_said(model):
    assert weights_kept(model) == "bfloat16"
    root = interp.models.decoder(model).root
    root.peft_config = {}
    try:
        assert weights_kept(model) == "bfloat16, adapter beside the weights"
    finally:
        del root.peft_config


def test_folders_have_the_names_of_their_models(folder, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--owner--tiny--v2" / "snapshots" / "0a1b2c"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folder, target_is_directory=True)
    assert model_name(interp.load_model(snapshot)) == "owner/tiny--v2"
    monkeypatch.chdir(folder)
    assert model_name(interp.load_model(".")) == "tiny"
    assert folder_name(tmp_path / "models--gpt2" / "snapshots" / "0a") == "gpt2"
    assert folder_name(tmp_path / "snapshots" / "0a") == "0a"

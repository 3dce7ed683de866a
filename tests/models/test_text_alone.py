"""Models of several modalities: their text part is used, and nothing is installed for the rest."""

import subprocess

import torch

import interp
from experiments.families.configurations import small_model
from interp.models import decoder
from tests.helpers.families import tiny_tokenizer


def test_loading_installs_nothing_and_asks_nobody(tmp_path, monkeypatch):
    asked = []
    for name in ("check_call", "run", "Popen"):
        monkeypatch.setattr(subprocess, name, lambda *args, **_: asked.append(args))
    monkeypatch.setattr(
        "transformers.AutoProcessor.from_pretrained", lambda *args, **_: asked.append(args)
    )
    plain = small_model("Gemma3ForConditionalGeneration")
    plain.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    model = interp.load_model(tmp_path / "model")
    assert not asked
    tokens = torch.arange(4, 14)[None]
    with torch.no_grad():
        expected = plain(input_ids=tokens).logits
        torch.testing.assert_close(decoder(model).root(tokens).logits, expected, atol=1e-4, rtol=0)

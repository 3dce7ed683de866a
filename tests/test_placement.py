"""A model that does not fit is refused before its weights are read, with the bytes it needs."""

import psutil
import pytest
import torch

import interp
from interp.errors import UserError
from interp.placement import weight_bytes
from tests.families import tiny_model


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    count = sum(p.numel() for p in model.parameters())
    assert weight_bytes(tmp_path, torch.float32) == 4 * count
    assert weight_bytes(tmp_path, torch.bfloat16) == 2 * count
    memory = psutil.virtual_memory()._replace(available=3 * count)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    said = rf"needs {int(1.1 * 4 * count):,} bytes as float32, and {3 * count:,} are free"
    with pytest.raises(UserError, match=said):
        interp.load_model(tmp_path)

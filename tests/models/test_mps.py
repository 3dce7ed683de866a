"""Apple's MPS has no float64: every measure gets by without it there; on a pretended device."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp.ablations import Edits, checked_edits, mean_outputs
from interp.attention.tracing import trace
from interp.engine import generate
from interp.errors import UserError
from interp.lens import direct_logit_attribution, prompt_grid, self_repair, train_tuned_lens
from interp.lens.training import Training
from interp.models import wrap
from interp.models.placement import asked_device
from interp.similarity import (
    cka_between,
    downstream_effects,
    influence_by_part,
    study_angular_distance,
)
from interp.tasks import Sampling
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.key_value import make_task
from tests.helpers.pretended import PretendedDevices, put_modules
from tests.helpers.prompts import requests
from tests.helpers.task_files import write_task

TEXTS = [" ".join(f"w{5 + (i * j) % 50}" for j in range(9)) for i in range(1, 9)]
PLACES = {"model": "mps:0", "lm_head": "mps:0"}


def a_sweep(model, folder):
    found = []
    for kind in ("letters", "texts", "generate"):
        task = write_task(folder, kind=kind, rows=5)
        asked = ["layer:1", "head:2.1@mean", "layer:2@linear", "attn:1", "head:1.0@resample"]
        found.append(interp.sweep(model, [task], asked, limit=4, divergence=True).values())
    return found


def drawn_answers(model, _folder):
    asked = [replace(r, sampling=Sampling(0.9, top_k=20, top_p=0.9, seed=3)) for r in requests()]
    found = generate(model, asked, [Edits(), checked_edits(model, "layer:1")]).answers
    return [pd.DataFrame([[answer.text for answer in row] for row in found])]


def means_and_maps(model, _folder):
    found = mean_outputs(model, TEXTS, linear=[1])
    return [pd.DataFrame(value.cpu().numpy().reshape(1, -1)) for value in found.values()]


def lenses(model, folder):
    task = write_task(folder, kind="letters", rows=5)
    tuned = train_tuned_lens(
        model, TEXTS, source="words", training=Training(steps=2, rows=2, vectors=8)
    )
    return [
        interp.logit_lens(model, task).table(),
        interp.logit_lens(model, task, tuned=tuned).table(),
        prompt_grid(model, "w5 w6 w7").drop(columns="top_token"),
        direct_logit_attribution(model, task),
        self_repair(model, task, "mlps").effects,
    ]


def attention(model, _folder):
    return [trace(model, make_task()).examples]


def similarities(model, _folder):
    alike = interp.layer_similarity(model, TEXTS)
    return [
        *(alike.influence, alike.angular, alike.cka),
        influence_by_part(model, TEXTS),
        downstream_effects(model, TEXTS),
        study_angular_distance(model, TEXTS),
        cka_between(model, model, TEXTS),
    ]


def at_the_prompt(model, _folder):
    written = []
    for text in ("head:1.0@mean", "layer:1", "mlp:2"):
        with interp.ablate(model, text, reference=TEXTS):
            written.append(model.generate("w5 w6 w7", max_new_tokens=4, do_sample=False))
    written.append(interp.generate(model, "w5 w6", "layer:1", max_new_tokens=5))
    return [pd.DataFrame([written])]


@pytest.fixture
def mps(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with PretendedDevices():
        yield


def made(placed: bool):
    root = tiny_model("llama")
    if placed:
        put_modules(root, PLACES)
    return wrap(root, tiny_tokenizer(), name="tiny")


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    [a_sweep, drawn_answers, means_and_maps, lenses, attention, similarities, at_the_prompt],
)
def test_what_is_measured_there_is_what_the_cpu_measures(
    work: Callable, tmp_path, monkeypatch
) -> None:
    expected = work(made(placed=False), tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with PretendedDevices():
        model = made(placed=True)
        assert interp.models.decoder(model).device == torch.device("mps:0")
        assert model.cfg.device == "mps:0"
        found = work(model, tmp_path)
    for mine, theirs in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(mine, theirs, atol=1e-5, rtol=1e-5)


def test_the_device_is_refused_or_warned_of(monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match="device mps: this torch sees no GPU of Apple's"):
        asked_device("tiny", "mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with caplog.at_level("WARNING", logger="interp"):
        assert asked_device("tiny", "mps").type == "mps"
    assert "issue 1178" in caplog.text


def test_the_pretended_device_refuses_float64(mps):
    there = torch.ones(2).to("mps:0")
    for work in (
        lambda: there.double(),
        lambda: there.to(torch.float64),
        lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
        lambda: torch.from_numpy(np.zeros(2)).to("mps:0"),
    ):
        with pytest.raises(TypeError, match="float64"):
            work()
    assert interp.models.as_float64(there).dtype == torch.float64

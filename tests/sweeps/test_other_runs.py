"""Nobody is given another's answers: whatever could change an answer makes another run."""

import json
import time
from pathlib import Path

import pytest
import torch

import interp
from interp.errors import UserError
from interp.records import SOURCE, Manifest, OriginEntry, differences
from interp.sweeps import make_plan, sweep
from interp.sweeps.plan import refuse_doubles
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


def refused_difference(folder: Path, model, task, ablations, **options) -> str:
    with pytest.raises(UserError, match="it holds another run") as caught:
        sweep(model, [task], ablations, out=folder, limit=4, **options)
    return str(caught.value)


def test_whatever_changes_an_answer_changes_the_key(task, tmp_path):
    model = tiny_bridge("llama")
    sweep(model, [task], ["layer:0"], out=tmp_path / "run", limit=4)
    folder = tmp_path / "run"
    assert "weights_sha256" in refused_difference(folder, tiny_bridge("llama", seed=1), task,
                                                  ["layer:0"])  # fmt: skip
    assert "ablations" in refused_difference(folder, model, task, ["layer:1"])
    assert "seed" in refused_difference(folder, model, task, ["layer:0"], seed=1)
    from interp import models

    decoder = models.decoder(model)
    decoder.root.config.rms_norm_eps = 0.5
    assert "config_sha256" in refused_difference(folder, model, task, ["layer:0"])
    decoder.root.config.rms_norm_eps = 1e-6
    sweep(model, [task], ["layer:0"], out=folder, limit=4)
    with torch.no_grad():
        next(decoder.root.parameters())[5, 0] += 1
    assert "weights_sha256" in refused_difference(folder, model, task, ["layer:0"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["interp", "torch", "lm-eval", SOURCE])
def test_another_version_is_named_and_can_be_allowed(llama, task, tmp_path, monkeypatch, name):
    import interp.sweeps.identity as module

    folder = tmp_path / "run"
    made = sweep(llama, [task], ["layer:0"], out=folder, limit=4)
    before = made.manifest.libraries[name]
    (unit,) = (folder / "units").iterdir()
    unit.unlink()
    original = module.version
    monkeypatch.setattr(module, "version", lambda n: "0.0.9" if n == name else original(n))
    if name == SOURCE:
        monkeypatch.setattr(module, "source_hash", lambda: "0.0.9")
    told = refused_difference(folder, llama, task, ["layer:0"])
    assert f"(libraries.{name}: {before} there, 0.0.9 asked)" in told
    assert told.endswith(f"or --allow libraries.{name}")
    assert not unit.exists()
    again = sweep(llama, [task], ["layer:0"], out=folder, limit=4, allow=[f"libraries.{name}"])
    assert again.manifest.libraries[name] == before
    assert [note.as_dict() for note in again.manifest.allowed] == [
        {"name": f"libraries.{name}", "there": before, "asked": "0.0.9"}
    ]
    assert len(again.responses()) == 8


def test_a_plan_says_nothing_of_where_and_when_it_was_made(llama, task, monkeypatch):
    import sys

    def planned():
        return make_plan(llama, [task], ["layer:0"], limit=4).manifest

    before = planned()
    monkeypatch.setattr(sys, "argv", ["another", "command"])
    assert planned() == before
    assert before.origin == OriginEntry()


def test_a_run_says_where_and_when_it_was_begun(llama, task, tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "argv", ["interp", "half a \ud800 pair"])
    origin = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=2).manifest.origin
    assert origin.command == ("interp", "half a ? pair")
    assert origin.created
    assert origin.device == "cpu"


@pytest.mark.slow
def test_a_hundred_thousand_ablations_are_checked_in_seconds(llama, task):
    texts = [f"layer:{i}" for i in range(100_000)]
    ablations = [interp.SkipLayer(i) for i in range(100_000)]
    before = make_plan(llama, [task], ["layer:0"], limit=2)
    began = time.process_time()
    tasks = [planned.task for planned in before.tasks]
    refuse_doubles(tasks, ablations)
    with pytest.raises(UserError, match="layer:99999: given twice"):
        refuse_doubles(tasks, [*ablations, ablations[-1]])
    entries = before.manifest.as_dict()
    units = [{**entries["units"][0], "ablations": [0, 100_000]}]
    many = Manifest.model_validate_json(json.dumps({**entries, "ablations": texts, "units": units}))
    (found,) = differences(many, before.manifest)
    assert found.words == "ablations: 99999 there and not asked"
    assert time.process_time() - began < 20  # in pairs it would take minutes


def test_a_changed_prompt_or_few_shot_example_changes_the_key(llama, tmp_path):
    path = write_task(tmp_path, num_fewshot=2)
    sweep(llama, [str(path)], ["layer:0"], out=tmp_path / "run", limit=4)
    text, worked = path.read_text(), tmp_path / "texts-dev.jsonl"
    path.write_text(text.replace("{{question}}", "w9 {{question}}"))
    assert "config_sha256" in refused_difference(tmp_path / "run", llama, str(path), ["layer:0"])
    path.write_text(text)
    worked.write_text("".join(reversed(worked.read_text().splitlines(keepends=True))))
    assert "fewshot_sha256" in refused_difference(tmp_path / "run", llama, str(path), ["layer:0"])


def test_the_same_swap_with_another_donor_is_another_run(llama, task, tmp_path):
    one, other = tiny_bridge("llama", seed=1), tiny_bridge("llama", seed=2)
    swaps = [interp.SwapLayer(0, one), interp.SwapLayer(1, other)]
    crossed = [interp.SwapLayer(0, other), interp.SwapLayer(1, one)]
    sweep(llama, [task], swaps, out=tmp_path / "run", limit=4)
    assert "donors" in refused_difference(tmp_path / "run", llama, task, crossed)


def test_the_request_cache_of_the_harness_is_not_used(llama, task, tmp_path, monkeypatch):
    import lm_eval.api.model
    import lm_eval.caching.cache

    def used(*_arguments, **_options):
        raise AssertionError("its key holds neither the weights nor the ablation")

    monkeypatch.setattr(lm_eval.api.model.CachingLM, "__init__", used)
    for name in ("load_from_cache", "save_to_cache"):
        monkeypatch.setattr(lm_eval.caching.cache, name, used)
        monkeypatch.setattr(f"lm_eval.api.task.{name}", used, raising=False)
    before = {p for p in Path(lm_eval.caching.cache.PATH).rglob("*") if p.is_file()}
    sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=2)
    assert {p for p in Path(lm_eval.caching.cache.PATH).rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_nothing_is_asked_of_the_network_when_all_is_local(llama, tmp_path, monkeypatch):
    import socket

    def called(_self, address):
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr(socket.socket, "connect", called)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: called(None, a))
    tiny = tmp_path / "model"
    from tests.helpers.families import tiny_model, tiny_tokenizer

    tiny_model("llama").save_pretrained(tiny)
    tiny_tokenizer().save_pretrained(tiny)
    model = interp.load_model(tiny, device="cpu")
    sweep(model, [str(write_task(tmp_path))], ["layer:0"], out=tmp_path / "run", limit=2)
    interp.open_run(tmp_path / "run").importance()


def test_the_token_budget_changes_nothing(llama, task, tmp_path):
    whole = sweep(llama, [task], ["layer:1"], out=tmp_path / "whole", limit=5)
    small = sweep(llama, [task], ["layer:1"], out=tmp_path / "small", limit=5, token_budget=16)
    for a, b in zip(
        whole.responses()["loglikelihoods"], small.responses()["loglikelihoods"], strict=True
    ):
        assert list(a) == pytest.approx(list(b), abs=1e-4)
    with pytest.raises(UserError, match="token_budget 0: allowed are 1 and more"):
        sweep(llama, [task], ["layer:1"], out=tmp_path / "none", token_budget=0)
    assert not (tmp_path / "none").exists()


def test_prompts_that_lose_tokens_are_said(llama, tmp_path, caplog):
    long = load_task(write_task(tmp_path, kind="texts", rows=3, num_fewshot=4))
    long._harness.config.doc_to_text = "{{question}} " * 14
    run = sweep(llama, [long], ["layer:1"], out=tmp_path / "run")
    assert "prompts are longer than the model's context" in caplog.text
    assert (run.responses()["cut_tokens"] > 0).any()
    # and with every table of the run, for whoever reads it later
    cut = run.truncation().set_index("task").loc[long.name]
    assert 0 < cut["cut_prompts"] <= cut["n"] == 3
    assert set(run.scores()["cut_prompts"]) == {cut["cut_prompts"]}
    assert "cut_answers" not in run.importance()

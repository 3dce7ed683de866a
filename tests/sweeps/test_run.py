"""Sweeps: records, resume, paired drops, and bad input that writes nothing."""

import gc
import inspect
import json
import time
from pathlib import Path

import pytest
import torch

import interp
from interp.errors import UserError
from interp.models import given_model
from interp.records import SOURCE, Manifest, OriginEntry, differences
from interp.sweeps import make_plan, sweep
from interp.sweeps.plan import refuse_doubles
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(write_task(tmp_path))


@pytest.fixture
def run(llama, task, tmp_path):
    return sweep(llama, [task], ["layer:0", "head:1.2@mean"], out=tmp_path / "run", limit=8)


def test_one_record_an_example_and_ablation(run):
    rows = run.responses()
    assert len(rows) == 8 * 3
    assert rows.groupby("ablation").doc_id.nunique().to_dict() == {
        "baseline": 8,
        "layer:0": 8,
        "head:1.2@mean": 8,
    }
    first = rows.iloc[0]
    assert len(first["loglikelihoods"]) == 4 == len(first["token_counts"])
    assert {"acc", "acc_norm", "target"} <= set(rows.columns)


def test_importance_is_the_paired_drop(run):
    table = run.importance(resamples=200)
    rows = run.responses().pivot(index="doc_id", columns="ablation", values="acc")
    expected = 100 * (rows["baseline"] - rows["layer:0"]).mean()
    (found,) = table[(table["ablation"] == "layer:0") & (table["metric"] == "acc")].to_dict(
        "records"
    )
    assert found["drop"] == pytest.approx(expected)
    assert found["low"] <= found["drop"] <= found["high"]
    assert found["n"] == 8


def test_a_finished_run_opens_without_the_model(run):
    again = interp.open_run(run.folder)
    assert again.responses().equals(run.responses())
    assert repr(again).startswith("Sweep(tiny-llama: 1 task, 8 examples, 2 ablations")


def test_an_interrupted_sweep_continues(llama, task, tmp_path, monkeypatch):
    import interp.sweeps.execution as module

    cut = {"limit": 8, "unit_examples": 3}
    whole = sweep(llama, [task], ["layer:0"], out=tmp_path / "whole", **cut).responses()
    plain, calls = module.run_unit, []

    def stops_at_the_second(*arguments, **options):
        calls.append(arguments[2].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(module, "run_unit", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        sweep(llama, [task], ["layer:0"], out=tmp_path / "run", **cut)
    with pytest.raises(UserError, match="2 of 3 units are missing or damaged"):
        interp.open_run(tmp_path / "run").responses()
    resumed = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", **cut)
    assert len(calls) == 4
    assert calls.count(calls[0]) == 1
    assert resumed.responses().equals(whole)


def test_a_damaged_unit_is_named_and_computed_again(llama, task, tmp_path, caplog):
    whole = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=8).responses()
    (shard,) = (tmp_path / "run" / "units").iterdir()
    shard.write_bytes(shard.read_bytes()[:-50])
    again = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=8)
    assert again.responses().equals(whole)
    assert "not a whole shard; moved to" in caplog.text


def test_the_draw_is_seeded_and_the_same_for_every_model(task, tmp_path):
    drawn = {}
    for family in ("llama", "gpt2"):
        for seed in (0, 1):
            out = tmp_path / f"{family}-{seed}"
            run = sweep(tiny_bridge(family), [task], ["mlp:1"], out=out, limit=5, seed=seed)
            drawn[family, seed] = run.manifest.tasks[0].doc_ids
    assert drawn["llama", 0] == drawn["gpt2", 0] != drawn["llama", 1]


def test_swaps_take_a_donor_and_record_its_weights(llama, task, tmp_path):
    donor = tiny_bridge("llama", seed=1)
    swaps = interp.each_swap(llama, donor)
    run = sweep(llama, [task], swaps, out=tmp_path / "run", limit=4)
    hashes = {text: list(named) for text, named in run.manifest.donors.items()}
    assert hashes == {f"swap:{layer}": ["tiny-llama"] for layer in range(3)}
    by_text = sweep(llama, [task], ["swap:0"], out=tmp_path / "text", limit=4, donor=donor)
    mine, theirs = (
        r.responses().query("ablation == 'swap:0'")["loglikelihoods"].tolist()
        for r in (run, by_text)
    )
    assert [list(a) for a in mine] == [list(b) for b in theirs]


def test_bad_input_is_refused_and_nothing_is_written(llama, task, tmp_path):
    out = tmp_path / "run"
    for arguments, options, message in [
        ((["nonsense"], ["layer:0"]), {}, "no such task"),
        (([task], ["layer:40"]), {}, "layer 40: the model has layers 0-2"),
        (([task], ["head:0.9"]), {}, "head 9 of layer 0"),
        (([task], ["lair:1"]), {}, "allowed are layer:7"),
        (([task], ["swap:0"]), {}, "a swap needs a donor"),
        (([task], ["swap:0"]), {"donor": tiny_bridge("qwen3")}, "swap:0: the donor"),
        (([task], ["layer:0"]), {"limit": 0}, "limit 0: allowed are 1 and more"),
        (([], ["layer:0"]), {}, "tasks: none given"),
        (([task, task], ["layer:0"]), {}, "given twice"),
        (([task], ["baseline"]), {}, "runs it without being asked"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            sweep(llama, *arguments, out=out, **options)
        assert "\n" not in str(caught.value)
        assert not out.exists()


def test_a_folder_with_another_run_is_refused(run, llama, task):
    with pytest.raises(UserError, match="it holds another run"):
        sweep(llama, [task], ["layer:1"], out=run.folder, limit=8)


def test_a_sweep_inside_ablate_is_refused(llama, task, tmp_path):
    with (
        interp.ablate(llama, "layer:1"),
        pytest.raises(UserError, match="hooks are active"),
    ):
        sweep(llama, [task], ["layer:0"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_sweep_leaves_the_model_as_it_was(llama, task, tmp_path):
    tokens = torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        before = llama(tokens)
        sweep(llama, [task], [*interp.each_head(llama), "layer:1"], out=tmp_path / "run", limit=3)
        assert torch.equal(llama(tokens), before)


def test_units_are_cut_by_examples_and_ablations_with_the_same_result(llama, task, tmp_path):
    asked = ["layer:0", "head:1.2@mean", "attn:1", "mlp:2"]
    whole = sweep(llama, [task], asked, out=tmp_path / "whole", limit=7)
    cut = sweep(
        llama, [task], asked, out=tmp_path / "cut", limit=7, unit_examples=3, unit_ablations=2
    )
    assert len(cut.manifest.units) == 3 * 3
    key = ["ablation", "doc_id"]
    mine, theirs = (r.responses().sort_values(key).reset_index(drop=True) for r in (cut, whole))
    exact = [*key, "target", "token_counts", "greedy", "acc", "acc_norm"]
    assert mine[exact].equals(theirs[exact])
    for a, b in zip(mine["loglikelihoods"], theirs["loglikelihoods"], strict=True):
        assert list(a) == pytest.approx(list(b), abs=1e-4)


def test_a_unit_that_does_not_fit_is_halved(llama, task, tmp_path, monkeypatch):
    import interp.sweeps.execution as module

    whole = sweep(llama, [task], ["layer:0"], out=tmp_path / "whole", limit=8)
    plain, sizes = module.run_unit, []

    def fits_two(model, task, unit, variants, **options):
        sizes.append(len(unit.doc_ids))
        if len(unit.doc_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return plain(model, task, unit, variants, **options)

    monkeypatch.setattr(module, "run_unit", fits_two)
    run = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=8)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    columns = ["ablation", "doc_id", "acc"]
    assert run.responses()[columns].equals(whole.responses()[columns])


def test_a_unit_that_never_fits_is_named_and_the_others_are_kept(
    llama, task, tmp_path, monkeypatch
):
    import interp.sweeps.execution as module

    plain = module.run_unit

    def refuses_one(model, task, unit, variants, **options):
        if unit.name.endswith("0001-000"):
            raise MemoryError("no room")
        return plain(model, task, unit, variants, **options)

    asked = {"out": tmp_path / "run", "limit": 6, "unit_examples": 2}
    monkeypatch.setattr(module, "run_unit", refuses_one)
    with pytest.raises(UserError, match=r"1 of 3 units failed \(00-tiny-texts-0001-000: out of m"):
        sweep(llama, [task], ["layer:0"], **asked)
    assert len(list((tmp_path / "run" / "units").iterdir())) == 2
    monkeypatch.setattr(module, "run_unit", plain)
    assert len(sweep(llama, [task], ["layer:0"], **asked).responses()) == 12


def test_errors_of_the_code_itself_are_not_swallowed(llama, task, tmp_path, monkeypatch):
    import interp.sweeps.execution as module

    def broken(*_arguments, **_options):
        raise RuntimeError("a defect")

    monkeypatch.setattr(module, "run_unit", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=2)


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(llama, task, tmp_path, monkeypatch):
    import interp.records.shards as module

    plain, written = module.write_whole, []

    def full_at_the_second(path, content, **options):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        return plain(path, content, **options)

    monkeypatch.setattr(module, "write_whole", full_at_the_second)
    asked = {"out": tmp_path / "run", "limit": 6, "unit_examples": 2}
    with pytest.raises(UserError, match="No space left on device; what was finished is kept") as e:
        sweep(llama, [task], ["layer:0"], **asked)
    assert "\n" not in str(e.value)
    assert [p.name for p in (tmp_path / "run" / "units").iterdir()] == [written[0].name]


def test_a_folder_that_cannot_be_written_is_one_line(llama, task):
    with pytest.raises(UserError, match="out /proc/run: "):
        sweep(llama, [task], ["layer:0"], out="/proc/run", limit=2)


def test_clusters_reach_the_statistics(llama, task, tmp_path):
    plain = sweep(llama, [task], ["layer:0"], out=tmp_path / "plain", limit=8)
    assert "cluster" not in plain.values()
    run = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=8, cluster="gold")
    named = run.values()
    documents = run.manifest.tasks[0]
    assert documents.cluster == "gold"
    expected = dict(zip(documents.doc_ids, documents.clusters, strict=True))
    assert dict(zip(named["doc_id"], named["cluster"], strict=True)) == expected
    assert run.importance()["test"].str.contains("by cluster").all()
    with pytest.raises(UserError, match="no field nonsense to cluster by; it has question"):
        sweep(llama, [task], ["layer:0"], out=tmp_path / "bad", limit=8, cluster="nonsense")
    assert not (tmp_path / "bad").exists()


def test_only_what_is_asked_for_is_read(run):
    rows = run.responses(ablations="layer:0")
    assert set(rows["ablation"]) == {"layer:0"}
    some = run.values(ablations=["baseline", "layer:0"])
    assert len(some) == 2 * 8 * some["metric"].nunique()
    with pytest.raises(UserError, match="no ablation layer:9; it holds baseline, layer:0"):
        run.responses(ablations="layer:9")
    with pytest.raises(UserError, match="no task nonsense"):
        run.values(tasks="nonsense")
    assert run.dataset().count_rows() == 24
    values = run.responses()[["ablation", "doc_id", "acc"]].rename(columns={"acc": "value"})
    long = run.values().query("metric == 'acc'")[["ablation", "doc_id", "value"]]
    assert long.reset_index(drop=True).equals(values)


def test_opening_a_run_reads_no_shard(run):
    for shard in (run.folder / "units").iterdir():
        shard.write_bytes(b"")
    again = interp.open_run(run.folder)
    assert "2 ablations" in repr(again)
    with pytest.raises(UserError, match="1 of 1 units are missing or damaged"):
        again.scores()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit_examples": 0}, "unit_examples 0: allowed are 1 and more"),
        ({"limit": "5"}, "limit '5': allowed are 1 and more .none: all examples"),
        ({"limit": 2.5}, "limit 2.5: allowed"),
        ({"limit": True}, "limit True: allowed"),
        ({"seed": -1}, "seed -1: allowed are 0 and more"),
        ({"seed": None}, "seed None: allowed"),
        ({"workers": 0}, "workers 0: allowed are 1 and more"),
        ({"shard": "3"}, "shard '3': allowed is K/N"),
        ({"num_fewshot": 2}, "num_fewshot: task tiny-texts is loaded already"),
    ],
)
def test_options_that_are_not_allowed_are_one_line(llama, task, tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        # the types of arguments are checked under test; a user meets the function itself
        inspect.unwrap(sweep)(llama, load_task(task), "layer:0", out=tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_options_have_names_types_and_defaults():
    with pytest.raises(TypeError, match="shards"):
        inspect.unwrap(sweep)(None, "t", "layers", shards="1/2")
    kinds = {p.kind for p in inspect.signature(sweep).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert interp.sweep is sweep


def test_ablations_and_models_are_taken_in_every_form(llama, task, tmp_path):
    forms = {
        "layer:1": ["layer:1"],
        "layers": ["layer:0", "layer:1", "layer:2"],
        interp.SkipLayer(1): ["layer:1"],
        ("layer:1", "layer:1", interp.SkipLayer(0)): ["layer:1", "layer:0"],
    }
    for number, (given, texts) in enumerate(forms.items()):
        asked = list(given) if isinstance(given, tuple) else given
        run = sweep(llama, task, asked, out=tmp_path / str(number), limit=2)
        assert list(run.manifest.ablations) == texts
    with pytest.raises(UserError, match="no such folder") as caught:
        sweep(tmp_path / "x", task, "layer:0", limit=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="model NoneType: allowed are a name, a folder") as caught:
        inspect.unwrap(given_model)(None)
    assert "\n" not in str(caught.value)


def test_a_model_is_loaded_by_its_name_and_a_quick_look_leaves_nothing(task, tmp_path, monkeypatch):
    from tests.helpers.families import tiny_model, tiny_tokenizer

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    tiny_model("llama").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    run = sweep(tmp_path / "model", task, "layer:0", limit=2, num_fewshot=1)
    assert run.manifest.tasks[0].num_fewshot == 1
    assert len(run.responses()) == 4
    assert run.folder.is_relative_to(tmp_path / "temporary")
    folder = run.folder
    del run
    gc.collect()
    assert not folder.exists()


def test_a_hugging_face_model_is_taken_with_the_tokenizer_it_came_with(task, tmp_path):
    from transformers import AutoModelForCausalLM

    from tests.helpers.families import tiny_model, tiny_tokenizer

    tiny_model("llama").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    by_name = sweep(tmp_path / "model", task, "layer:0", limit=2, out=tmp_path / "by-name")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for _ in range(2):  # the second call finds the first one's run finished
        found = sweep(loaded, task, "layer:0", limit=2, out=tmp_path / "run")
    assert found.responses().equals(by_name.responses())
    (tmp_path / "bare").mkdir()
    tiny_model("llama").save_pretrained(tmp_path / "bare")
    for model in (
        tiny_model("llama"),
        AutoModelForCausalLM.from_pretrained(tmp_path / "bare"),
    ):
        with pytest.raises(UserError, match=r"load_model\(hf_model, tokenizer=") as caught:
            sweep(model, task, "layer:0", limit=2)
        assert "\n" not in str(caught.value)


# --- nobody is given another's answers -----------------------------------------------------------


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
    from interp.models import decoder

    parts = decoder(model)
    parts.root.config.rms_norm_eps = 0.5
    assert "config_sha256" in refused_difference(folder, model, task, ["layer:0"])
    parts.root.config.rms_norm_eps = 1e-6
    sweep(model, [task], ["layer:0"], out=folder, limit=4)
    with torch.no_grad():
        next(parts.root.parameters())[5, 0] += 1
    assert "weights_sha256" in refused_difference(folder, model, task, ["layer:0"])


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


def test_a_changed_prompt_or_worked_example_changes_the_key(llama, tmp_path):
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

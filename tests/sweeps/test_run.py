"""Sweeps: records, resume, paired drops, and bad input that writes nothing."""

import gc
import inspect

import pytest
import torch

import interp
from interp.errors import UserError
from interp.models import given_model
from interp.sweeps import sweep
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        ({"seed": -1}, "seed -1: allowed are whole numbers from 0 to 9223372036854775807"),
        ({"seed": None}, "seed None: allowed"),
        ({"seed": 2**63}, "seed 9223372036854775808: allowed are whole numbers from 0 to"),
        ({"workers": 0}, "workers 0: allowed are 1 and more"),
        ({"workers": 2}, "workers 2: they are those of Ray; give ray, too"),
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_hooks_together_with_resample_are_refused_before_work(llama, tmp_path):
    hook = interp.hooked("same", [("blocks.1.hook_out", lambda resid, hook: resid)])
    both = hook + interp.parse("head:0.1@resample")
    with pytest.raises(UserError, match="hooks of your own and @resample cannot be combined"):
        interp.sweep(llama, [str(write_task(tmp_path))], [both], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

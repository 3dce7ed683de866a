"""Sweeps: records, resume, paired drops, and bad input that writes nothing."""

from pathlib import Path

import pytest
import torch

import interp
from interp.errors import UserError
from interp.sweeps import sweep
from tests.families import tiny_bridge
from tests.task_files import write_task


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
    assert repr(again).startswith("Sweep(tiny-llama: 1 tasks, 8 examples, 2 ablations")


def test_an_interrupted_sweep_continues(llama, task, tmp_path, monkeypatch):
    import interp.execution as module

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


def test_a_damaged_unit_is_named_and_computed_again(llama, task, tmp_path, capsys):
    whole = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=8).responses()
    (shard,) = (tmp_path / "run" / "units").iterdir()
    shard.write_bytes(shard.read_bytes()[:-50])
    again = sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=8)
    assert again.responses().equals(whole)
    assert "not a whole shard; moved to" in "".join(capsys.readouterr())


def test_the_draw_is_seeded_and_the_same_for_every_model(task, tmp_path):
    drawn = {}
    for family in ("llama", "gpt2"):
        for seed in (0, 1):
            out = tmp_path / f"{family}-{seed}"
            run = sweep(tiny_bridge(family), [task], ["mlp:1"], out=out, limit=5, seed=seed)
            drawn[family, seed] = run.manifest["tasks"][0]["doc_ids"]
    assert drawn["llama", 0] == drawn["gpt2", 0] != drawn["llama", 1]


def test_swaps_take_a_donor_and_record_its_weights(llama, task, tmp_path):
    donor = tiny_bridge("llama", seed=1)
    swaps = interp.each_swap(llama, donor)
    run = sweep(llama, [task], swaps, out=tmp_path / "run", limit=4)
    hashes = {text: list(named) for text, named in run.manifest["donors"].items()}
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
        (([task], ["layer:0", "layer:0"]), {}, "layer:0: given twice"),
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

"""`interp runs`, `show`, `export`, `merge` and `sweep --shard`: what is printed and written."""

import json
import logging

import pandas as pd
import pyarrow.parquet as pq
import pytest

from interp.cli import main
from interp.results import open_run
from interp.results.export import harness_results
from interp.sweeps import sweep
from tests.helpers.families import deleted, tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.harness import harness_evaluates
from tests.helpers.task_files import write_task


@pytest.fixture
def run(llama, tmp_path):
    tasks = [str(write_task(tmp_path)), str(write_task(tmp_path, kind="generate"))]
    return sweep(llama, tasks, ["layer:0", "layer:1"], out=tmp_path / "runs" / "a", limit=8)


@pytest.mark.slow
def test_runs_are_listed_with_their_progress(run, tmp_path, capsys):
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "manifest.json").write_text("{")
    next((run.folder / "units").iterdir()).unlink()
    assert main(["runs", str(tmp_path / "runs")]) == 0
    whole, broken = capsys.readouterr().out.splitlines()
    assert "tiny-llama: tiny-texts, tiny-generate; 2 ablations; 1 of 2 units" in whole
    assert "its manifest.json cannot be read" in broken
    assert main(["runs", str(tmp_path / "runs" / "a" / "units")]) == 0
    assert "no runs in" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 2


@pytest.mark.slow
def test_show_says_n_interval_test_and_correction(run, capsys):
    for correction, said in (("holm", "holm over 2 ablations"), ("none", "not corrected")):
        assert main(["show", str(run.folder), "--top", "1", "--correction", correction]) == 0
        shown = capsys.readouterr().out
        for part in ("tiny-texts, acc in points", "tiny-generate, exact_match", "n = 8",
                     "95% Wilson", "Tango score", "mid-p McNemar", said, "p_adjusted"):  # fmt: skip
            assert part in shown, part
        assert "tiny-texts: " in shown
        assert " layer ablations, n = 8" in shown, (
            "what would have been found, or why nothing could"
        )
    assert main(["show", str(run.folder), "--margin", "100"]) == 0
    shown = capsys.readouterr().out
    assert "within 100 either way: layer:0, layer:1 (two one-sided tests at 0.05" in shown
    assert main(["show", str(run.folder), "--margin", "0.1"]) == 0
    assert "within 0.1 either way: none" in capsys.readouterr().out
    assert main(["show", str(run.folder), "--margin", "-1"]) == 2
    assert main(["show", str(run.folder), "--top", "0"]) == 2
    assert "top 0: allowed are 1 and more" in capsys.readouterr().err
    assert main(["show", str(run.folder), "--top", "99999999999"]) == 2
    assert "allowed are whole numbers from 1 to 1000000000" in capsys.readouterr().err
    assert main(["show", str(run.folder), "--metric", "f1"]) == 2
    assert "no metric f1" in capsys.readouterr().err


class Other:
    def summary(self, *, top: int = 8) -> str:
        return f"the best {top}"

    def __repr__(self) -> str:
        return "RetrievalHeads(m)"


def test_options_that_a_result_does_not_have_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("interp.opening.open_run", lambda folder: Other())
    assert main(["show", "kept", "--top", "3"]) == 0
    assert main(["show", "kept"]) == 0
    assert capsys.readouterr().out.split("\n")[:2] == ["the best 3", "the best 8"]
    assert main(["show", "kept", "--margin", "2"]) == 2
    assert "--margin: kept holds no sweep but RetrievalHeads(m)" in capsys.readouterr().err


@pytest.mark.slow
def test_tables_are_exported_whole(run, tmp_path, capsys):
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        out = tmp_path / kind
        assert main(["export", str(run.folder), f"--{kind}", "--out", str(out)]) == 0
        paths = capsys.readouterr().out.split()
        assert [p.rsplit("/")[-1] for p in paths] == [
            f"{name}.{kind}" for name in ("responses", "scores", "importance")
        ]
        table = read(out / f"importance.{kind}")
        assert {"n", "interval", "test", "correction"} <= set(table.columns)
        whole = table.astype({"layer": "Int64", "head": "Int64"})
        pd.testing.assert_frame_equal(whole, run.importance())
        assert {"n", "interval"} <= set(read(out / f"scores.{kind}").columns)
    rows = pd.read_csv(tmp_path / "csv" / "responses.csv", keep_default_na=False)
    expected = run.responses()
    assert len(rows) == len(expected) == 2 * 8 * 3
    assert [json.loads(x)["acc"] for x in rows["metrics"][:24]] == list(expected["acc"][:24])
    assert rows["text"][24:].tolist() == expected["text"][24:].tolist()
    exact = pq.read_table(tmp_path / "parquet" / "responses.parquet")
    assert exact.equals(run.dataset().to_table())


def test_an_unfinished_run_is_not_exported(run, tmp_path, capsys):
    next((run.folder / "units").iterdir()).unlink()
    for kind in ("csv", "harness"):
        assert main(["export", str(run.folder), f"--{kind}", "--out", str(tmp_path / "x")]) == 2
        assert "1 of 2 units are missing or damaged" in capsys.readouterr().err
        assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_the_results_json_is_that_of_the_harness(tmp_path):
    from lm_eval.models.huggingface import HFLM

    from interp.tasks import load_task

    tasks = [load_task(write_task(tmp_path)), load_task(write_task(tmp_path, kind="generate"))]
    run = sweep(tiny_bridge("llama"), tasks, ["layer:1"], out=tmp_path / "run")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    for ablation, layers in (("baseline", []), ("layer:1", [1])):
        lm = HFLM(pretrained=deleted("llama", layers), tokenizer=tiny_tokenizer(), device="cpu")
        theirs = harness_evaluates(lm, [t._harness for t in tasks], bootstrap_iters=100)
        mine = harness_results(run, ablation)
        assert mine["results"].keys() == theirs["results"].keys()
        for task, entry in theirs["results"].items():
            shared = {k: v for k, v in entry.items() if "," in k}
            assert shared.keys() <= mine["results"][task].keys()
            for name, value in shared.items():
                found = mine["results"][task][name]
                if "exact_match_stderr" in name:  # the harness bootstraps it, or says N/A
                    continue
                assert found == pytest.approx(value), name
        for part in ("n-shot", "versions"):
            named = {task: str(value) for task, value in theirs[part].items()}
            assert {task: str(value) for task, value in mine[part].items()} == named
    assert main(["export", str(run.folder), "--harness"]) == 0
    files = {p.name for p in (run.folder / "export").iterdir()}
    assert files == {"results_baseline.json", "results_layer-1.json"}


@pytest.mark.slow
def test_shares_on_the_command_line(tmp_path, capsys):
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    task, out = str(write_task(tmp_path)), str(tmp_path / "run")
    command = ["sweep", str(tmp_path / "tiny"), "--tasks", task, "--ablate", "layers"]
    for share in ("1/2", "2/2"):
        assert main([*command, "--out", out, "--shard", share]) == 0
        assert f"next: interp merge {out}" in capsys.readouterr().out
    assert main(["merge", out]) == 0
    assert "1 units, all there, whole and once" in capsys.readouterr().out
    assert len(open_run(out).responses()) == 12 * 4
    for bad in (["--shard", "3/2"], ["--allow", "seed", "--seed", "1"]):
        assert main([*command, "--out", out, *bad]) == 2
    shown = capsys.readouterr().err
    assert "allowed is K/N" in shown
    assert "--allow seed: answers would be mixed" in shown

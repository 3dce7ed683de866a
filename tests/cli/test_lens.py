"""`interp lens` and `interp similarity`: what they write, and what they refuse."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

import interp
from interp.cli import main
from interp.cli.lens import _plain
from interp.lens import TunedLens
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("llama").save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "words.txt"
    path.write_text("".join(f"w{n} w{n + 1} w{n + 2}\n" for n in range(4, 24)))
    return str(path)


@pytest.mark.slow
def test_lens_writes_tables_and_figures(folder, tmp_path, capsys):
    task, out = str(write_task(tmp_path, kind="letters")), tmp_path / "out"
    assert main(["lens", folder, "--tasks", task, "--out", str(out), "--limit", "5",
                 "--ablate", "layer:1", "--prompt", "w5 w6 w7", "--attribution"]) == 0  # fmt: skip
    written = capsys.readouterr().out
    for name in ("by-depth.pdf", "decision-depths.png", "tiny/grid.svg", "attribution-tiny.csv"):
        assert (out / name).is_file()
        assert name in written
    table = pd.read_csv(out / "tiny" / "tiny-letters" / "table.csv")
    assert set(table["ablation"]) == {"layer:1"}
    assert set(table["n"]) == {5}
    assert (out / "tiny" / "tiny-letters" / "examples.parquet").is_file()
    # the same command continues, another is refused in words and changes nothing
    before = {path: path.stat().st_mtime_ns for path in (out / "tiny" / "tiny-letters").iterdir()}
    words = ["lens", folder, "--tasks", task, "--out", str(out), "--ablate", "layer:1",
             "--prompt", "w5 w6 w7", "--attribution"]  # fmt: skip
    assert main([*words, "--limit", "5"]) == 0
    assert main([*words, "--limit", "4"]) == 2
    assert "limit 5 there, 4 asked" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in (out / "tiny" / "tiny-letters").iterdir()}
    assert after == before
    assert main(["show", str(out / "tiny" / "tiny-letters")]) == 0
    assert "share_decided" in capsys.readouterr().out


@pytest.mark.slow
def test_similarity_writes_tables_and_figures(folder, texts, tmp_path, capsys):
    task, run, out = str(write_task(tmp_path, kind="letters")), tmp_path / "run", tmp_path / "out"
    assert main(["sweep", folder, "--tasks", task, "--ablate", "layers", "--out", str(run)]) == 0
    assert main(["similarity", folder, "--texts", texts, "--out", str(out), "--run", str(run),
                 "--as-study"]) == 0  # fmt: skip
    assert "rho" in capsys.readouterr().out
    for name in ("angular-distance.png", "block-influence.csv", "agreement.csv", "cka.csv",
                 "agreement-angular-distance.pdf"):  # fmt: skip
        assert (out / name).is_file()
    assert main(["show", str(out)]) == 0
    assert "block_influence" in capsys.readouterr().out
    assert main(["similarity", folder, "--texts", texts, "--out", str(out), "--limit", "9"]) == 2
    assert "limit none there, 9 asked" in capsys.readouterr().err


def test_bad_input_is_one_line_and_writes_nothing(folder, texts, tmp_path, capsys):
    task, out = str(write_task(tmp_path)), tmp_path / "out"
    lens, similarity = ["lens", folder], ["similarity", folder]
    for arguments, message in [
        (lens, "give --tasks or --prompt"),
        ([*lens, "--tasks", task, "--follow", "x"], "follow 'x'"),
        ([*lens, "--tasks", task, "--steps", "("], "no regular expression"),
        ([*lens, "--tasks", task, "--ablate", "layer:9"], "layer 9: the model has layers 0-2"),
        ([*lens, "--tasks", task, "--tuned", "nowhere"], "no tuned-lens.safetensors there"),
        ([*lens, "--tasks", task, "--tune-on", "nowhere"], "--tune-on nowhere: no such file"),
        (similarity, "give one of --task and --texts"),
        ([*similarity, "--texts", "nowhere"], "--texts nowhere: no such file"),
        ([*similarity, "--task", task, "--as-study"], "give --texts FILE"),
        ([*similarity, "--task", task, "--run", str(tmp_path)], "no manifest.json there"),
    ]:
        assert main([*arguments, "--out", str(out)]) == 2
        shown = capsys.readouterr().err.strip().splitlines()
        assert message in shown[-1]
        assert not out.exists()
    assert main([*lens, "--tasks", task, "--out", str(tmp_path)]) == 2
    assert "it is not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_later_step_needs_is_refused_before_the_first(folder, llama, tmp_path, capsys):
    good, out, run = str(write_task(tmp_path)), tmp_path / "out", str(tmp_path / "run")
    bad = write_task(tmp_path, kind="letters", rows=3)
    with (tmp_path / "letters.jsonl").open("a") as file:
        file.write('{"question": "w5", "choices": ["w6", "w7"], "gold": 2}\n')
    tuned = TunedLens(torch.zeros(3, 32, 32), torch.zeros(3, 32), False, {
        "model": "x", "weights_sha256": "of another model", "sublayers": False, "text": "x",
    })  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("interp.lens.tuned._card_lines", lambda card: [card["model"]])
        tuned.save(tmp_path / "tuned")
    interp.sweep(llama, good, ["mlp:1"], limit=2, out=run)
    lens, similarity = ["lens", folder, "--tasks", good], ["similarity", folder, "--task", good]
    for arguments, message in [
        ([*lens, str(bad)], "row 3 (row 4 of"),
        ([*lens, "--tuned", str(tmp_path / "tuned")], "trained for other weights"),
        ([*similarity, "--run", run], "it has no ablation layer:N"),
        (["trace", folder, "--task", "kv-4", "--example", "-1"], "example -1: task kv-4:"),
    ]:
        assert main([*arguments, "--out", str(out)]) == 2
        assert message in capsys.readouterr().err
        assert not out.exists(), message
    interp.sweep(llama, good, ["mlp:1", "layer:0"], limit=2, out=run)
    assert main([*similarity, "--run", run, "--out", str(out)]) == 2
    assert "not of tiny" in capsys.readouterr().err
    assert not out.exists()


def test_two_tasks_that_would_share_a_folder_are_refused_before_any_work(tmp_path, capsys):
    path = write_task(tmp_path, rows=2)
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("task: tiny-texts", "task: a/TINY-texts"))
    arguments = ["lens", "organism:base", "--out", str(tmp_path / "out"), "--tasks"]
    for second in (path, other):
        assert main([*arguments, str(path), str(second)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "both would be written to one folder, " in err
    assert main(["lens", "organism:base", "organism:base", *arguments[2:], str(path)]) == 2
    assert "models organism:base and organism:base: both" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["..", ".", "", "x" * 250, "\u00fc" * 125, "a/..", "-lead.."])
def test_no_name_leads_out_of_the_folder_or_is_too_long(name):
    made = _plain(name)
    assert made == Path(made).name
    assert made.strip(".")
    assert len(os.fsencode(made)) <= 150

"""Exports: whole or not there, one file a name, cells that no spreadsheet computes, LaTeX."""

import csv
import json

import pytest

from interp.cli import main
from interp.errors import UserError
from interp.results import export_harness, export_tables
from interp.results.cells import plain_cell
from interp.results.export import file_names
from interp.results.latex import escaped
from interp.sweeps import sweep
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    """A run whose task has a name that a spreadsheet would compute, and LaTeX would not print."""
    folder = tmp_path_factory.mktemp("run")
    path = write_task(folder, rows=8)
    path.write_text(path.read_text().replace("tiny-texts", "=1+1_50%"))
    return sweep(llama, str(path), ["layer:0", "layer:1"], out=folder / "a")


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), ("-a", "'-a"), ("-1.5", "-1.5"), ("a=1", "a=1"), ("", "")],
)
def test_a_text_that_would_be_computed_has_an_apostrophe(text, cell):
    assert plain_cell(text) == cell


@pytest.mark.slow
def test_csv_is_neutral_unless_told_otherwise(run, tmp_path):
    for neutral, name in ((True, "'=1+1_50%"), (False, "=1+1_50%")):
        paths = export_tables(run, tmp_path / str(neutral), neutral=neutral)
        assert [path.name for path in paths] == ["responses.csv", "scores.csv", "importance.csv"]
        for path in paths:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert {row["task"] for row in rows} == {name}
    drops = [float(row["drop"]) for row in rows]
    assert drops == run.importance()["drop"].tolist()
    assert not list(tmp_path.rglob("*.part"))


def test_latex_has_every_number_with_its_interval(run, tmp_path, capsys):
    assert main(["export", str(run.folder), "--latex", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"scores.tex", "importance.tex"}
    text = (tmp_path / "importance.tex").read_text()
    assert text.count(r"=1+1\_50\% & layer:") == 2
    assert r"\toprule" in text
    assert "% test: mid-p McNemar" in text
    assert "% correction: holm" in text
    scores = (tmp_path / "scores.tex").read_text()
    assert scores.count(r"\\") == 4  # the heading, the baseline and two ablations
    assert scores.count("[$") == 3


def test_characters_of_latex_are_printed_as_they_are():
    assert escaped("50% of $x_1 & {a}\\b\n^~") == (
        r"50\% of \$x\_1 \& \{a\}\textbackslash{}b \textasciicircum{}\textasciitilde{}"
    )


def test_names_of_files_never_collide():
    long = ["layers:" + "-".join(map(str, range(40))) + f"-{n}" for n in range(3)]
    texts = ["baseline", "layer:1", "hook:a b", "hook:a-b", "hook:A-b", *long]
    names = file_names(texts)
    assert names["layer:1"] == "layer-1"
    assert len({name.lower() for name in names.values()}) == len(texts)
    assert max(map(len, names.values())) < 128


def test_files_in_a_received_run_that_are_links_are_replaced(run, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("responses.csv", "importance.csv", "results_baseline.json"):
        (out / name).symlink_to(mine)
    export_tables(run, out)
    (baseline, *_) = export_harness(run, out)
    assert json.loads(baseline.read_text())["config"]["ablation"] == "baseline"
    assert mine.read_text() == "mine"
    (run.folder / "export").symlink_to(tmp_path)
    assert main(["export", str(run.folder)]) == 2
    assert "it is a link" in capsys.readouterr().err
    (run.folder / "export").unlink()


def test_another_kind_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"kind 'latx': .*did you mean latex\?"):
        export_tables(run, tmp_path / "x", kind="latx")
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_a_file_is_refused(run, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("own")
    for folder in (taken, taken / "below"):
        with pytest.raises(UserError, match=r"taken is a file; give a folder"):
            export_harness(run, folder)
        with pytest.raises(UserError, match=r"taken is a file; give a folder"):
            export_tables(run, folder)
    assert taken.read_text() == "own"

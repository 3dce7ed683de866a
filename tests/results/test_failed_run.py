"""A run in which every example failed: everything that reads it says so, and nothing breaks."""

import math

import pytest
import torch

import interp
from interp.cli import main
from interp.results import result_line
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model = tiny_bridge("llama")
    folder = tmp_path_factory.mktemp("failed")
    tasks = [str(write_task(folder, kind=kind, rows=4)) for kind in ("texts", "generate")]
    with torch.no_grad():
        model.original_model.model.norm.weight.fill_(math.nan)
    return interp.sweep(model, tasks, ["layer:0", "layer:1"], out=folder / "run")


@pytest.mark.slow
def test_the_summary_says_so(run):
    for text in (run.summary(), run._repr_html_()):
        assert "tiny-texts" in text
        assert "tiny-generate" in text
        assert "n = 4, none (examples failed)" in text
    assert "tiny-texts: examples failed everywhere" in result_line(run)


@pytest.mark.slow
def test_tables_have_rows_without_numbers(run):
    for table in (run.scores(), run.importance(), run.equivalence(margin=5.0)):
        assert table["failures"].eq(4).all()
    assert run.importance()["drop"].isna().all()
    assert run.lost_together().empty


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "report", "export"])
def test_no_command_ends_in_a_traceback(run, command, tmp_path, capsys):
    more = [] if command == "show" else ["--out", str(tmp_path / "out")]
    code = main([command, str(run.folder), *more])
    said = capsys.readouterr().err
    assert code in (0, 2)
    assert "Traceback" not in said

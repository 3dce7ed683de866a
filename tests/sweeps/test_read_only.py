"""Folders in which nothing can be written: refused before any work, and read where that is all."""

import os
import stat

import pytest

import interp
from interp.attention import retrieval_heads
from interp.cli import main
from interp.errors import UserError, folder_given
from interp.lens import logit_lens
from interp.records import merge
from interp.sweeps import sweep
from tests.helpers.task_files import write_task

COMMANDS = [
    "sweep organism:base --tasks world-facts:default --ablate layers --limit 2",
    "trace organism:base --tasks world-kv --limit 2",
    "lens organism:base --tasks world-facts:default --limit 2",
    "similarity organism:base --tasks world-facts:default --limit 2",
    "compare organism:base organism:distilled --tasks world-facts:default --ablate layer:1",
    "knockout organism:base --tasks world-kv:generate --limit 2",
    "patch organism:base --tasks world-kv:generate --limit 2",
    "prune organism:base --ablate layer:1",
    "rearrange organism:base --program exchange:1",
]


@pytest.fixture
def locked_up(monkeypatch):
    """Makes folders read-only; root may write everywhere, so what it is told is pretended, too."""
    kept, plain = [], os.access

    def access(path, mode, **options):
        shut = any(os.path.abspath(path).startswith(f"{folder}") for folder in kept)
        return plain(path, mode, **options) and not (mode & os.W_OK and shut)

    def lock(folder):
        for place in (folder, *folder.rglob("*")):
            place.chmod(stat.S_IMODE(place.stat().st_mode) & ~0o222)
        kept.append(os.path.abspath(folder))
        monkeypatch.setattr(os, "access", access)
        return folder

    yield lock
    for folder in kept:
        for place, _, files in os.walk(folder):
            os.chmod(place, 0o755)
            for name in files:
                os.chmod(os.path.join(place, name), 0o644)


def entries(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("below", ["", "new"])
def test_no_command_works_for_a_folder_in_which_it_cannot_write(
    command, below, locked_up, tmp_path, capsys, monkeypatch
):
    (tmp_path / "shut").mkdir()
    locked_up(tmp_path / "shut")
    monkeypatch.setattr("interp.models.load_model", _never)
    out = tmp_path / "shut" / below
    assert main([*command.split(), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert f"nothing can be written in {tmp_path / 'shut'}; give another folder" in captured.err
    assert not captured.out
    assert not entries(tmp_path / "shut")


def _never(*_, **__):
    raise AssertionError("a model was loaded")


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="a link that leads nowhere; give a folder"):
        folder_given("out", tmp_path / "out" / "new")


def test_a_finished_run_is_read_where_nothing_can_be_written(llama, tmp_path, locked_up):
    task, out = write_task(tmp_path, rows=4), tmp_path / "out"
    wanted = sweep(llama, task, ["layer:0", "layer:1"], out=out).values()
    before = entries(locked_up(out))
    same = sweep(llama, task, ["layer:0", "layer:1"], out=out)
    assert same.values().equals(wanted)
    assert len(sweep(llama, task, ["layer:0"], out=out, limit=2).values()) < len(wanted)
    with pytest.raises(UserError, match=r"nothing can be written there, and the run .* grow"):
        sweep(llama, task, ["layer:0", "layer:1", "layer:2"], out=out)
    assert entries(out) == before


def test_one_that_lacks_a_unit_is_refused_there(llama, tmp_path, locked_up):
    task, out = write_task(tmp_path, rows=4), tmp_path / "out"
    sweep(llama, task, ["layer:0"], out=out, unit_examples=2)
    next((out / "units").iterdir()).unlink()
    before = entries(locked_up(out))
    with pytest.raises(UserError, match="1 of 2 units of the run in it are missing or damaged"):
        sweep(llama, task, ["layer:0"], out=out, unit_examples=2)
    assert entries(out) == before


def test_a_run_is_checked_where_nothing_can_be_written_and_not_joined(llama, tmp_path, locked_up):
    task = write_task(tmp_path, rows=4)
    for number in (1, 2):
        part = tmp_path / f"part{number}"
        sweep(llama, task, ["layer:0"], out=part, unit_examples=2, shard=f"{number}/2")
    assert merge(tmp_path / "run", [tmp_path / "part1", tmp_path / "part2"]) == 2
    sweep(llama, task, ["layer:1"], out=tmp_path / "other", unit_examples=2)
    for name in ("run", "part1"):
        locked_up(tmp_path / name)
    before = entries(tmp_path)
    assert merge(tmp_path / "run", []) == 2
    refused = (
        ("run", "other", r"run .*run: nothing can be written there, and its parts are elsewhere"),
        ("part1", "part2", r"run .*part1: nothing can be written there, and its parts"),
        ("part1/new", "run", r"run .*: nothing can be written in .*part1; give another folder"),
    )
    for whole, part, message in refused:
        with pytest.raises(UserError, match=message):
            merge(tmp_path / whole, [tmp_path / part])
    assert entries(tmp_path) == before


def test_calls_of_python_refuse_it_before_any_work(llama, tmp_path, locked_up, monkeypatch):
    task, shut = write_task(tmp_path, rows=4), tmp_path / "shut"
    shut.mkdir()
    run = sweep(llama, task, ["layer:0"], out=tmp_path / "run")
    locked_up(shut)
    for name in ("lens.tasks.build_answers", "attention.heads.trace", "report.page.render"):
        monkeypatch.setattr(f"interp.{name}", _never)
    for call in (
        lambda: sweep(llama, task, ["layer:0"], out=shut / "new"),
        lambda: interp.vary(llama, task, ["layer:0"], num_fewshot=1, fewshot_seeds=2, out=shut),
        lambda: interp.compare({"a": llama, "b": llama}, task, ["layer:0"], out=shut),
        lambda: logit_lens(llama, task, out=shut / "a" / "b"),
        lambda: retrieval_heads(llama, str(task), out=shut),
        lambda: interp.report.write_report([run], shut / "page.html"),
        lambda: interp.figures.save_all([run], shut),
        lambda: interp.results.export_tables(run, shut),
        lambda: interp.results.export_harness(run, shut / "x"),
    ):
        with pytest.raises(UserError, match=r"nothing can be written in .*shut; give another"):
            call()
    assert not entries(shut)

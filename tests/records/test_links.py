"""Links, pipes and devices in a run's folder: nothing outside it is written, and nobody hangs."""

import ast
import json
import os
import sys
from pathlib import Path

import pytest

from interp.cli import main
from interp.errors import UserError
from interp.records import (
    MANIFEST,
    UNITS,
    Shard,
    locked,
    merge,
    open_store,
    problem,
    quarantine,
    refuse_links_out,
    shard_path,
    whole_file,
    write_unit,
    write_whole,
)
from interp.sweeps import cost
from tests.helpers.stores import MADE, rows_of

PACKAGE = Path(__file__).parents[2] / "interp"
pytestmark = pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links of POSIX")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    open_store(tmp_path / "run", MADE)
    write_unit(tmp_path / "run", "unit-0", MADE, rows_of(0))
    return tmp_path / "run"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    return tmp_path / "thesis" / "chapter.tex"


@pytest.mark.parametrize(("name", "shard"), [(".lock", None), (".lock-1-of-2", Shard(1, 2))])
def test_a_lock_that_is_a_link_or_a_pipe_is_refused(run, outside, name, shard):
    (run / name).symlink_to(outside)
    with pytest.raises(UserError, match=f"{name} is a link"), locked(run, shard):
        pass
    assert outside.read_text() == "years of work"
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(UserError, match=f"{name} is no plain file"), locked(run, shard):
        pass


def test_files_that_are_links_are_replaced_and_not_written_through(run, outside):
    shard_path(run, "unit-0").unlink()
    shard_path(run, "unit-0").symlink_to(outside)
    write_unit(run, "unit-0", MADE, rows_of(0))
    (run / "table.csv").symlink_to(outside)
    assert write_whole(run / "table.csv", b"1,2")
    assert outside.read_text() == "years of work"
    assert problem(run, "unit-0", MADE) is None
    assert not (run / "table.csv").is_symlink()


def test_a_temporary_file_that_is_a_link_is_not_followed(run, outside):
    import socket

    part = run / f".table.csv.{socket.gethostname()}-{os.getpid()}.part"
    part.symlink_to(outside)
    write_whole(run / "table.csv", b"1,2")
    assert outside.read_text() == "years of work"
    assert (run / "table.csv").read_bytes() == b"1,2"


def test_units_that_lie_elsewhere_are_refused(run, outside, tmp_path):
    (run / UNITS).rename(tmp_path / "thesis" / "units")
    (run / UNITS).symlink_to(tmp_path / "thesis" / "units")
    before = sorted(p.name for p in (tmp_path / "thesis").rglob("*"))
    for call in (lambda: open_store(run, MADE), lambda: quarantine(run, "unit-0"),
                 lambda: write_unit(run, "unit-1", MADE, rows_of(1))):  # fmt: skip
        with pytest.raises(UserError, match="units leads out of the folder by a link"):
            call()
    assert sorted(p.name for p in (tmp_path / "thesis").rglob("*")) == before


def test_a_run_may_itself_be_reached_by_a_link(run, tmp_path):
    (tmp_path / "short").symlink_to(run)
    assert open_store(tmp_path / "short", MADE) == MADE
    refuse_links_out(tmp_path / "short" / "figures", tmp_path / "short")


@pytest.mark.parametrize("command", ["export", "figures"])
def test_a_folder_of_results_that_lies_elsewhere_is_refused(run, outside, command, capsys):
    (run / command).symlink_to(outside.parent)
    assert main([command, str(run)]) != 0
    assert "link" in capsys.readouterr().err
    assert [p.name for p in outside.parent.iterdir()] == [outside.name]


def test_a_pipe_as_a_shard_ends_no_merge(run):
    shard_path(run, "unit-0").unlink()
    os.mkfifo(shard_path(run, "unit-0"))
    with pytest.raises(UserError, match="12 of 12 units are missing or damaged"):
        merge(run, [])


def test_one_unreadable_run_does_not_end_the_list(run, tmp_path, capsys):
    for number, change in enumerate(
        [{"units": [{"name": "n" * 300}]}, {"origin": {"command": 5}}, {"schema": 1}]
    ):
        folder = tmp_path / f"bad-{number}"
        folder.mkdir()
        entries = MADE.as_dict() | change
        (folder / MANIFEST).write_text(json.dumps(entries))
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / MANIFEST)
    assert not main(["runs", str(tmp_path)])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 5
    assert sum("tiny: task" in line for line in shown) == 1


def test_a_failed_stream_leaves_what_was_there(run):
    write_whole(run / "table.csv", b"before")

    def write() -> None:
        with whole_file(run / "table.csv") as file:
            file.write(b"half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (run / "table.csv").read_bytes() == b"before"
    assert not list(run.glob(".*.part"))


@pytest.mark.slow
def test_nothing_that_only_posix_has_is_needed_to_import():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", ())]
            module = getattr(node, "module", None)
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not {"fcntl", "resource", "pwd", "grp", "termios"} & {*names, module}, path


def test_folders_are_synced_only_where_they_can_be(run, monkeypatch):
    monkeypatch.setattr("interp.records.files.os.name", "nt")
    monkeypatch.setattr("interp.records.files.os.open", lambda *_a, **_k: pytest.fail("opened"))
    from interp.records import files

    files._sync_folder(run)


def test_the_peak_of_memory_is_in_bytes(monkeypatch):
    found = {}
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        found[platform] = cost._peak_of_process()
    assert found["linux"] == pytest.approx(1024 * found["darwin"], rel=0.01)

"""The hash of the package's own code: what answers go through, wherever it is installed."""

import shutil
from pathlib import Path

import pytest

from interp.records import SOURCE
from interp.sweeps import identity
from interp.sweeps.identity import PACKAGE, libraries, source_hash
from tests.helpers.forked import in_a_fork


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "elsewhere"


@pytest.mark.slow
def test_it_is_among_the_versions_and_the_same_in_every_process():
    assert libraries()[SOURCE] == source_hash()
    code = (
        "from interp.sweeps.identity import libraries, source_hash; source_hash.cache_clear(); "
        "print(libraries()['interp-source'])"
    )
    assert in_a_fork(code).strip() == source_hash()


def test_neither_the_place_nor_line_ends_nor_compiled_files_change_it(copied):
    assert source_hash(copied) == source_hash()
    source_hash.cache_clear()
    for path in copied.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "scoring.pyc").write_bytes(b"compiled")
    assert source_hash(copied) == source_hash()


@pytest.mark.parametrize(
    "place", ["engine/scoring/score.py", "tasks/task.py", "records/shards.py", "sweeps/plan.py"]
)
def test_code_that_answers_go_through_changes_it(copied, place):
    with (copied / place).open("a") as file:
        file.write("x = 1\n")
    assert source_hash(copied) != source_hash()


def test_a_file_that_moved_or_went_changes_it(copied):
    (copied / "engine" / "memory.py").rename(copied / "engine" / "room.py")
    moved = source_hash(copied)
    source_hash.cache_clear()
    (copied / "engine" / "room.py").unlink()
    assert len({source_hash(), moved, source_hash(copied)}) == 3


@pytest.mark.parametrize("place", ["figures/style.py", "report/page.py", "cli/sweep.py"])
def test_code_that_only_shows_answers_does_not(copied, place):
    (copied / place).write_text("x = 1\n")
    assert source_hash(copied) == source_hash()


def test_it_is_read_once_a_process(monkeypatch):
    source_hash.cache_clear()
    libraries()
    monkeypatch.setattr(Path, "read_bytes", lambda _path: pytest.fail("read again"))
    assert libraries()[SOURCE] == identity.source_hash()

"""A disk that is full in the middle of a file: the file is not there, or the one before it is."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from interp.records import whole_file, write_whole
from interp.records.files import remove_parts

resource = pytest.importorskip("resource", reason="limits of POSIX")
ROOM = 4096


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Inside, a file takes so many bytes; a write across the border takes what fits, as on a disk.

    The write after it fails.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_does_not_fit_leaves_the_one_before_it(tmp_path):
    path = tmp_path / "manifest.json"
    assert write_whole(path, b"before")
    with full_after(ROOM), pytest.raises(OSError, match="too large") as caught:
        write_whole(path, b"x" * (ROOM + 1))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_a_new_file_that_does_not_fit_is_not_there(tmp_path):
    with full_after(ROOM), pytest.raises(OSError, match="too large"):
        write_whole(tmp_path / "page.html", b"x" * (ROOM + 1), replace=False)
    with full_after(ROOM), pytest.raises(OSError, match="too large"):
        _written_in_pieces(tmp_path / "page.html")
    assert not os.listdir(tmp_path)


def _written_in_pieces(path):
    with whole_file(path) as file:
        for _ in range(3):
            file.write(b"x" * (ROOM // 2 + 1))


def test_one_that_just_fits_is_whole(tmp_path):
    with full_after(ROOM):
        assert write_whole(tmp_path / "shard", b"x" * ROOM)
    assert (tmp_path / "shard").read_bytes() == b"x" * ROOM


def test_the_longest_name_that_a_file_can_have_is_written(tmp_path):
    path = tmp_path / ("ü" * 125 + ".json")
    assert write_whole(path, b"before")
    assert write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["[a-z]*.json", "ü" * 125 + ".json"])
def test_what_a_killed_writer_left_is_removed_whatever_the_name(tmp_path, name):
    with whole_file(tmp_path / name):
        (left,) = os.listdir(tmp_path)
    (tmp_path / left).write_bytes(b"half")
    (tmp_path / ".b.json.host-1.part").write_bytes(b"of another")
    remove_parts(tmp_path, name)
    assert sorted(os.listdir(tmp_path)) == [".b.json.host-1.part", name]


def test_an_error_of_what_is_written_names_no_other_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, whole_file(tmp_path / "table.csv"):
        (tmp_path / "rows").read_bytes()
    assert caught.value.filename == str(tmp_path / "rows")
    assert not os.listdir(tmp_path)

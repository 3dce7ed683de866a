"""Names of files that no file has, pipes for files, users that there are not: one line each."""

import os

import pytest

import interp
from interp.cli.varied import numbers
from interp.errors import UserError
from interp.models import model_folder
from interp.results import kind_of
from tests.helpers.task_files import write_task

NAMES = ["x" * 300, "~nobody-has-this-name/x", "y/" * 2500]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_has_is_refused_in_one_line(name):
    for call in (
        lambda: model_folder(name),
        lambda: interp.load_task(f"{name}.yaml"),
        lambda: interp.load_task(f"text:{name}.jsonl"),
        lambda: interp.load_task("world-facts:default", data=name),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [NAMES[0], NAMES[2], "x\ud800", "x\0"])
def test_no_run_is_looked_for_under_such_a_name(name):
    for call in (interp.open_run, kind_of):
        with pytest.raises(UserError, match=r"name|allowed is the path"):
            call(name)


def test_bytes_that_are_no_text_may_be_a_path(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    with pytest.raises(UserError, match=r"manifest|no run|holds"):
        interp.open_run(folder)


def test_a_run_in_such_a_path_says_why_its_tables_cannot_be_read(llama, tmp_path):
    folder, task = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"), write_task(tmp_path, rows=2)
    run = interp.sweep(llama, task, ["layer:0"], out=folder)
    with pytest.raises(UserError, match="its path is no UTF-8"):
        run.values()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_as_a_text_hangs_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(UserError, match="it is no plain file"):
        interp.load_task(f"text:{tmp_path / 'pipe.txt'}")
    with pytest.raises(UserError, match="no such file"):
        interp.load_task(tmp_path / "loop.yaml")


def test_lines_of_a_text_end_as_on_any_system(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfw5 w6\r\nw7\rw8\n")
    (row,) = interp.load_task(f"text:{tmp_path / 'a.txt'}").documents()
    assert row["text"] == "w5 w6\nw7\nw8\n"


@pytest.mark.parametrize(
    "text", ["wording=1", "wording=1000", "wording=" + "9" * 5000, "wording=\u0663"]
)
def test_a_number_of_ways_that_nobody_asks_for_is_refused(text):
    with pytest.raises(UserError, match="N from 2 to 999"):
        numbers([text])

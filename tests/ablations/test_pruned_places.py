"""Where a pruned model is written: whole, or nothing; what cannot be replaced is refused."""

import os

import pytest

from interp.ablations import prune, rearrange
from interp.errors import UserError
from tests.helpers.families import tiny_model

resource = pytest.importorskip("resource", reason="limits of POSIX")


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_full_disk_is_one_line_and_leaves_nothing(folder, tmp_path, size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(UserError, match=r"out .*pruned: .*too large.*; nothing was written"):
            prune(folder, "layer:1", out=tmp_path / "pruned")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.filterwarnings("ignore")
def test_a_place_that_cannot_be_replaced_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    monkeypatch.chdir(tmp_path / "empty")
    for out in (tmp_path / "link", ".", tmp_path / "empty", "/proc/self/net", ""):
        with pytest.raises(UserError, match=r"cannot be replaced|not an empty|path of a folder"):
            prune(folder, "layer:1", out=out)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path).endswith("disk"))
    (tmp_path / "disk").mkdir()
    with pytest.raises(UserError, match=r"give a folder in it, such as .*disk/model"):
        rearrange(folder, "exchange:1", out=tmp_path / "disk")
    prune(folder, "layer:1", out=tmp_path / "disk" / "model")
    assert sorted(os.listdir(tmp_path)) == ["disk", "empty", "link", "model"]


@pytest.mark.filterwarnings("ignore")
def test_the_longest_name_of_a_folder(folder, tmp_path):
    pruned = prune(folder, "layer:1", out=tmp_path / ("\u00fc" * 127))
    assert (pruned.folder / "config.json").is_file()

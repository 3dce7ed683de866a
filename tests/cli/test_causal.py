"""`interp patch` and `interp knockout`: what they write, print and refuse."""

import json

import pandas as pd
import pytest
import yaml

from interp.cli import main
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.key_value import SCORED, scored_task


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a model and a key-value task."""
    folder = tmp_path_factory.mktemp("causal")
    tiny_model("llama").save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    rows = [json.dumps(dict(row)) + "\n" for row in scored_task().documents()]
    (folder / "rows.jsonl").write_text("".join(rows))
    config = SCORED | {
        "task": "pairs",
        "dataset_path": "json",
        "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
    }
    (folder / "pairs.yaml").write_text(yaml.safe_dump(config))
    return folder


def words(here, command, *more):
    return [command, str(here / "model"), "--task", str(here / "pairs.yaml"), "--device", "cpu",
            *map(str, more)]  # fmt: skip


@pytest.mark.slow
def test_patch_writes_recovery_and_its_maps(here, capsys):
    out = here / "patched"
    asked = words(here, "patch", "--by", "key", "--limit", 2, "--sites", "resid", "heads",
                  "--positions", "last", "--out", out)  # fmt: skip
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "twins-key-pairs, denoising: normalised recovery" in said
    assert "n = 2 pairs" in said
    table = pd.read_csv(out / "recovery.csv")
    assert len(table) == 2 * (3 + 12)
    # the stream in front of the first layer at the last position, where keys differ
    stream = table[table["ablation"] == "patch:resid:0@last"]
    assert (stream["low_all"].isna() | (stream["low_all"] <= stream["low"])).all()
    for name in ("recovery-positions", "recovery-heads"):
        assert (out / "figures" / f"{name}.pdf").is_file()
    assert main(["figures", str(out), "--format", "png", "--out", str(here / "figures")]) == 0
    drawn = {path.name for path in (here / "figures").iterdir()}
    assert {"recovery-positions.png", "recovery-heads.png"} <= drawn
    assert main(words(here, "patch", "--by", "person", "--out", here / "no")) == 2
    assert "no twins by 'person'" in capsys.readouterr().err
    assert not (here / "no").exists()


@pytest.mark.slow
def test_knockout_draws_windows_by_size(here, capsys):
    out = here / "cut"
    asked = words(here, "knockout", "--keys", "gold", "distractors", "--windows", 1, 2,
                  "--out", out)  # fmt: skip
    assert main(asked) == 0
    assert "cut:0-1@answering/gold" in capsys.readouterr().out
    table = pd.read_csv(out / "figures" / "knockout.csv")
    assert len(table) == 2 * (3 + 2)
    assert main(words(here, "knockout", "--windows", 9, "--out", here / "no")) == 2
    assert "9" in capsys.readouterr().err
    assert not (here / "no").exists()

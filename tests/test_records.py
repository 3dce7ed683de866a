"""The store: whole shards, verified; manifests that must match."""

import json
from pathlib import Path

import pytest

from interp.errors import UserError
from interp.records import (
    MANIFEST,
    Record,
    open_store,
    read_manifest,
    read_units,
    verified,
    write_unit,
)

MADE = {"schema": 1, "model": "tiny", "seed": 0, "ablations": ["layer:0"], "created": "then"}
ROWS = [
    Record(
        model="tiny",
        task="task",
        doc_id=3,
        ablation="baseline",
        target="w5",
        loglikelihoods=(-1.5, -2.25),
        token_counts=(1, 2),
        greedy=(True, False),
        metrics={"acc": 1.0},
    ),
    Record(
        model="tiny",
        task="task",
        doc_id=4,
        ablation="layer:0",
        target="w6",
        token_counts=(7,),
        text="w6 w7",
        finished=True,
        cut_tokens=2,
        metrics={"exact_match": 0.0},
    ),
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    open_store(tmp_path / "run", dict(MADE))
    write_unit(tmp_path / "run", "unit-0", MADE, ROWS)
    return tmp_path / "run"


def test_records_come_back_as_they_were(store):
    assert verified(store, "unit-0", MADE)
    table = read_units(store, ["unit-0"]).to_pylist()
    for row, record in zip(table, ROWS, strict=True):
        assert row["doc_id"] == record.doc_id
        assert row["text"] == record.text
        assert dict(row["metrics"]) == record.metrics
        assert row["loglikelihoods"] == (list(record.loglikelihoods or []) or None)


def test_no_temporary_file_is_left(store):
    assert sorted(p.name for p in store.rglob("*") if p.is_file()) == [MANIFEST, "unit-0.parquet"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "exchanged", "other run"])
def test_damaged_shards_are_found_and_moved_aside(store, damage):
    shard = store / "units" / "unit-0.parquet"
    content = bytearray(shard.read_bytes())
    asked = dict(MADE)
    if damage == "truncated":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
        shard.write_bytes(content)
    elif damage == "emptied":
        shard.write_bytes(b"")
    elif damage == "exchanged":
        write_unit(store, "unit-1", MADE, ROWS)
        (store / "units" / "unit-1.parquet").replace(shard)
    else:
        asked["seed"] = 1
    assert not verified(store, "unit-0", asked)
    assert not shard.exists()
    assert shard.with_suffix(".parquet.damaged").exists()


def test_every_byte_that_matters_is_covered(store):
    shard = store / "units" / "unit-0.parquet"
    whole = read_units(store, ["unit-0"]).to_pylist()
    content = shard.read_bytes()
    for position in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        shard.write_bytes(damaged)
        if verified(store, "unit-0", MADE):
            # bytes of the file that decide nothing (padding, statistics) may change
            assert read_units(store, ["unit-0"]).to_pylist() == whole
    shard.write_bytes(content)
    assert verified(store, "unit-0", MADE)


def test_the_same_run_opens_again_and_another_is_named(store):
    assert open_store(store, MADE | {"created": "now"})["created"] == "then"
    with pytest.raises(UserError, match=r"it holds another run \(seed: 0 there, 1 asked\)"):
        open_store(store, MADE | {"seed": 1})
    with pytest.raises(UserError, match=r"ablations: \['layer:0'\] there"):
        open_store(store, MADE | {"ablations": ["layer:0", "layer:1"]})


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="it is not empty and holds no run"):
        open_store(tmp_path, MADE)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_manifests_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no manifest\.json there"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(MADE | {"schema": 99}))
    with pytest.raises(UserError, match="schema 99; this version reads 1"):
        read_manifest(tmp_path)

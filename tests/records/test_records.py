"""The store: whole shards, verified; manifests that must match; one process at a time."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from interp.errors import UserError
from interp.records import (
    MANIFEST,
    SCHEMA,
    SCHEMA_VERSION,
    SOURCE,
    UNITS,
    Manifest,
    Record,
    Shard,
    locked,
    open_store,
    problem,
    problems,
    quarantine,
    read_manifest,
    read_units,
    shard_path,
    verified,
    write_unit,
)

N_UNITS = 12
ENTRIES: dict[str, Any] = {
    "schema": SCHEMA_VERSION,
    "model": "tiny",
    "weights_sha256": "aa",
    "dtype": "float32",
    "seed": 0,
    "libraries": {"torch": "2.13.0", SOURCE: "cc"},
    "ablations": ["layer:0"],
    "origin": {"created": "then"},
    "tasks": [{"name": "task", "doc_ids": list(range(3, 3 + N_UNITS))}],
    "units": [
        {"name": f"unit-{i}", "task": 0, "first": i, "examples": 1, "ablations": [0, 1]}
        for i in range(N_UNITS)
    ],
}


def changed(**entries) -> Manifest:
    """The manifest of these tests with some entries changed."""
    return Manifest.model_validate_json(json.dumps(ENTRIES | entries))


MADE = changed()


def rows_of(unit: int) -> list[Record]:
    return [
        Record(
            model="tiny",
            task="task",
            doc_id=3 + unit,
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
            doc_id=3 + unit,
            ablation="layer:0",
            target="w6",
            token_counts=(7,),
            text="w6 w7",
            finished=True,
            cut_tokens=2,
            metrics={"exact_match": 0.0},
        ),
    ]


ROWS = rows_of(0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    open_store(tmp_path / "run", MADE)
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


def damaged(content: bytes, other: bytes) -> dict[str, bytes]:
    """A whole shard, spoiled in each way that a machine or a hand can spoil it."""
    flipped = {
        f"flipped at {share:.0%}": bytes(
            byte ^ 0xFF if position == int(share * (len(content) - 1)) else byte
            for position, byte in enumerate(content)
        )
        for share in (0, 0.1, 0.5, 0.9, 1)
    }
    return flipped | {
        "truncated in the data": content[: len(content) // 4],
        "truncated in the footer": content[:-50],
        "truncated by a byte": content[:-1],
        "emptied": b"",
        "lengthened": content + b"PAR1",
        "zeroed": bytes(len(content)),
        "text": b"not a shard at all",
        "exchanged": other,
    }


def test_damaged_shards_are_found_named_and_moved_aside(store):
    write_unit(store, "unit-1", MADE, rows_of(1))
    shard, other = shard_path(store, "unit-0"), shard_path(store, "unit-1").read_bytes()
    content = shard.read_bytes()
    for number, (how, spoiled) in enumerate(damaged(content, other).items(), start=1):
        shard.write_bytes(spoiled)
        reason = problem(store, "unit-0", MADE)
        assert reason, how
        assert reason != "missing"
        aside = quarantine(store, "unit-0")
        assert aside.name == "unit-0.parquet.damaged" + (f"-{number}" if number > 1 else "")
        assert aside.read_bytes() == spoiled
        assert problem(store, "unit-0", MADE) == "missing"
    shard.write_bytes(content)
    assert verified(store, "unit-0", MADE)
    assert problem(store, "unit-0", changed(seed=1)) == "it belongs to another run"
    shard.write_bytes(other)
    assert problem(store, "unit-0", MADE) == "it is the shard of unit unit-1"


def test_the_damages_of_a_run_are_those_of_its_units_in_their_order(store):
    for unit in (1, 2):
        write_unit(store, f"unit-{unit}", MADE, rows_of(unit))
    shard_path(store, "unit-1").write_bytes(b"")
    names = ["unit-3", "unit-2", "unit-1", "unit-0"]
    expected = [("unit-3", "missing"), ("unit-1", "not a whole shard")]
    assert list(problems(store, names, MADE).items()) == expected
    assert problems(store, names, changed(seed=1)).keys() == set(names)


def test_every_bit_of_a_shard_is_covered(store):
    shard = shard_path(store, "unit-0")
    content = shard.read_bytes()
    for position in range(len(content)):
        spoiled = bytearray(content)
        spoiled[position] ^= 1 << position % 8
        shard.write_bytes(spoiled)
        assert not verified(store, "unit-0", MADE), position


def test_a_text_that_looks_like_the_place_of_the_hash_is_kept(store):
    texts = ["0" * 64, "sha256\x18@" + "0" * 64, "sha256\x18@" + "f" * 64]
    for unit, text in enumerate(texts):
        rows = [replace(row, text=text, target=text) for row in rows_of(unit)]
        write_unit(store, f"unit-{unit}", MADE, rows)
        assert verified(store, f"unit-{unit}", MADE)
        assert read_units(store, [f"unit-{unit}"])["text"].to_pylist() == [text, text]


def test_half_a_surrogate_pair_is_stored_as_a_question_mark(store):
    write_unit(store, "unit-1", MADE, [replace(ROWS[1], target="a\ud800b", text="\u00e9\u4e2d")])
    (row,) = read_units(store, ["unit-1"]).to_pylist()
    assert (row["target"], row["text"]) == ("a?b", "\u00e9\u4e2d")


def test_a_failed_write_leaves_the_old_file_and_no_other(store, monkeypatch):
    before = shard_path(store, "unit-0").read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("interp.records.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_unit(store, "unit-0", MADE, ROWS[:1])
    assert shard_path(store, "unit-0").read_bytes() == before
    assert [p.name for p in (store / UNITS).iterdir()] == ["unit-0.parquet"]


def test_shards_come_in_the_order_that_is_asked(store):
    for number in range(1, 12):
        write_unit(store, f"unit-{number}", MADE, rows_of(number)[:1])
    names = [f"unit-{number}" for number in (3, 11, 1, 10, 2)]
    assert read_units(store, names)["doc_id"].to_pylist() == [6, 14, 4, 13, 5]


def test_the_same_run_opens_again_and_another_is_named(store):
    assert open_store(store, changed(origin={"created": "now"})).origin.created == "then"
    with pytest.raises(UserError, match=r"it holds another run \(seed 0 there, 1 asked\)"):
        open_store(store, changed(seed=1))


def test_only_listed_differences_that_mix_no_answers_can_be_allowed(tmp_path):
    made = changed(libraries={"torch": "2.12.0"})
    asked = changed(libraries={"torch": "2.13.0"})
    open_store(tmp_path / "run", made)
    with pytest.raises(
        UserError, match=r"libraries\.torch: 2\.12\.0 there, 2\.13\.0 asked.*--allow"
    ):
        open_store(tmp_path / "run", asked)
    with pytest.raises(UserError, match=r"libraries\.torch"):
        open_store(tmp_path / "run", asked, allow=["libraries.numpy"])
    kept = open_store(tmp_path / "run", asked, allow=["libraries.torch"])
    (note,) = kept.allowed
    assert (note.name, note.there, note.asked) == ("libraries.torch", "2.12.0", "2.13.0")
    assert kept == read_manifest(tmp_path / "run")
    assert kept.fingerprint() == made.fingerprint()
    with pytest.raises(UserError, match=r"--allow weights_sha256: answers would be mixed"):
        open_store(
            tmp_path / "run",
            changed(libraries={"torch": "2.12.0"}, weights_sha256="bb"),
            allow=["weights_sha256"],
        )


def test_the_hash_of_the_package_s_code_is_compared(tmp_path):
    made, asked = (changed(libraries={"torch": "2.13.0", SOURCE: code}) for code in ("aa", "bb"))
    open_store(tmp_path / "run", made)
    with pytest.raises(UserError, match=r"interp-source: aa there, bb asked\).*--allow lib"):
        open_store(tmp_path / "run", asked)
    kept = open_store(tmp_path / "run", asked, allow=[f"libraries.{SOURCE}"])
    assert [note.as_dict() for note in kept.allowed] == [
        {"name": f"libraries.{SOURCE}", "there": "aa", "asked": "bb"}
    ]


def hold(folder: Path, shard: str = "") -> subprocess.Popen:
    """A process that holds a folder until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom interp.records import Shard, locked\n"
        "shard = Shard.parse(sys.argv[2]) if sys.argv[2] else None\n"
        "with locked(Path(sys.argv[1]), shard):\n  print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), shard], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_a_dead_one_blocks_nobody(store):
    with hold(store) as process:
        for shard in (None, Shard(1, 2)):
            with (
                pytest.raises(UserError, match=f"process {process.pid} on .* is working on it"),
                locked(store, shard),
            ):
                pass
        process.kill()
    with locked(store):
        assert (store / ".lock").exists()


def test_processes_of_shards_exclude_their_own_number_and_whole_runs(store):
    with hold(store, "1/2") as process:
        with locked(store, Shard(2, 2)):
            pass
        with pytest.raises(UserError, match=f"process {process.pid}"), locked(store, Shard(1, 2)):
            pass
        with pytest.raises(UserError, match="a shard each"), locked(store):
            pass
        process.kill()
    with locked(store):
        pass


def test_shares_are_a_partition():
    for count in (1, 3, 16):
        owners = [[s for s in range(1, count + 1) if Shard(s, count).holds(i)] for i in range(40)]
        assert all(len(owner) == 1 for owner in owners)
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""):
        with pytest.raises(UserError, match="allowed is K/N"):
            Shard.parse(text)


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
    for version, message in [
        (99, f"a newer interp wrote it \\(schema 99; this one reads {SCHEMA_VERSION}\\)"),
        (2, "an earlier interp wrote it .schema 2.*run the sweep again in another folder"),
        ("two", "names no schema"),
        (True, "names no schema"),
    ]:
        (tmp_path / MANIFEST).write_text(json.dumps(ENTRIES | {"schema": version}))
        with pytest.raises(UserError, match=message) as caught:
            read_manifest(tmp_path)
        assert "\n" not in str(caught.value)


UNIT = ENTRIES["units"][0]
TASK = ENTRIES["tasks"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": [UNIT | {"name": "../../etc/passwd"}]}, "units.0.name"),
        ({"units": [UNIT | {"name": ".hidden"}]}, "units.0.name"),
        ({"units": [UNIT | {"name": "n" * 250}]}, "units.0.name"),
        ({"units": [UNIT | {"name": "half a \ud800 pair"}]}, "cannot be used"),
        ({"units": [3]}, "units.0"),
        ({"units": None}, "units: "),
        ({"units": []}, "units: "),
        ({"units": ENTRIES["units"][1:]}, "not all examples under all ablations"),
        ({"units": [*ENTRIES["units"], UNIT]}, "unit unit-0 is there twice"),
        ({"units": [UNIT | {"examples": 99}]}, "not all examples under all ablations"),
        ({"units": [UNIT | {"task": 7}]}, "not all examples under all ablations"),
        ({"tasks": [{}]}, "tasks.0.name: "),
        ({"tasks": [{"name": "t"}]}, "tasks.0.doc_ids: "),
        ({"tasks": []}, "tasks: "),
        ({"tasks": [TASK, TASK]}, "task task is there twice"),
        ({"tasks": [TASK | {"sampling": 1}]}, "tasks.0.sampling"),
        ({"tasks": [TASK | {"doc_ids": [-1]}]}, "tasks.0.doc_ids.0"),
        ({"ablations": [1]}, "ablations.0: "),
        ({"ablations": ["baseline"]}, "ablation baseline is there twice"),
        ({"model": 3}, "model: "),
        ({"seed": -1}, "seed: "),
        ({"seed": True}, "seed: "),
        ({"libraries": {"torch": 2}}, "libraries.torch: "),
        ({"origin": {"command": None}}, "origin.command: "),
        ({"origin": {"command": 5}}, "origin.command: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_manifests_that_say_nonsense_are_refused(tmp_path, change, message):
    (tmp_path / MANIFEST).write_text(json.dumps(ENTRIES | change))
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_is_read_as_it_was_written(store):
    assert read_manifest(store) == MADE
    assert json.loads((store / MANIFEST).read_text())["tasks"][0]["name"] == "task"


# --- a shard is compared with its unit ------------------------------------------------------------


def forged(rows: list[Record]) -> list[list[Record]]:
    """Rows that another hand could put into a shard whose hash is right."""
    base, ablated = rows
    return [
        [base],
        [],
        [*rows, ablated],
        [base, base],
        [ablated, base],
        [base, replace(ablated, ablation="layer:1")],
        [base, replace(ablated, doc_id=99)],
        [replace(row, doc_id=4) for row in rows],
        [replace(row, task="other") for row in rows],
        [base, replace(ablated, model="other")],
    ]


def test_a_shard_with_other_rows_than_its_unit_s_is_found(store):
    assert verified(store, "unit-0", MADE)
    for number, rows in enumerate(forged(ROWS)):
        write_unit(store, "unit-0", MADE, rows)
        assert problem(store, "unit-0", MADE), number


def test_a_shard_with_other_columns_is_found(store, monkeypatch):
    fields = [field if field.name != "doc_id" else pa.field("doc_id", pa.float64())
              for field in SCHEMA]  # fmt: skip
    monkeypatch.setattr("interp.records.shards.SCHEMA", pa.schema(fields))
    write_unit(store, "unit-0", MADE, ROWS)
    monkeypatch.undo()
    assert "columns" in problem(store, "unit-0", MADE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are POSIX's")
def test_a_pipe_in_place_of_a_file_is_refused_and_hangs_nobody(store):
    shard_path(store, "unit-0").unlink()
    os.mkfifo(shard_path(store, "unit-0"))
    assert problem(store, "unit-0", MADE) == "it cannot be read (it is no plain file)"
    (store / MANIFEST).unlink()
    os.mkfifo(store / MANIFEST)
    with pytest.raises(UserError, match="it is no plain file"):
        read_manifest(store)

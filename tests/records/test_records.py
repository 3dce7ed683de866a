"""The store: whole shards, verified; manifests that must match; one process at a time."""

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from interp.errors import UserError
from interp.records import (
    MANIFEST,
    SOURCE,
    Record,
    damage,
    fingerprint,
    open_store,
    read_manifest,
    shard_path,
    write_unit,
)
from interp.records.locks import Share, locked
from interp.records.manifests import UNITS
from interp.records.schema import SCHEMA_VERSION
from interp.records.shards import damages, read_units, set_aside, verified

MADE = {
    "schema": SCHEMA_VERSION,
    "model": "tiny",
    "weights_sha256": "aa",
    "dtype": "float32",
    "seed": 0,
    "libraries": {"torch": "2.13.0"},
    "ablations": ["layer:0"],
    "created": "then",
    "tasks": [{"name": "t", "doc_ids": [0]}],
    "units": [{"name": "u"}],
}
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
    write_unit(store, "unit-1", MADE, ROWS)
    shard, other = shard_path(store, "unit-0"), shard_path(store, "unit-1").read_bytes()
    content = shard.read_bytes()
    for number, (how, spoiled) in enumerate(damaged(content, other).items(), start=1):
        shard.write_bytes(spoiled)
        reason = damage(store, "unit-0", MADE)
        assert reason, how
        assert reason != "missing"
        aside = set_aside(store, "unit-0")
        assert aside.name == "unit-0.parquet.damaged" + (f"-{number}" if number > 1 else "")
        assert aside.read_bytes() == spoiled
        assert damage(store, "unit-0", MADE) == "missing"
    shard.write_bytes(content)
    assert verified(store, "unit-0", MADE)
    assert damage(store, "unit-0", MADE | {"seed": 1}) == "it belongs to another run"
    shard.write_bytes(other)
    assert damage(store, "unit-0", MADE) == "it is the shard of unit unit-1"


def test_the_damages_of_a_run_are_those_of_its_units_in_their_order(store):
    for name in ("unit-1", "unit-2"):
        write_unit(store, name, MADE, ROWS)
    shard_path(store, "unit-1").write_bytes(b"")
    names = ["unit-3", "unit-2", "unit-1", "unit-0"]
    expected = [("unit-3", "missing"), ("unit-1", "not a whole shard")]
    assert list(damages(store, names, MADE).items()) == expected
    assert damages(store, names, MADE | {"seed": 1}).keys() == set(names)


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
    rows = [replace(ROWS[1], text=text, target=text) for text in texts]
    write_unit(store, "unit-1", MADE, rows)
    assert verified(store, "unit-1", MADE)
    assert read_units(store, ["unit-1"])["text"].to_pylist() == texts


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
        write_unit(store, f"unit-{number}", MADE, [replace(ROWS[0], doc_id=number)])
    names = [f"unit-{number}" for number in (3, 11, 1, 10, 2)]
    assert read_units(store, names)["doc_id"].to_pylist() == [3, 11, 1, 10, 2]


def test_the_same_run_opens_again_and_another_is_named(store):
    assert open_store(store, MADE | {"created": "now"})["created"] == "then"
    with pytest.raises(UserError, match=r"it holds another run \(seed: 0 there, 1 asked\)"):
        open_store(store, MADE | {"seed": 1})
    with pytest.raises(UserError, match=r"ablations: \['layer:0'\] there"):
        open_store(store, MADE | {"ablations": ["layer:0", "layer:1"]})


def test_only_listed_differences_that_mix_no_answers_can_be_allowed(tmp_path):
    made = MADE | {"libraries": {"torch": "2.12.0"}, "weights_sha256": "aa"}
    asked = made | {"libraries": {"torch": "2.13.0"}}
    open_store(tmp_path / "run", made)
    with pytest.raises(
        UserError, match=r"libraries\.torch: 2\.12\.0 there, 2\.13\.0 asked.*--allow"
    ):
        open_store(tmp_path / "run", asked)
    with pytest.raises(UserError, match=r"libraries\.torch"):
        open_store(tmp_path / "run", asked, allow=["libraries.numpy"])
    kept = open_store(tmp_path / "run", asked, allow=["libraries.torch"])
    note = {"name": "libraries.torch", "there": "2.12.0", "asked": "2.13.0"}
    assert kept["allowed"] == [note]
    assert fingerprint(kept) == fingerprint(json.loads(json.dumps(made)))
    with pytest.raises(UserError, match=r"--allow weights_sha256: answers would be mixed"):
        open_store(tmp_path / "run", made | {"weights_sha256": "bb"}, allow=["weights_sha256"])


def test_the_hash_of_the_package_s_code_is_compared_where_both_have_it(tmp_path):
    older = MADE | {"libraries": {"torch": "2.13.0"}}
    made = MADE | {"libraries": {"torch": "2.13.0", SOURCE: "aa"}}
    asked = MADE | {"libraries": {"torch": "2.13.0", SOURCE: "bb"}}
    open_store(tmp_path / "old", older)
    # what is there stays as it is: the shards carry its hash
    assert open_store(tmp_path / "old", asked)["libraries"] == older["libraries"]
    open_store(tmp_path / "run", made)
    assert open_store(tmp_path / "run", older)["libraries"] == made["libraries"]
    with pytest.raises(UserError, match=r"interp-source: aa there, bb asked\).*--allow lib"):
        open_store(tmp_path / "run", asked)
    kept = open_store(tmp_path / "run", asked, allow=[f"libraries.{SOURCE}"])
    assert kept["allowed"] == [{"name": f"libraries.{SOURCE}", "there": "aa", "asked": "bb"}]
    with pytest.raises(UserError, match=r"libraries\.torch: 2\.13\.0 there, None asked"):
        open_store(tmp_path / "run", MADE | {"libraries": {SOURCE: "aa"}})


def hold(folder: Path, share: str = "") -> subprocess.Popen:
    """A process that holds a folder until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom interp.records import Share, locked\n"
        "share = Share.parse(sys.argv[2]) if sys.argv[2] else None\n"
        "with locked(Path(sys.argv[1]), share):\n  print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), share], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_a_dead_one_blocks_nobody(store):
    with hold(store) as process:
        for share in (None, Share(1, 2)):
            with (
                pytest.raises(UserError, match=f"process {process.pid} on .* is working on it"),
                locked(store, share),
            ):
                pass
        process.kill()
    with locked(store):
        assert (store / ".lock").exists()


def test_shares_exclude_their_own_number_and_whole_runs(store):
    with hold(store, "1/2") as process:
        with locked(store, Share(2, 2)):
            pass
        with pytest.raises(UserError, match=f"process {process.pid}"), locked(store, Share(1, 2)):
            pass
        with pytest.raises(UserError, match="a share each"), locked(store):
            pass
        process.kill()
    with locked(store):
        pass


def test_shares_are_a_partition():
    for count in (1, 3, 16):
        owners = [[s for s in range(1, count + 1) if Share(s, count).holds(i)] for i in range(40)]
        assert all(len(owner) == 1 for owner in owners)
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""):
        with pytest.raises(UserError, match="allowed is K/N"):
            Share.parse(text)


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
    with pytest.raises(UserError, match="schema 99; this version reads 2"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": [{"name": "../../etc/passwd"}]}, "no name of a unit"),
        ({"units": [{"name": ".hidden"}]}, "no name of a unit"),
        ({"units": [3]}, "no name of a unit"),
        ({"units": None}, "units is missing or no list"),
        ({"tasks": [{}]}, "a task has no name"),
        ({"tasks": [{"name": "t"}]}, "has no doc_ids"),
        ({"ablations": [1]}, "an ablation is no text"),
        ({"model": 3}, "model is missing or no str"),
        ({"tasks": []}, "it has no tasks or no units"),
        ({"units": []}, "it has no tasks or no units"),
        ({"libraries": {}}, "libraries name no torch"),
        ({"schema": 1}, "schema 1; this version reads 2"),
        ({"schema": "two"}, "schema two; this version reads 2"),
    ],
)
def test_manifests_that_say_nonsense_are_refused(tmp_path, change, message):
    (tmp_path / MANIFEST).write_text(json.dumps(MADE | change))
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)

"""The store: whole shards, verified."""

import errno
import hashlib
import math
import os
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interp.errors import UserError
from interp.records import (
    MANIFEST,
    SCHEMA,
    UNITS,
    Record,
    problem,
    problems,
    quarantine,
    read_manifest,
    read_units,
    shard_path,
    verified,
    write_unit,
)
from tests.helpers.stores import MADE, ROWS, changed, rows_of


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


@pytest.mark.slow
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


GAPS = ("target", "metrics", "failure", "token_counts", "cut_tokens")


@pytest.mark.parametrize("column", [*GAPS, "infinite"])
def test_a_shard_with_gaps_is_damaged_though_its_hash_is_right(store, column):
    path = shard_path(store, "unit-0")
    table = pq.ParquetFile(path).read()
    if column == "infinite":
        values = [[("acc", math.inf)]] * len(table)
        column = "metrics"
    else:
        values = [None] * len(table)
    place = table.schema.get_field_index(column)
    field = table.schema.field(column)
    signed(path, table.set_column(place, field, pa.array(values, field.type)))
    assert re.search("has gaps|are not finite", problem(store, "unit-0", MADE) or "")
    assert not verified(store, "unit-0", MADE)


def signed(path, table):
    """Write a table as a shard with its right hash, in the place of one."""
    named = pq.read_metadata(path).metadata
    sink, zeros = pa.BufferOutputStream(), "0" * 64
    with pq.ParquetWriter(sink, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        claims = {name: named[name.encode()].decode() for name in ("unit", "run")}
        writer.add_key_value_metadata(claims | {"sha256": zeros})
    before, _, after = sink.getvalue().to_pybytes().rpartition(zeros.encode())
    digest = hashlib.sha256(before + zeros.encode() + after).hexdigest().encode()
    path.write_bytes(before + digest + after)


def test_the_same_shard_signed_anew_is_whole(store):
    path = shard_path(store, "unit-0")
    signed(path, pq.ParquetFile(path).read())
    assert verified(store, "unit-0", MADE)

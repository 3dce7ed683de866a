"""Shards: one Parquet file per work unit, which carries the hash of every one of its bytes."""

import glob
import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from interp.errors import UserError, first_line
from interp.records.files import (
    as_text,
    move_aside,
    read_regular,
    refuse_links_out,
    remove_parts,
    write_whole,
)
from interp.records.manifest import UNITS, Manifest, UnitEntry, shard_path
from interp.records.schema import SCHEMA, Record

NEVER_NULL = (
    "model", "task", "doc_id", "ablation", "target", "token_counts", "cut_tokens", "metrics",
    "failure",
)  # fmt: skip
"""Columns of which every record has a value."""
# stands in the file where its own hash will be
_PLACE = b"0" * 64
# the last of the file's metadata: key, length in a byte or two, value
_CLAIM = re.compile(rb"sha256.{1,2}([0-9a-f]{64})", re.DOTALL)


def write_unit(
    folder: Path,
    unit: str,
    manifest: Manifest,
    records: Sequence[Record],
    *,
    run: str | None = None,
) -> None:
    """Write one work unit's shard, whole or not at all.

    Args:
        folder: the folder of the run.
        unit: name of the unit.
        manifest: the manifest of the run.
        records: the records of the unit, by ablation and then by example.
        run: the unit's fingerprint, where it is known.
    """
    path = shard_path(folder, unit)
    refuse_links_out(path.parent, folder)
    remove_parts(path.parent, path.name)
    run = run or manifest.unit_fingerprints()[unit]
    write_whole(path, _content(unit, run, records))


def _content(unit: str, run: str, records: Sequence[Record]) -> bytes:
    """The bytes of a shard, its own hash among them."""
    columns = {
        name: [_storable(getattr(record, name)) for record in records]
        for name in SCHEMA.names
        if name != "metrics"
    }
    columns["metrics"] = [
        [(name, _storable(value)) for name, value in record.metrics.items()] for record in records
    ]
    table = pa.Table.from_pydict(columns, schema=SCHEMA)
    meta = {"unit": unit, "run": run, "sha256": _PLACE.decode()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(meta)
    content = sink.getvalue().to_pybytes()
    at = content.rfind(_PLACE)
    return content[:at] + _digest(content).encode() + content[at + len(_PLACE) :]


def write_piece(folder: Path, unit: str, run: str, records: Sequence[Record]) -> None:
    """Keep some of a unit's records until its shard is written.

    Args:
        folder: the folder of the run.
        unit: name of the unit.
        run: the unit's fingerprint.
        records: some of its records.
    """
    place = folder / UNITS
    refuse_links_out(place, folder)
    number = 1 + len(_pieces(folder, unit))
    write_whole(place / f".{unit}.{number:04d}.piece", _content(unit, run, records))


def read_pieces(folder: Path, unit: str, run: str) -> list[Record]:
    """The records that an interrupted run kept of a unit; damaged and foreign pieces are removed.

    Args:
        folder: the folder of the run.
        unit: name of the unit.
        run: the unit's fingerprint.

    Returns:
        Records, in the order in which they were written.
    """
    records: list[Record] = []
    for path in _pieces(folder, unit):
        try:
            content = read_regular(path)
        except OSError:
            continue
        if _not_of(content, unit, run):
            path.unlink(missing_ok=True)
            continue
        records += map(record_of_row, pq.read_table(pa.BufferReader(content)).to_pylist())
    return records


def remove_pieces(folder: Path, unit: str) -> None:
    """Remove the pieces of a unit whose shard is written.

    Args:
        folder: the folder of the run.
        unit: name of the unit.
    """
    for path in _pieces(folder, unit):
        path.unlink(missing_ok=True)


def _pieces(folder: Path, unit: str) -> list[Path]:
    return sorted((folder / UNITS).glob(f".{glob.escape(unit)}.*.piece"))


def record_of_row(row: dict[str, Any]) -> Record:
    """A record as it was before it was written."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    if values["loglikelihoods"] is not None:
        scores = (math.nan if v is None else v for v in values["loglikelihoods"])
        values["loglikelihoods"] = tuple(scores)
    pairs = ((name, math.nan if v is None else v) for name, v in row["metrics"])
    values["metrics"] = dict(pairs)
    return Record(**values)


def problem(folder: Path, unit: str, manifest: Manifest) -> str | None:
    """What is wrong with a unit's shard, in words; None where it is what was written.

    Args:
        folder: the folder of the run.
        unit: name of the unit.
        manifest: the manifest of the run, which says what the shard must hold.

    Returns:
        The reason, or None.
    """
    return problems(folder, [unit], manifest).get(unit)


def problems(folder: Path, units: Iterable[str], manifest: Manifest) -> dict[str, str]:
    """What is wrong with the shards of the named units, in their order; whole ones are left out.

    Args:
        folder: the folder of the run.
        units: names of its units.
        manifest: the manifest of the run, which says what the shards must hold.

    Returns:
        Unit to the reason.
    """
    # once: the manifest of a large run takes as long to hash as a shard
    runs, texts = manifest.unit_fingerprints(), manifest.texts
    entries = {entry.name: entry for entry in manifest.units}
    reasons = {}
    for unit in units:
        texts_of_unit = texts[entries[unit].ablations[0] : entries[unit].ablations[1] + 1]
        reasons[unit] = _problem(folder, entries[unit], manifest, runs[unit], texts_of_unit)
    return {unit: reason for unit, reason in reasons.items() if reason}


def _problem(
    folder: Path, entry: UnitEntry, manifest: Manifest, run: str, texts: Sequence[str]
) -> str:
    """What is wrong with one shard; empty where nothing is.

    Args:
        folder: the folder of the run.
        entry: the shard's unit.
        manifest: the manifest of the run.
        run: the fingerprint of the unit.
        texts: its ablations.
    """
    try:
        content = read_regular(shard_path(folder, entry.name))
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    wrong = _not_of(content, entry.name, run)
    return wrong or _other_records(content, entry, manifest, texts)


def _not_of(content: bytes, unit: str, run: str) -> str:
    """Why bytes are not what was written for a unit; empty where they are."""
    # the hash is checked first: bytes that no hash confirms are not parsed
    claims = list(_CLAIM.finditer(content))
    if not claims or content[-4:] != b"PAR1":
        return "not a whole shard"
    start, end = claims[-1].span(1)
    if _digest(content[:start] + _PLACE + content[end:]) != claims[-1][1].decode():
        return "its bytes are not those that were written"
    named = {
        key.decode(): value.decode()
        for key, value in pq.read_metadata(pa.BufferReader(content)).metadata.items()
    }
    if named.get("unit") != unit:
        return f"it is the shard of unit {named.get('unit')}"
    return "" if named.get("run") == run else "it belongs to another run"


def _other_records(
    content: bytes, entry: UnitEntry, manifest: Manifest, texts: Sequence[str]
) -> str:
    """In what a shard's rows are not those of its unit; empty where they are.

    A hash says that the bytes have not changed since; it does not say that they are the unit's
    records.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if not file.schema_arrow.equals(SCHEMA):
            return "its columns are not those of a shard"
        table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"it cannot be read ({first_line(error)})"
    if spoilt := [name for name in NEVER_NULL if table[name].null_count]:
        return f"its column {spoilt[0]} has gaps"
    values = table["metrics"].combine_chunks().items
    if not pc.all(pc.is_finite(values.drop_null())).as_py() and len(values.drop_null()):
        return "its metrics are not finite"
    task = manifest.tasks[entry.task]
    doc_ids = task.doc_ids[entry.first : entry.first + entry.examples]
    expected = len(texts) * len(doc_ids)
    if len(table) != expected:
        return f"it holds {len(table)} records, and its unit has {expected}"
    # the model's name may be allowed to differ between two calls of a run
    names = {manifest.model, *(d.asked for d in manifest.allowed if d.name == "model")}
    models, tasks = (set(table[name].unique().to_pylist()) for name in ("model", "task"))
    if tasks != {task.name} or not models <= names:
        return "its records are of another task or model"
    ablations = pa.array([as_text(text) for text in texts for _ in doc_ids], pa.string())
    if not table["ablation"].combine_chunks().equals(ablations):
        return "its records are of other ablations than its unit's"
    examples = pa.array(list(doc_ids) * len(texts), pa.int64())
    if not table["doc_id"].combine_chunks().equals(examples):
        return "its records are of other examples than its unit's"
    return ""


def verified(folder: Path, unit: str, manifest: Manifest) -> bool:
    """Whether a unit's shard is there and is what was written; reads only.

    Args:
        folder: the folder of the run.
        unit: name of the unit.
        manifest: the manifest of the run, which says what the shard must hold.

    Returns:
        False for a missing, a damaged and a foreign shard.
    """
    return problem(folder, unit, manifest) is None


def quarantine(folder: Path, unit: str) -> Path:
    """Move a damaged shard out of the way, as `NAME.parquet.damaged`; returns where it is.

    Args:
        folder: the folder of the run.
        unit: name of the unit.

    Returns:
        The path of the moved file.
    """
    refuse_links_out(folder / UNITS, folder)
    return move_aside(shard_path(folder, unit))


def dataset(folder: Path, units: Iterable[str]) -> pyarrow.dataset.Dataset:
    """The shards of the named units as one Arrow dataset: nothing is read before it is asked.

    Args:
        folder: the folder of the run.
        units: names of its units.

    Returns:
        A dataset of the columns of `SCHEMA`, one row per record.

    Raises:
        UserError: the folder's path is no text, which Arrow cannot open.
    """
    paths = [str(shard_path(folder, unit)) for unit in units]
    if os.fsencode(folder) != str(folder).encode(errors="replace"):
        raise UserError(f"run {str(folder)!r}: its path is no UTF-8; move it to read its tables")
    return pyarrow.dataset.dataset(paths, schema=SCHEMA, format="parquet")


def read_units(folder: Path, units: Iterable[str]) -> pa.Table:
    """All records of the named units, in their order.

    Args:
        folder: the folder of the run.
        units: names of its units.

    Returns:
        A table of the columns of `SCHEMA`, one row per record.
    """
    names = list(units)
    return dataset(folder, names).to_table() if names else SCHEMA.empty_table()


def _storable(value: Any) -> Any:
    """Half a surrogate pair, which no file can hold, as `?`; NaN and infinities as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and not value.isascii():
        return as_text(value)
    return [_storable(item) for item in value] if isinstance(value, tuple) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

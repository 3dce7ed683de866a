"""Shards: one Parquet file a work unit, which carries the hash of every one of its bytes."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from interp.records.files import move_aside, remove_parts, write_whole
from interp.records.manifests import UNITS, fingerprint
from interp.records.schema import SCHEMA, Record

# stands in the file where its own hash will be
_PLACE = b"0" * 64
# the last of the file's metadata: key, length in a byte or two, value
_CLAIM = re.compile(rb"sha256.{1,2}([0-9a-f]{64})", re.DOTALL)


def shard_path(folder: Path, unit: str) -> Path:
    """Where a unit's shard is."""
    return folder / UNITS / f"{unit}.parquet"


def write_unit(
    folder: Path, unit: str, manifest: dict[str, Any], records: Sequence[Record]
) -> None:
    """Write one work unit's shard, whole or not at all."""
    columns = {
        name: [_storable(getattr(record, name)) for record in records]
        for name in SCHEMA.names
        if name != "metrics"
    }
    columns["metrics"] = [list(record.metrics.items()) for record in records]
    table = pa.Table.from_pydict(columns, schema=SCHEMA)
    meta = {"unit": unit, "run": fingerprint(manifest), "sha256": _PLACE.decode()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(meta)
    content = sink.getvalue().to_pybytes()
    path = shard_path(folder, unit)
    remove_parts(path.parent, path.name)
    at = content.rfind(_PLACE)
    write_whole(path, content[:at] + _digest(content).encode() + content[at + len(_PLACE) :])


def damage(folder: Path, unit: str, manifest: dict[str, Any]) -> str | None:
    """What is wrong with a unit's shard, in words; None where it is what was written."""
    return damages(folder, [unit], manifest).get(unit)


def damages(folder: Path, units: Iterable[str], manifest: dict[str, Any]) -> dict[str, str]:
    """What is wrong with the shards of the named units, in their order; whole ones are left out."""
    # once: the manifest of a large run takes as long to hash as a shard
    run = fingerprint(manifest)
    found = {unit: _damage(folder, unit, run) for unit in units}
    return {unit: reason for unit, reason in found.items() if reason}


def _damage(folder: Path, unit: str, run: str) -> str:
    try:
        content = shard_path(folder, unit).read_bytes()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    # the hash comes first: bytes that nobody vouches for are not parsed
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
    if named.get("run") != run:
        return "it belongs to another run"
    return ""


def verified(folder: Path, unit: str, manifest: dict[str, Any]) -> bool:
    """Whether a unit's shard is there and is what was written; reads only."""
    return damage(folder, unit, manifest) is None


def set_aside(folder: Path, unit: str) -> Path:
    """Move a damaged shard out of the way, as `NAME.parquet.damaged`; returns where it is."""
    return move_aside(shard_path(folder, unit))


def dataset(folder: Path, units: Iterable[str]) -> pyarrow.dataset.Dataset:
    """The shards of the named units as one Arrow dataset: nothing is read before it is asked."""
    paths = [str(shard_path(folder, unit)) for unit in units]
    return pyarrow.dataset.dataset(paths, schema=SCHEMA, format="parquet")


def read_units(folder: Path, units: Iterable[str]) -> pa.Table:
    """All records of the named units, in their order."""
    names = list(units)
    return dataset(folder, names).to_table() if names else SCHEMA.empty_table()


def _storable(value: Any) -> Any:
    """Rows of a task can hold half a surrogate pair, which no file can; it becomes `?`."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return [_storable(one) for one in value] if isinstance(value, tuple) else value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

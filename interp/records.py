"""The store on disk: a manifest and one Parquet shard a work unit.

A shard is written whole: to a temporary file in the same folder, synced, renamed. It carries its
unit's name, the run's fingerprint and a hash of its rows, so that a torn, altered or exchanged
shard is found, named, moved aside and computed again.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from interp.errors import UserError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
UNITS = "units"
# what may differ between two calls of the same run
INCIDENTAL = ("command", "created", "device", "platform")

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("ablation", pa.string()),
        ("target", pa.string()),
        ("loglikelihoods", pa.list_(pa.float64())),
        ("token_counts", pa.list_(pa.int64())),
        ("greedy", pa.list_(pa.bool_())),
        ("text", pa.string()),
        ("finished", pa.bool_()),
        ("cut_tokens", pa.int64()),
        ("metrics", pa.map_(pa.string(), pa.float64())),
    ]
)


@dataclass(frozen=True)
class Record:
    """One example's outcome under one ablation.

    Attributes:
        model: name of the model.
        task: name of the task.
        doc_id: row of the task.
        ablation: text form; `baseline` for the unablated model.
        target: the right answer.
        loglikelihoods: nats, one an option; None for generated answers.
        token_counts: tokens of each option, or of the generated answer.
        greedy: whether each option is what greedy decoding would write.
        text: the generated answer; None where options were scored.
        finished: False where the token limit cut the generated answer.
        cut_tokens: tokens dropped from the left of the prompt to fit the context.
        metrics: metric name to value.
    """

    model: str
    task: str
    doc_id: int
    ablation: str
    target: str
    loglikelihoods: tuple[float, ...] | None = None
    token_counts: tuple[int, ...] = ()
    greedy: tuple[bool, ...] | None = None
    text: str | None = None
    finished: bool | None = None
    cut_tokens: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


def open_store(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Make a run's folder, or check that the one that is there holds this very run.

    Returns:
        The manifest that is on disk.

    Raises:
        UserError: the folder holds another run, or something that is no run.
    """
    path = folder / MANIFEST
    if path.is_file():
        kept = read_manifest(folder)
        difference = _difference(kept, json.loads(json.dumps(manifest)))
        if difference:
            raise UserError(
                f"out {folder}: it holds another run ({difference}); give another folder"
            )
        return kept
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"out {folder}: it is not empty and holds no run; give another folder")
    (folder / UNITS).mkdir(parents=True, exist_ok=True)
    _write_whole(path, json.dumps(manifest, indent=2).encode())
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        UserError: no manifest, not readable, or of another schema version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"run {folder}: no {MANIFEST} there")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        version = manifest["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"run {folder}: its {MANIFEST} cannot be read ({error})") from error
    if version != SCHEMA_VERSION:
        raise UserError(f"run {folder}: schema {version}; this version reads {SCHEMA_VERSION}")
    return manifest


def write_unit(
    folder: Path, unit: str, manifest: dict[str, Any], records: Sequence[Record]
) -> None:
    """Write one work unit's shard, whole or not at all."""
    rows = [asdict(record) for record in records]
    table = pa.Table.from_pylist(
        [{**row, "metrics": list(row["metrics"].items())} for row in rows], schema=SCHEMA
    )
    meta = {"unit": unit, "run": fingerprint(manifest), "sha256": _hash(table)}
    table = table.replace_schema_metadata(meta)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _write_whole(_shard(folder, unit), sink.getvalue().to_pybytes())


def verified(folder: Path, unit: str, manifest: dict[str, Any]) -> bool:
    """Whether a unit's shard is there and is what was written.

    A shard that is there but does not verify is moved aside, as `NAME.parquet.damaged`.
    """
    path = _shard(folder, unit)
    if not path.is_file():
        return False
    try:
        table = pq.read_table(path)
        meta = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        good = (
            meta.get("unit") == unit
            and meta.get("run") == fingerprint(manifest)
            and meta.get("sha256") == _hash(table)
        )
    except (pa.ArrowException, OSError, ValueError, KeyError, UnicodeDecodeError):
        good = False
    if not good:
        path.replace(path.with_suffix(".parquet.damaged"))
    return good


def read_units(folder: Path, units: Iterable[str]) -> pa.Table:
    """All records of the named units."""
    tables = [pq.read_table(_shard(folder, unit)).replace_schema_metadata(None) for unit in units]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def fingerprint(manifest: dict[str, Any]) -> str:
    """SHA-256 of all in a manifest that decides the records."""
    kept = {k: v for k, v in manifest.items() if k not in INCIDENTAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _difference(kept: Any, asked: Any, where: str = "") -> str:
    """The first place at which two manifests differ, in words; empty where they agree."""
    if isinstance(kept, dict) and isinstance(asked, dict):
        for key in sorted(kept.keys() | asked.keys()):
            if not where and key in INCIDENTAL:
                continue
            name = f"{where}.{key}" if where else key
            found = _difference(kept.get(key), asked.get(key), name)
            if found:
                return found
        return ""
    if isinstance(kept, list) and isinstance(asked, list) and kept != asked:
        missing = [x for x in kept if x not in asked] or [x for x in asked if x not in kept]
        return f"{where}: {_short(kept)} there, {_short(asked)} asked; differs in {_short(missing)}"
    return "" if kept == asked else f"{where}: {_short(kept)} there, {_short(asked)} asked"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shard(folder: Path, unit: str) -> Path:
    return folder / UNITS / f"{unit}.parquet"


def _hash(table: pa.Table) -> str:
    rows = table.select(SCHEMA.names).to_pylist()
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

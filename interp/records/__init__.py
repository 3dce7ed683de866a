"""The store on disk: a manifest and one Parquet shard a work unit.

A shard is written whole: to a temporary file in the same folder, synced, renamed. It carries its
unit's name, the run's fingerprint and the hash of all its bytes, so that a torn, altered or
exchanged shard is found, named, moved aside and computed again. `schema.py` says what is in it.
"""

from interp.records.files import write_whole
from interp.records.locks import Share, locked
from interp.records.manifests import (
    INCIDENTAL,
    MANIFEST,
    SOURCE,
    UNITS,
    differences,
    fingerprint,
    open_store,
    read_manifest,
)
from interp.records.schema import SCHEMA, SCHEMA_VERSION, Record
from interp.records.shards import (
    damage,
    damages,
    dataset,
    read_units,
    set_aside,
    shard_path,
    verified,
    write_unit,
)

__all__ = [
    "INCIDENTAL",
    "MANIFEST",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SOURCE",
    "UNITS",
    "Record",
    "Share",
    "damage",
    "damages",
    "dataset",
    "differences",
    "fingerprint",
    "locked",
    "open_store",
    "read_manifest",
    "read_units",
    "set_aside",
    "shard_path",
    "verified",
    "write_unit",
    "write_whole",
]

from .files import (
    write_whole as write_whole,
)
from .locks import (
    Share as Share,
    locked as locked,
)
from .manifests import (
    INCIDENTAL as INCIDENTAL,
    MANIFEST as MANIFEST,
    SOURCE as SOURCE,
    UNITS as UNITS,
    differences as differences,
    fingerprint as fingerprint,
    open_store as open_store,
    read_manifest as read_manifest,
)
from .merging import (
    merge as merge,
)
from .schema import (
    SCHEMA as SCHEMA,
    SCHEMA_VERSION as SCHEMA_VERSION,
    Record as Record,
)
from .shards import (
    damage as damage,
    damages as damages,
    dataset as dataset,
    read_units as read_units,
    set_aside as set_aside,
    shard_path as shard_path,
    verified as verified,
    write_unit as write_unit,
)

__all__ = [
    "INCIDENTAL",
    "MANIFEST",
    "Record",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SOURCE",
    "Share",
    "UNITS",
    "damage",
    "damages",
    "dataset",
    "differences",
    "fingerprint",
    "locked",
    "merge",
    "open_store",
    "read_manifest",
    "read_units",
    "set_aside",
    "shard_path",
    "verified",
    "write_unit",
    "write_whole",
]

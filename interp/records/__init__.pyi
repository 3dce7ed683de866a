from .code import (
    code_sha256 as code_sha256,
    is_library as is_library,
)
from .comparing import (
    ALLOWABLE as ALLOWABLE,
    Difference as Difference,
    differences as differences,
)
from .files import (
    as_text as as_text,
    read_regular as read_regular,
    refuse_links_out as refuse_links_out,
    whole_file as whole_file,
    write_whole as write_whole,
)
from .locks import (
    Shard as Shard,
    locked as locked,
)
from .manifest import (
    MANIFEST as MANIFEST,
    SCHEMA_VERSION as SCHEMA_VERSION,
    SOURCE as SOURCE,
    UNITS as UNITS,
    Manifest as Manifest,
    OriginEntry as OriginEntry,
    SamplingEntry as SamplingEntry,
    TaskEntry as TaskEntry,
    UnitEntry as UnitEntry,
    read_manifest as read_manifest,
    shard_path as shard_path,
)
from .merging import (
    merge as merge,
)
from .opening import (
    open_store as open_store,
)
from .schema import (
    SCHEMA as SCHEMA,
    Record as Record,
)
from .shards import (
    dataset as dataset,
    problem as problem,
    problems as problems,
    quarantine as quarantine,
    read_units as read_units,
    verified as verified,
    write_unit as write_unit,
)

__all__ = [
    "ALLOWABLE",
    "Difference",
    "MANIFEST",
    "Manifest",
    "OriginEntry",
    "Record",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SOURCE",
    "SamplingEntry",
    "Shard",
    "TaskEntry",
    "UNITS",
    "UnitEntry",
    "as_text",
    "code_sha256",
    "dataset",
    "is_library",
    "differences",
    "locked",
    "merge",
    "open_store",
    "problem",
    "problems",
    "quarantine",
    "read_manifest",
    "read_regular",
    "read_units",
    "shard_path",
    "verified",
    "refuse_links_out",
    "whole_file",
    "write_unit",
    "write_whole",
]

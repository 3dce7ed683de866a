from .code import (
    code_sha256 as code_sha256,
    is_library as is_library,
)
from .comparing import (
    ALLOWABLE as ALLOWABLE,
    Difference as Difference,
    differences as differences,
)
from .extending import (
    Extent as Extent,
    conflicts as conflicts,
    extend_store as extend_store,
    extent as extent,
    nested as nested,
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
    OF_ROWS as OF_ROWS,
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
    open_or_make as open_or_make,
    open_store as open_store,
    with_accepted as with_accepted,
)
from .rounding import (
    ROUNDING as ROUNDING,
    MetricRounding as MetricRounding,
    Rounding as Rounding,
    TaskRounding as TaskRounding,
    read_rounding as read_rounding,
    write_rounding as write_rounding,
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
    read_pieces as read_pieces,
    read_units as read_units,
    remove_pieces as remove_pieces,
    verified as verified,
    write_piece as write_piece,
    write_unit as write_unit,
)

__all__ = [
    "ALLOWABLE",
    "Difference",
    "Extent",
    "MANIFEST",
    "Manifest",
    "OF_ROWS",
    "MetricRounding",
    "OriginEntry",
    "ROUNDING",
    "Record",
    "Rounding",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SOURCE",
    "SamplingEntry",
    "Shard",
    "TaskEntry",
    "TaskRounding",
    "UNITS",
    "UnitEntry",
    "as_text",
    "code_sha256",
    "conflicts",
    "dataset",
    "extend_store",
    "extent",
    "is_library",
    "differences",
    "locked",
    "merge",
    "nested",
    "open_or_make",
    "open_store",
    "problem",
    "problems",
    "quarantine",
    "read_manifest",
    "read_pieces",
    "read_regular",
    "read_rounding",
    "read_units",
    "remove_pieces",
    "shard_path",
    "verified",
    "refuse_links_out",
    "whole_file",
    "with_accepted",
    "write_piece",
    "write_rounding",
    "write_unit",
    "write_whole",
]

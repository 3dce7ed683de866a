"""The store on disk: a manifest and one Parquet shard per work unit.

A shard is written whole: to a temporary file in the same folder, synced, renamed. It carries its
unit's name, the run's fingerprint and the hash of all its bytes, so that a torn, altered or
exchanged shard is found, named, moved aside and computed again. `schema.py` says what is in it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

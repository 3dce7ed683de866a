"""A lock on a run's folder, or on one shard of it; it ends with its process.

The locks are the operating system's (through `portalocker`): they end with the process that holds
them, however it ends, so a lock file that is left behind blocks nobody.
"""

import errno
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import portalocker

from interp.errors import UserError
from interp.records.files import open_plain


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count` of a run's units, counted from 1 (`3/16`)."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `3/16`. Raises UserError for anything else."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"shard {text!r}: allowed is K/N with K from 1 to N, such as 3/16")
        return cls(int(match[1]), int(match[2]))

    def holds(self, position: int) -> bool:
        """Whether the unit at this position (from 0) of the plan is in the shard."""
        return position % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@contextmanager
def locked(folder: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold a run's folder, or one shard of it, until the block ends.

    A whole run excludes everybody; shards exclude their own number and whole runs.

    Args:
        folder: the folder of the run.
        shard: the part of its units that is run; None for the whole run.

    Yields:
        None; the lock is free afterwards.

    Raises:
        UserError: another process holds it; its number and machine are named.
        OSError: the folder cannot be written.
    """
    with ExitStack() as stack:
        whole = stack.enter_context(open_plain(folder / ".lock"))
        _lock(whole, folder, shared=shard is not None)
        if shard is not None:
            name = f".lock-{shard.number}-of-{shard.count}"
            file = stack.enter_context(open_plain(folder / name))
            _lock(file, folder, shared=False)
        yield


@contextmanager
def manifest_locked(folder: Path) -> Iterator[None]:
    """Hold a run's manifest for the moment in which it is read, compared and written.

    Unlike `locked` it waits: whoever holds it needs no time.

    Args:
        folder: the folder of the run.

    Yields:
        None; the lock is free afterwards.

    Raises:
        OSError: the folder cannot be written.
    """
    with open_plain(folder / ".lock-manifest") as file:
        # a file system without locks has none; the manifest is written whole even so
        with suppress(portalocker.LockException):
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE)
        yield


def _lock(file: IO[str], folder: Path, *, shared: bool) -> None:
    kind = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    try:
        portalocker.lock(file, kind | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        raise UserError(
            f"out {folder}: {_holder(file)} is working on it; wait for it, or end it"
        ) from None
    except portalocker.LockException as error:
        reason = next((e for e in (error.__cause__, *error.args) if isinstance(e, OSError)), None)
        if reason is None:
            raise OSError(str(error)) from error
        if reason.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            # some cluster file systems have no locks; shards are whole and equal even so
            return
        raise reason from error
    with suppress(OSError):  # the name is for people only
        file.seek(0)
        file.truncate()
        if not shared:
            began = datetime.now(UTC).isoformat(timespec="seconds")
            json.dump([socket.gethostname(), os.getpid(), began], file)
            file.flush()


def _holder(file: IO[str]) -> str:
    try:
        file.seek(0)
        host, process, began = json.load(file)
        return f"process {process} on {host} (since {began})"
    except (ValueError, OSError):
        return "another process, or several with a shard each,"

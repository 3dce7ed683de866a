"""Files that are whole or not there, whatever moment the machine stops at."""

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path


def as_text(value: object) -> str:
    """A value as text that any file can hold: half a surrogate pair becomes `?`."""
    return str(value).encode("utf-8", "replace").decode()


def write_whole(path: Path, content: bytes, *, replace: bool = True) -> bool:
    """Write a file by a temporary one in the same folder: written, synced, renamed, folder synced.

    Args:
        path: the file.
        content: all of it.
        replace: take the place of a file that is there; else leave that one.

    Returns:
        Whether the file at `path` is now this one.

    Raises:
        OSError: the disk is full, the folder cannot be written ...; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            # unlike a rename, a link fails where another process was first
            _link(temporary, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def read_regular(path: Path) -> bytes:
    """The content of a plain file; never of a pipe or a device, which may have no end.

    Raises:
        OSError: it is not there, no plain file, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return path.read_bytes()


def move_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged`, `NAME.damaged-2` ...; nothing is overwritten."""
    number, aside = 1, path.with_name(f"{path.name}.damaged")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    path.rename(aside)
    _sync_folder(path.parent)
    return aside


def remove_parts(folder: Path, name: str) -> None:
    """Remove what writers of a file left when they were killed."""
    for part in folder.glob(f".{name}.*.part"):
        part.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

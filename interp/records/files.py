"""Files that are written completely or not at all, even if the machine stops in between."""

import errno
import glob
import hashlib
import io
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from interp.errors import UserError

LONGEST = 170
"""Bytes of a file's name that are part of its temporary file's; names have at most 255."""


def as_text(value: object) -> str:
    """A value as text that any file can hold: half a surrogate pair becomes `?`.

    Args:
        value: anything that has a string.

    Returns:
        Text that can be encoded in UTF-8.
    """
    return str(value).encode("utf-8", "replace").decode()


def write_whole(path: Path, content: bytes, *, replace: bool = True) -> bool:
    """Write a file by a temporary one in the same folder: written, synced, renamed, folder synced.

    A link at the file's place is replaced, and what it leads to stays as it is.

    Args:
        path: the file.
        content: all of it.
        replace: take the place of a file that is there; else leave that one.

    Returns:
        Whether the file at `path` is now this one.

    Raises:
        OSError: the disk is full, the folder cannot be written ...; nothing is left behind.
    """
    with whole_file(path, replace=replace) as file:
        file.write(content)
    return file.in_place


class WholeFile(io.FileIO):
    """A temporary file that takes a file's place when all of it is written.

    Attributes:
        path: the file whose place it takes.
        in_place: whether it has.
    """

    def __init__(self, temporary: Path, path: Path) -> None:
        """Make the temporary file; an error where one of its name is there, be it a link."""
        super().__init__(str(temporary), "wb", opener=_made)
        self.path, self.in_place = path, False

    def write(self, content: Any, /) -> int:
        """Write all of it; a plain file takes what fits on the disk, and says how much that was."""
        left = memoryview(content).cast("B")
        size = len(left)
        with _named(self.path):
            while left:
                left = left[super().write(left) :]
        return size


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[WholeFile]:
    """A file to write to, for content that is too large to hold: whole in the end, or not there.

    Args:
        path: the file.
        replace: take the place of a file that is there; else leave that one.

    Yields:
        The file, to be written in pieces. It is at `path` when the block ends without an error.

    Raises:
        OSError: the disk is full, the folder cannot be written ...; it names the file, and nothing
            is left behind.
    """
    temporary = path.with_name(f"{_stem(path.name)}.{socket.gethostname()[:60]}-{os.getpid()}.part")
    with _named(path):
        # what a killed process of the same number left, or a link that another hand put there
        temporary.unlink(missing_ok=True)
        file = WholeFile(temporary, path)
    try:
        yield file
        with _named(path):
            os.fsync(file.fileno())
            file.close()
            _put_in_place(file, temporary, replace=replace)
    finally:
        file.close()
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if file.in_place:
        _sync_folder(path.parent)


def _put_in_place(file: WholeFile, temporary: Path, *, replace: bool) -> None:
    if replace:
        temporary.replace(file.path)
    else:
        try:
            # unlike a rename, a link fails where another process was first
            _link(temporary, file.path)
        except FileExistsError:
            return
    file.in_place = True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of a temporary file as errors of the file that was asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _stem(name: str) -> str:
    """How the names of a file's temporary files begin: hidden, and no name is too long."""
    if len(os.fsencode(name)) > LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}"


def refuse_links_out(path: Path, run: Path) -> None:
    """Refuse a place in a run's folder from which a link leads out of it.

    A folder that was received may hold links to anywhere; what is written into it stays in it.

    Args:
        path: a file or folder that will be written, there or not.
        run: the run's folder, which may itself be a link.

    Raises:
        UserError: the place is elsewhere.
    """
    inside = path.parent.resolve() / path.name
    if path.is_dir():
        inside = path.resolve()
    if not inside.is_relative_to(run.resolve()):
        place = path.relative_to(run) if path.is_relative_to(run) else path
        raise UserError(
            f"run {run}: {place} leads out of the folder by a link; nothing is written there"
        )


def open_plain(path: Path) -> IO[str]:
    """Open a file to read and write, made if it is not there; never through a link.

    Returns:
        The file, at its start. The caller closes it.

    Raises:
        UserError: it is a link, a pipe or a device.
        OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    # a system without the flag is asked beforehand
    if path.is_symlink():
        raise UserError(f"run {path.parent}: {path.name} is a link; remove it")
    number = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UserError(f"run {path.parent}: {path.name} is no plain file; remove it")
    return os.fdopen(number, "r+")


def _made(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)


def read_regular(path: Path) -> bytes:
    """The content of a plain file; never of a pipe or a device, which may have no end.

    Args:
        path: the path of the file.

    Returns:
        All bytes of the file.

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
    for part in folder.glob(f"{glob.escape(_stem(name))}.*.part"):
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
    """Make a rename durable, where folders can be synced (on Windows they cannot)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The one exception that means: the user asked for something that cannot be done."""

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """A request that cannot be carried out; its message is one line.

    The message names the thing, the place and what is allowed, and is raised before any work
    is done. The command line prints it without a traceback.
    """

    def __str__(self) -> str:
        # what the user gave may itself hold line breaks
        return " ".join(super().__str__().splitlines())


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def failed_file(error: OSError) -> str:
    """What an error of the file system says: the file, if it names one, and the reason."""
    reason = error.strerror or first_line(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def path_given(what: str, given: Any) -> Path:
    """The path that a user gives; UserError for what names none.

    Args:
        what: it is for, such as `out`.
        given: text or a path, if it is right.

    Returns:
        The same path as a `Path`.
    """
    if not isinstance(given, str | os.PathLike) or not str(given) or "\0" in str(given):
        raise UserError(f"{what} {given!r:.80}: allowed is the path of a folder")
    path = Path(given)
    try:
        lengths = [len(os.fsencode(part)) for part in (str(path), *path.parts)]
    except UnicodeEncodeError:
        lengths = []
    # of such a name every question to the file system is an OSError
    if not lengths or lengths[0] > 4095 or max(lengths[1:], default=0) > 255:
        raise UserError(f"{what} {str(given)[:60]!r}...: no file or folder can have this name")
    return path


def folder_given(what: str, given: Any) -> Path:
    """A path to write files under; one in which nothing can be written is refused.

    Args:
        what: it is for, such as `folder`.
        given: text or a path, if it is right.

    Returns:
        The path; nothing is made.

    Raises:
        UserError: it is no path; it or one of the folders above it is a file, or a folder in which
            nothing can be written.
    """
    folder = path_given(what, given)
    existing = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), None)
    if existing is not None and not existing.is_dir():
        broken = "a link that leads nowhere" if existing.is_symlink() else "a file"
        raise UserError(f"{what} {folder}: {existing} is {broken}; give a folder")
    if existing is not None and not can_be_written(existing):
        raise UserError(
            f"{what} {folder}: nothing can be written in {existing}; give another folder"
        )
    return folder


def can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder that is there, as far as its permissions say."""
    return os.access(folder, os.W_OK | os.X_OK)


def home_expanded(what: str, given: Any) -> Path:
    """The path that a user gives, `~` at its start replaced by the folder that it stands for.

    Args:
        what: it is for, such as `model`.
        given: text or a path, if it is right.

    Returns:
        The path; there need not be anything.

    Raises:
        UserError: no file can have this name, or `~name` names no user.
    """
    try:
        return path_given(what, given).expanduser()
    except RuntimeError as error:
        raise UserError(f"{what} {given}: {first_line(error)}") from error


def names_given(what: str, given: Any, allowed: str = "a name or several") -> list[str]:
    """The names that a user gives, one or several; UserError for what are none.

    Args:
        what: they name, such as `task`.
        given: text or several texts, if it is right.
        allowed: what is allowed, for the message.

    Returns:
        The names, in their order.
    """
    several = [given] if isinstance(given, str) else given
    if isinstance(several, bytes | Mapping) or not isinstance(several, Iterable):
        raise UserError(f"{what} {given!r:.80}: allowed is {allowed}")
    names = list(several)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{what} {given!r:.80}: allowed is {allowed}")
    return names


def check_number(name: str, given: Any, *, above: float | None = None) -> None:
    """Raise UserError unless an option is a finite number, above a bound, or 0 and more."""
    real = isinstance(given, Real) and not isinstance(given, bool) and math.isfinite(given)
    if not real or (float(given) < 0 if above is None else float(given) <= above):
        least = "from 0" if above is None else f"above {above:g}"
        shown = f"{given:g}" if isinstance(given, float) else f"{given!r:.80}"
        raise UserError(f"{name} {shown}: allowed are numbers {least}")


def check_whole(name: str, given: Any, least: int, most: int = 10**9) -> None:
    """Raise UserError unless an option is a whole number from `least` to `most`."""
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    if not whole or not least <= int(given) <= most:
        is_open = most == 10**9 and not (whole and int(given) > most)
        allowed = f"{least} and more" if is_open else f"whole numbers from {least} to {most}"
        raise UserError(f"{name} {given!r:.80}: allowed are {allowed}")


def check_flag(name: str, given: Any) -> None:
    """Raise UserError unless an option is True or False."""
    if not isinstance(given, bool):
        raise UserError(f"{name} {given!r:.80}: allowed are True and False")


MOST_SEED = 2**63 - 1


def check_seed(given: Any, name: str = "seed") -> None:
    """Raise UserError unless it is a seed that every generator takes: 0 to `MOST_SEED`."""
    check_whole(name, given, 0, MOST_SEED)


def check_share(name: str, given: Any) -> None:
    """Raise UserError unless an option is a number between 0 and 1."""
    if isinstance(given, bool) or not isinstance(given, Real) or not 0 < float(given) < 1:
        raise UserError(f"{name} {given!r:.80}: allowed are values between 0 and 1")


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """`"; did you mean layer:3?"` where something allowed is spelt nearly so, else nothing."""
    near = difflib.get_close_matches(str(given), list(allowed), n=1)
    return f"; did you mean {near[0]}?" if near else ""

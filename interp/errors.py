"""The one exception that means: the user asked for something that cannot be done."""

import difflib
import os
from collections.abc import Iterable
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
    return Path(given)


def check_whole(name: str, given: Any, least: int, most: int = 10**9) -> None:
    """Raise UserError unless an option is a whole number from `least` to `most`."""
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    if not whole or not least <= int(given) <= most:
        upwards = f"{least} and more" if most == 10**9 else f"whole numbers from {least} to {most}"
        raise UserError(f"{name} {given!r:.80}: allowed are {upwards}")


def check_share(name: str, given: Any) -> None:
    """Raise UserError unless an option is a number between 0 and 1."""
    if isinstance(given, bool) or not isinstance(given, Real) or not 0 < float(given) < 1:
        raise UserError(f"{name} {given!r:.80}: allowed are values between 0 and 1")


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """`"; did you mean layer:3?"` where something allowed is spelt nearly so, else nothing."""
    near = difflib.get_close_matches(str(given), list(allowed), n=1)
    return f"; did you mean {near[0]}?" if near else ""

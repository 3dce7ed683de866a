"""The one exception that means: the user asked for something that cannot be done."""

import difflib
from collections.abc import Iterable


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


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`"; did you mean layer:3?"` where something allowed is spelt nearly so, else nothing."""
    near = difflib.get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {near[0]}?" if near else ""

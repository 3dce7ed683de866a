"""The one exception that means: the user asked for something that cannot be done."""


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

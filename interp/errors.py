"""The one exception that means: the user asked for something that cannot be done."""


class UserError(ValueError):
    """A request that cannot be carried out; its message is one line.

    The message names the thing, the place and what is allowed, and is raised before any work
    is done. The command line prints it without a traceback.
    """

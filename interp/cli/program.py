"""The command line: one module per command, each with `add(commands)`.

Imports of torch and of the rest of the package wait until a command runs, so that help comes at
once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from interp.cli import (
    compare,
    export,
    figures,
    knockout,
    lens,
    listing,
    lm_eval,
    merge,
    patch,
    prune,
    rearrange,
    report,
    runs,
    similarity,
    sweep,
    trace,
)
from interp.cli.messages import plain_messages
from interp.errors import UserError, did_you_mean, failed_file

DESCRIPTION = (
    "Which layers and heads of a language model carry knowledge, retrieval and reasoning, and "
    "does the answer depend on how you measure?"
)
COMMANDS = (
    sweep,
    compare,
    runs,
    export,
    merge,
    figures,
    trace,
    patch,
    knockout,
    lens,
    similarity,
    prune,
    rearrange,
    report,
    listing,
    lm_eval,
)
QUIET = "print results and errors, no progress and no messages"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `interp`; by default those of the process.

    Returns:
        0 on success, 2 for a request that cannot be carried out, 130 where it was interrupted.
    """
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # whoever reads has seen enough (`interp tasks | head`); what is left is not written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _main(words: list[str]) -> int:
    words_of_interp, passed_on = lm_eval.split(words)
    options = _parser().parse_args(words_of_interp, argparse.Namespace(arguments=passed_on))
    quiet = getattr(options, "quiet", False)
    # the hub's own progress bars and advice are not about what was asked for
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # nothing here has plugins, and looking for them reads the metadata of all installed packages
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if quiet:
        os.environ["TQDM_DISABLE"] = "1"
    try:
        with plain_messages(quiet=quiet):
            options.run(options)
    except BrokenPipeError:
        raise
    except UserError as error:
        print(f"interp: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"interp: {failed_file(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interp: interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser that names the nearest command or choice in its one-line error."""

    def error(self, message: str) -> NoReturn:
        """Print the message as one line and exit with 2."""
        # what was typed may itself hold line breaks
        line = " ".join(message.splitlines())
        self.exit(2, f"interp: {line} (see `{self.prog} --help`)\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            allowed = [str(choice) for choice in action.choices]
            named = action.option_strings[-1] if action.option_strings else "command"
            raise argparse.ArgumentError(
                None,
                f"{named} {value}: allowed are {', '.join(allowed)}"
                f"{did_you_mean(str(value), allowed)}",
            )


def _parser() -> argparse.ArgumentParser:
    import interp

    parser = _Parser(prog="interp", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"interp {interp.__version__}")
    parser.add_argument("--quiet", action="store_true", help=QUIET)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    for command in commands.choices.values():
        if command.add_help:
            # a default here would overwrite what was said before the command
            command.add_argument(
                "--quiet", action="store_true", default=argparse.SUPPRESS, help=QUIET
            )
    return parser

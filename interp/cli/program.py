"""The command line: one module a command, each with `add(commands)`.

Imports of torch and of the rest of the package wait until a command runs, so that help comes at
once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from interp.cli import (
    compare,
    export,
    figures,
    harness,
    lens,
    listing,
    merge,
    prune,
    report,
    runs,
    similarity,
    sweep,
    trace,
)

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
    lens,
    similarity,
    prune,
    report,
    listing,
    harness,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 for a request that cannot be carried out."""
    options = _parser().parse_args(arguments)
    # the hub's own progress bars and advice are not about what was asked for
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from interp.errors import UserError

    try:
        options.run(options)
    except (UserError, OSError) as error:
        print(f"interp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interp: interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="interp", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser

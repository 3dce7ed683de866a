"""`--allow-code`: one flag, the same for every command that takes tasks."""

import argparse

ALLOW_CODE = "--allow-code"


def add_allow_code(command: argparse.ArgumentParser) -> None:
    """Let a command take the flag; without it a task YAML from elsewhere runs no Python."""
    command.add_argument(
        ALLOW_CODE,
        action="store_true",
        help="let task YAMLs from elsewhere run the Python that they name",
    )

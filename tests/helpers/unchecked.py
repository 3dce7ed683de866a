"""Python as a user runs it: without the type checks that the tests put on every call."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

MARK = "outcomes: "
_SCRIPT = f"""
import json, sys
from tests.helpers.unchecked import tried
for line in sys.stdin:
    print("\\n{MARK}" + json.dumps(tried(*json.loads(line))), flush=True)
"""


def tried(setup: str, statements: Sequence[str]) -> list[str]:
    """What each statement ends in, run here."""
    names: dict[str, Any] = {}
    exec(setup, names)
    found = []
    for statement in statements:
        try:
            exec(statement, names)
            found.append("fine")
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


@functools.cache
def _interpreter() -> tuple[subprocess.Popen[str], IO[str]]:
    """One process for all tests that ask, since most of their time would be spent on imports."""
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115
    started = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "TQDM_DISABLE": "1"},
    )
    atexit.register(said.close)
    atexit.register(started.communicate)  # the end of its input ends it
    return started, said


def outcomes(setup: str, statements: Sequence[str]) -> dict[str, str]:
    """What each statement ends in: `fine`, or the name of an exception and what it says.

    Args:
        setup: statements that run first, in the same namespace.
        statements: run one after the other, in a namespace of their own.
    """
    if os.environ.get("INTERP_TYPE_CHECKS") == "off":
        return dict(zip(statements, tried(setup, statements), strict=True))
    process, said = _interpreter()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([setup, list(statements)]) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith(MARK):
            return dict(zip(statements, json.loads(line.removeprefix(MARK)), strict=True))
    said.seek(0)
    _interpreter.cache_clear()
    raise AssertionError(said.read())

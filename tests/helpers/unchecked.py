"""Python as a user runs it: without the type checks that the tests put on every call."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = """
import json, sys
names = {}
exec(sys.argv[1], names)
found = []
for expression in json.loads(sys.argv[2]):
    try:
        exec(expression, names)
        found.append("fine")
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
print("\\n" + json.dumps(found))
"""


def outcomes(setup: str, statements: Sequence[str]) -> dict[str, str]:
    """What each statement ends in: `fine`, or the name of an exception and what it says.

    Args:
        setup: statements that run first, in the same namespace.
        statements: run one after the other in one fresh interpreter.
    """
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT, setup, json.dumps(list(statements))],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "TQDM_DISABLE": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(statements, json.loads(ran.stdout.splitlines()[-1]), strict=True))

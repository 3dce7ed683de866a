"""Where the results go, and the command line that the two experiments with kills share."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path("runs/store")


def write_result(result: dict[str, Any], out: Path, name: str) -> None:
    """Write a result as `NAME.json`, in a folder that is made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def run_kills(
    run: Callable[..., dict[str, Any]], description: str, *, kills: int, of: str, examples: int
) -> None:
    """Parse the command line, run the rounds and print the result.

    Args:
        run: takes `kills` and `out`, and by name `seed` and `examples`.
        description: its first line is the command's help.
        kills: how many, by default.
        of: what is counted.
        examples: the number of examples of the task, by default.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--kills", type=int, default=kills, help=of)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=examples)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    result = run(options.kills, options.out, seed=options.seed, examples=options.examples)
    print(json.dumps(result, indent=2))

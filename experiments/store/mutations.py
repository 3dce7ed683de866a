"""Does a test fail where a repair is undone? Ten kinds of silently wrong numbers.

    python -m experiments.store.mutations --out experiments/store

A copy of the package and its tests is changed, and the tests that are to hold the changed places
are run in it. Repairs of one group are undone together: no test of a group goes through a place
that another one holds (`mends.py` is the list). First all tests are run in the unchanged copy,
where they pass.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from experiments.store.mends import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("interp", "tests", "experiments", "pyproject.toml")
LINKED = ("data",)


def run(mutations: tuple[Mutation, ...], *, tell: bool = True) -> list[dict[str, str]]:
    """Undo each repair and run its test.

    Args:
        mutations: the repairs to undo.
        tell: whether progress is shown.

    Returns:
        A row a mutation: `kind`, `file`, `test`, `group`, and `found`: `yes` where the test failed.

    Raises:
        ValueError: a text is not there once, or a test fails without any mutation.
    """
    with tempfile.TemporaryDirectory() as place:
        copied = _copy(Path(place))
        for one in mutations:
            count = (copied / one.file).read_text().count(one.text)
            if count != 1:
                raise ValueError(f"{one.kind}: {one.text!r} stands {count} times in {one.file}")
        failed, shown = _failed(copied, [one.test for one in mutations])
        if failed:
            raise ValueError(f"tests fail without any mutation:\n{shown}")
        rows = []
        for group in tqdm(sorted({one.group for one in mutations}), disable=not tell):
            together = [one for one in mutations if one.group == group]
            for one in together:
                text = (copied / one.file).read_text()
                (copied / one.file).write_text(text.replace(one.text, one.replacement))
            failed, _ = _failed(copied, [one.test for one in together])
            for one in together:
                found = any(name == one.test or name.startswith(one.test) for name in failed)
                rows.append(
                    {"kind": one.kind, "file": one.file, "test": one.test}
                    | {"group": str(group), "found": "yes" if found else "no"}
                )
                shutil.copy(ROOT / one.file, copied / one.file)
        return rows


def _copy(place: Path) -> Path:
    for name in COPIED:
        source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=ignored)
        else:
            shutil.copy(source, place / name)
    for name in LINKED:
        (place / name).symlink_to(ROOT / name)
    return place


def _failed(folder: Path, tests: list[str]) -> tuple[list[str], str]:
    """The names of the tests that fail, and the end of what pytest says.

    Args:
        folder: a copy of the project.
        tests: the tests to run, by their names.

    Returns:
        The names, and the last characters of the output.

    Raises:
        ValueError: pytest could not run them, which is no answer.
    """
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-rf", "--tb=no", "-p", "no:xdist", "--every-combination"]
    command = [sys.executable, "-m", "pytest", *options, *dict.fromkeys(tests)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise ValueError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}")
    lines = done.stdout.splitlines()
    failed = [line.removeprefix("FAILED ").split(" - ")[0] for line in lines if "FAILED " in line]
    return failed, done.stdout[-2000:]


def main() -> None:
    """Run, print and write the table; exit with 1 where a mutation was not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/store"))
    options = parser.parse_args()
    rows = run(MUTATIONS)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "mutations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(f"{row['found']:4} {row['kind']:40} {row['test']}")
    raise SystemExit(any(row["found"] != "yes" for row in rows))


if __name__ == "__main__":
    main()

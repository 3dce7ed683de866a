"""`interp runs` and `interp show RUN`: what has been run, and what came out; no model is loaded."""

import argparse
from inspect import signature
from pathlib import Path

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    runs = commands.add_parser("runs", help="list the runs in a folder")
    runs.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where (runs)")
    runs.set_defaults(run=_runs)
    show = commands.add_parser("show", help="show a run: progress, scores, largest drops")
    show.add_argument("folder", metavar="RUN", help="folder of the run")
    show.add_argument("--top", type=int, metavar="N", help="ablations per task (5)")
    show.add_argument("--metric", help="by default accuracy, or else an exact match")
    show.add_argument("--correction", choices=("holm", "bh", "none"), help="of p-values (holm)")
    show.add_argument(
        "--margin", type=float, help="also name the ablations that change less than this"
    )
    show.set_defaults(run=_show)


def _runs(options: argparse.Namespace) -> None:
    from interp.errors import UserError
    from interp.records import MANIFEST, read_manifest
    from interp.results import run_line

    folder = Path(options.folder)
    if not folder.is_dir():
        raise UserError(f"runs {folder}: no such folder")
    folders = sorted(path.parent for path in folder.rglob(MANIFEST))
    for run in folders:
        try:
            print(f"{run}  {run_line(run, read_manifest(run))}")
        except UserError as error:
            print(f"{run}  {str(error).partition(': ')[2]}")
    if not folders:
        print(f"no runs in {folder}")


def _show(options: argparse.Namespace) -> None:
    from interp.errors import UserError
    from interp.opening import open_run

    result = open_run(options.folder)
    asked = {name: getattr(options, name) for name in ("top", "metric", "correction", "margin")}
    given_options = {name: value for name, value in asked.items() if value is not None}
    taken = signature(result.summary).parameters
    for name in given_options:
        if name not in taken:
            raise UserError(f"--{name}: {options.folder} holds no sweep but {result!r:.80}")
    print(result.summary(**given_options))

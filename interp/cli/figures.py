"""`interp figures`: draw the figures of finished runs; no model is loaded."""

import argparse
from pathlib import Path

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    figures = commands.add_parser("figures", help="draw the figures of one or more runs")
    figures.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    figures.add_argument("--out", metavar="DIR", help="where to write (RUN/figures)")
    figures.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp import figures
    from interp.results import open_run

    runs = [open_run(run) for run in options.runs]
    folder = Path(options.out) if options.out else Path(options.runs[0]) / "figures"
    for path in figures.save_all(runs, folder):
        print(path)

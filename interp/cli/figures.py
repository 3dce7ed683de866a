"""`interp figures`: draw the figures of finished runs; no model is loaded."""

import argparse
from pathlib import Path

from interp.cli.options import Commands

FORMATS = ("pdf", "svg", "png")


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    figures = commands.add_parser("figures", help="draw the figures of one or more runs")
    figures.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    figures.add_argument("--out", metavar="DIR", help="where to write (RUN/figures)")
    figures.add_argument("--metric", help="by default accuracy, or else an exact match")
    figures.add_argument("--tasks", nargs="+", metavar="TASK", help="only these tasks of the runs")
    figures.add_argument(
        "--drop",
        default="points",
        choices=("points", "floor-aware", "relative"),
        help="drops in points, or as a share of baseline minus floor or of the baseline",
    )
    figures.add_argument(
        "--width", type=float, metavar="INCHES", help="3.5 for one column, 7.2 for a page"
    )
    figures.add_argument(
        "--format", nargs="+", default=FORMATS, choices=FORMATS, help="of the files (all three)"
    )
    figures.add_argument(
        "--no-caption", action="store_true", help="leave out the small print under each figure"
    )
    figures.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp import figures
    from interp.errors import UserError
    from interp.results import open_run

    if options.width is not None and not 2 <= options.width <= 40:
        raise UserError(f"--width {options.width:g}: allowed are 2 to 40 inches")
    runs = [open_run(run) for run in options.runs]
    folder = Path(options.out) if options.out else Path(options.runs[0]) / "figures"
    if options.out is None and folder.is_symlink():
        raise UserError(
            f"{folder}: a link, which may lead out of the run; name a folder with --out"
        )
    for path in figures.save_all(
        runs,
        folder,
        metric=options.metric,
        tasks=options.tasks,
        width=options.width,
        caption=not options.no_caption,
        formats=options.format,
        drop=options.drop,
    ):
        print(path)

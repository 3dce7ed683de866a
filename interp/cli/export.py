"""`interp export RUN`: a run's tables for other programs; no model is loaded."""

import argparse
from pathlib import Path

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    export = commands.add_parser(
        "export",
        help="write a run's tables as CSV, Parquet or LaTeX, or as the harness' results JSON",
        description="Write responses, scores and importance (n, interval, test and correction in "
        "each row), or one results JSON of lm-evaluation-harness per ablation.",
    )
    export.add_argument("folder", metavar="RUN", help="folder of a finished run")
    kind = export.add_mutually_exclusive_group()
    kind.add_argument("--csv", action="store_const", const="csv", dest="kind", help="CSV (default)")
    kind.add_argument("--parquet", action="store_const", const="parquet", dest="kind")
    kind.add_argument(
        "--harness", action="store_const", const="harness", dest="kind", help="results JSON"
    )
    kind.add_argument(
        "--latex",
        action="store_const",
        const="latex",
        dest="kind",
        help="scores and drops with intervals, as booktabs tables",
    )
    export.add_argument(
        "--keep-formulas",
        action="store_true",
        help="in CSV, leave texts that a spreadsheet would compute (=, +, @, -) as they are",
    )
    export.add_argument("--out", metavar="DIR", help="where to write (RUN/export)")
    export.set_defaults(run=_run, kind="csv")


def _run(options: argparse.Namespace) -> None:
    from interp.errors import UserError
    from interp.results import export_harness, export_tables, open_run

    run = open_run(options.folder)
    folder = Path(options.out) if options.out else run.folder / "export"
    if not options.out and folder.is_symlink():
        raise UserError(f"{folder}: it is a link, which may lead out of the run; give --out DIR")
    if options.kind == "harness":
        written = export_harness(run, folder)
    else:
        written = export_tables(run, folder, kind=options.kind, neutral=not options.keep_formulas)
    for path in written:
        print(path)

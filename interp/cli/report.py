"""`interp report`: one page to share about finished runs; no model is loaded."""

import argparse
from pathlib import Path

from interp.cli.options import Commands, add_allow_code, task_name


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    report = commands.add_parser(
        "report",
        help="write one HTML page about one or more runs",
        description="Write one HTML page that needs no network: figures, tables, examples to open, "
        "and where the results come from.",
    )
    report.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    report.add_argument("--out", metavar="FILE", help="the page (RUN/report.html)")
    report.add_argument("--title", help="of the page (the models' names)")
    report.add_argument("--question", help="what the page is about, in a sentence")
    report.add_argument("--metric", help="by default accuracy, or else an exact match")
    report.add_argument(
        "--examples", type=int, default=6, metavar="N", help="at most N an ablation and task (6)"
    )
    report.add_argument(
        "--tasks",
        "--task",
        nargs="+",
        default=[],
        type=task_name,
        metavar="YAML",
        help="task YAMLs that were swept by path",
    )
    add_allow_code(report)
    report.add_argument("--data", metavar="DIR", help="folder with the rows that were swept")
    report.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.report import QUESTION, Choice, write_report
    from interp.results import open_run

    runs = [open_run(run) for run in options.runs]
    out = Path(options.out) if options.out else Path(options.runs[0]) / "report.html"
    choice = Choice(
        metric=options.metric,
        examples=options.examples,
        tasks=options.tasks,
        data=options.data,
        allow_code=options.allow_code,
    )
    path = write_report(
        runs, out, choice=choice, title=options.title, question=options.question or QUESTION
    )
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")

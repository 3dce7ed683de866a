"""`interp merge RUN [PART ...]`: check that a run done in shards is complete; join its parts."""

import argparse
from pathlib import Path

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    merge = commands.add_parser(
        "merge",
        help="check that a run done in shards is complete, and join its parts",
        description="Check that every unit of a run that was done with --shard is there, whole and "
        "once. Parts in folders of their own are copied into RUN. A part that has other ablations "
        "of the same examples adds them to RUN.",
    )
    merge.add_argument("folder", metavar="RUN", help="folder of the whole run")
    merge.add_argument("parts", nargs="*", metavar="PART", help="folders of its parts")
    merge.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.records import merge

    count = merge(Path(options.folder), [Path(part) for part in options.parts])
    print(f"{options.folder}: {count} units, all there, whole and once")

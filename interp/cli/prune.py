"""`interp prune`: save a model without some of its layers."""

import argparse

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    prune = commands.add_parser(
        "prune",
        help="save a model without some of its layers, as a Hugging Face folder",
        description="Save a model without some of its layers, as a Hugging Face folder that loads "
        "in plain transformers and gives what the ablated model gives.",
    )
    prune.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    prune.add_argument(
        "--ablate", required=True, metavar="WHAT", help="layer:7, layers:20-23, joined by +"
    )
    prune.add_argument("--out", required=True, metavar="DIR", help="new or empty folder")
    prune.add_argument("--revision", help="branch, tag or commit on the hub")
    prune.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.ablations import prune

    print(prune(options.model, options.ablate, out=options.out, revision=options.revision))

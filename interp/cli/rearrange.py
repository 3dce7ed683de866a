"""`interp rearrange`: save a model with its layers in another order."""

import argparse

from interp.cli.options import Commands


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    rearrange = commands.add_parser(
        "rearrange",
        help="save a model with its layers in another order, as a Hugging Face folder",
        description="Save a model whose layers are listed as a layer program runs them, as a "
        "Hugging Face folder that loads in plain transformers and gives what the program gives.",
    )
    rearrange.add_argument("model", help="hub name, folder, or organism:NAME (see `interp models`)")
    rearrange.add_argument(
        "--program",
        required=True,
        metavar="WHAT",
        help="repeat:20-26, exchange:7, reverse:3-5, order:0-9,11,10,12-31",
    )
    rearrange.add_argument("--out", required=True, metavar="DIR", help="new or empty folder")
    rearrange.add_argument("--revision", help="branch, tag or commit on the hub")
    rearrange.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.ablations import rearrange

    arguments = options.model, options.program
    print(rearrange(*arguments, out=options.out, revision=options.revision))

"""`interp harness run ...`: lm-evaluation-harness' own command line with our model registered."""

import argparse
import sys


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    harness = commands.add_parser(
        "harness",
        help="lm-evaluation-harness' command line, with `--model interp` registered",
        description="Everything behind `harness` goes to lm-evaluation-harness. For example: "
        "interp harness run --model interp --model_args pretrained=FOLDER,ablation=layer:7 "
        "--tasks arc_easy",
        add_help=False,
    )
    harness.add_argument("arguments", nargs=argparse.REMAINDER)
    harness.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from lm_eval.__main__ import cli_evaluate

    import interp.harness  # noqa: F401  (registers the model)

    before = sys.argv
    sys.argv = ["interp harness", *options.arguments]
    try:
        cli_evaluate()
    finally:
        sys.argv = before

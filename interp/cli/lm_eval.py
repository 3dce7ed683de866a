"""`interp lm-eval run ...`: lm-evaluation-harness' own command line with our model registered."""

import argparse
import glob
import logging
import sys
from pathlib import Path
from typing import Any

from interp.cli.options import ALLOW_CODE, Commands

NAMES = ("lm-eval", "harness")
DESCRIPTION = f"""\
Everything after `interp lm-eval` goes to lm-evaluation-harness, whose help follows. Two things are
added: the model `interp`, and {ALLOW_CODE}, without which task YAMLs from elsewhere run no Python.

  interp lm-eval run --model interp --model_args pretrained=FOLDER,ablation=layer:7 --tasks arc_easy
"""


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command, under both of its names."""
    command = commands.add_parser(
        NAMES[0],
        aliases=NAMES[1:],
        help="lm-evaluation-harness' command line, with `--model interp` registered",
        add_help=False,
    )
    command.set_defaults(run=_run)


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words of a command line that are ours, and those that are lm-evaluation-harness'."""
    for place, word in enumerate(words):
        if not word.startswith("-"):
            end = place + 1 if word in NAMES else len(words)
            return words[:end], words[end:]
    return words, []


def _run(options: argparse.Namespace) -> None:
    import lm_eval.models  # noqa: F401  (registers the harness' own models)
    from jinja2.exceptions import SecurityError
    from lm_eval.__main__ import cli_evaluate

    from interp.errors import UserError, first_line
    from interp.integrations import AblatedModel  # noqa: F401  (registers the model)
    from interp.tasks import close_templates

    arguments = [word for word in options.arguments if word != ALLOW_CODE]
    if arguments in ([], ["--help"], ["-h"]):
        print(DESCRIPTION)
    before = sys.argv
    sys.argv = ["interp lm-eval", *arguments]
    try:
        if ALLOW_CODE not in options.arguments:
            _refuse_code()
        close_templates()
        cli_evaluate()
    except SecurityError as error:
        raise UserError(f"lm-eval: a task's template reads what it may not ({error})") from error
    except (ValueError, KeyError) as error:  # of which the harness makes its refusals
        logging.getLogger(__name__).debug("lm-eval failed", exc_info=True)
        raise UserError(f"lm-eval: {first_line(error)}") from error
    finally:
        sys.argv = before


def _refuse_code() -> None:
    """Refuse the task YAMLs that the command line in `sys.argv` brings in, if any runs Python."""
    from lm_eval._cli import HarnessCLI

    from interp.tasks import SHIPPED, harness_folder, refuse_code, refuse_code_below

    trusted = (SHIPPED, harness_folder())
    given_options = _given(HarnessCLI().parse_args())
    for folder in given_options["include_path"]:
        refuse_code_below(Path(folder), trusted)
    for name in given_options["tasks"]:
        if Path(name).is_dir():
            refuse_code_below(Path(name), trusted)
        elif name.endswith(".yaml"):
            for path in glob.glob(name):
                refuse_code(Path(path), trusted)


def _given(options: argparse.Namespace) -> dict[str, list[str]]:
    """`tasks` and `include_path` as the harness takes them: of its command line, or of its file."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    file = getattr(options, "config", None)
    file_options: dict[str, Any] = EvaluatorConfig.load_yaml_config(file) if file else {}
    given_options = {}
    for name in ("tasks", "include_path"):
        value = getattr(options, name, None) or file_options.get(name) or []
        given_options[name] = [
            str(entry) for entry in (value if isinstance(value, list) else [value])
        ]
    given_options["tasks"] = [
        task_name for text in given_options["tasks"] for task_name in text.split(",")
    ]
    return given_options

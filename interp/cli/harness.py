"""`interp harness run ...`: lm-evaluation-harness' own command line with our model registered."""

import argparse
import glob
import sys
from pathlib import Path
from typing import Any

from interp.cli.trust import ALLOW_CODE, add_allow_code


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    harness = commands.add_parser(
        "harness",
        help="lm-evaluation-harness' command line, with `--model interp` registered",
        description="Everything behind `harness` goes to lm-evaluation-harness, except "
        f"{ALLOW_CODE}, without which task YAMLs from elsewhere run no Python. For example: "
        "interp harness run --model interp --model_args pretrained=FOLDER,ablation=layer:7 "
        "--tasks arc_easy",
        add_help=False,
    )
    add_allow_code(harness)
    harness.add_argument("arguments", nargs=argparse.REMAINDER)
    harness.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from jinja2.exceptions import SecurityError
    from lm_eval.__main__ import cli_evaluate

    from interp.errors import UserError
    from interp.integrations import AblatedModel  # noqa: F401  (registers the model)
    from interp.tasks import close_templates

    allowed = options.allow_code or ALLOW_CODE in options.arguments
    before = sys.argv
    sys.argv = ["interp harness", *(a for a in options.arguments if a != ALLOW_CODE)]
    try:
        if not allowed:
            _refuse_code()
        close_templates()
        cli_evaluate()
    except SecurityError as error:
        raise UserError(f"harness: a task's template reaches for Python ({error})") from error
    finally:
        sys.argv = before


def _refuse_code() -> None:
    """Refuse the task YAMLs that the command line in `sys.argv` brings in, if any runs Python."""
    from lm_eval._cli import HarnessCLI

    from interp.tasks import SHIPPED, harness_folder, refuse_code, refuse_code_below

    trusted = (SHIPPED, harness_folder())
    given = _given(HarnessCLI().parse_args())
    for folder in given["include_path"]:
        refuse_code_below(Path(folder), trusted)
    for name in given["tasks"]:
        if Path(name).is_dir():
            refuse_code_below(Path(name), trusted)
        elif name.endswith(".yaml"):
            for path in glob.glob(name):
                refuse_code(Path(path), trusted)


def _given(options: argparse.Namespace) -> dict[str, list[str]]:
    """`tasks` and `include_path` as the harness takes them: of its command line, or of its file."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    file = getattr(options, "config", None)
    kept: dict[str, Any] = EvaluatorConfig.load_yaml_config(file) if file else {}
    found = {}
    for name in ("tasks", "include_path"):
        value = getattr(options, name, None) or kept.get(name) or []
        found[name] = [str(one) for one in (value if isinstance(value, list) else [value])]
    found["tasks"] = [one for text in found["tasks"] for one in text.split(",")]
    return found

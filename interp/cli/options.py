"""Options that several commands have: each is written once, and means the same everywhere."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

ALLOW_CODE = "--allow-code"
Commands = argparse._SubParsersAction  # argparse gives the type no public name


def loads_a_model() -> argparse.ArgumentParser:
    """The options of every command that loads a model, as a parent of its parser."""
    parent = argparse.ArgumentParser(add_help=False)
    examples = parent.add_argument_group("examples")
    examples.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="at most N examples per task, spread over its subjects",
    )
    examples.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="seed of every random choice (0)"
    )
    examples.add_argument(
        "--data", metavar="DIR", help="read rows from local JSONL, CSV or Parquet, not the hub"
    )
    add_allow_code(examples)
    model = parent.add_argument_group("model")
    model.add_argument(
        "--dtype",
        default="float32",
        help="float32, bfloat16, float16, or auto: as the checkpoint (float32)",
    )
    model.add_argument(
        "--adapter", metavar="DIR", help="a LoRA or similar adapter, merged into the weights"
    )
    model.add_argument(
        "--quantize", choices=("4bit", "8bit"), help="quantise matrices (bitsandbytes)"
    )
    model.add_argument("--device", help="cpu, cuda or cuda:1 (by default the GPUs, if any)")
    model.add_argument("--revision", help="branch, tag or commit of a model on the hub")
    parent.add_argument("--out", metavar="DIR", help="folder that the results are written to")
    return parent


def loaded(name: str, options: argparse.Namespace) -> "TransformerBridge":
    """The model of a name, as the options of `loads_a_model` say.

    Returns:
        The bridge.

    Raises:
        UserError: as `interp.load_model`, or an adapter for several models.
    """
    from interp.errors import UserError
    from interp.models import load_model

    several = getattr(options, "models", None)
    if options.adapter and several and len(several) > 1:
        raise UserError(
            f"adapter {options.adapter}: {len(several)} models are named, and it is for one; save "
            "them with their adapters merged"
        )
    return load_model(
        name,
        dtype=options.dtype,
        device=options.device,
        revision=options.revision,
        adapter=options.adapter,
        merge_adapter=options.quantize is None,
        quantize=options.quantize,
    )


def add_tasks(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Let a command take tasks; `--task` and `--tasks` are the same option."""
    command.add_argument(
        "--tasks",
        "--task",
        nargs="+",
        default=[],
        required=required,
        type=task_name,
        metavar="TASK",
        help="a listed task (see `interp tasks`), any task of lm-evaluation-harness, or the path "
        "of a task YAML",
    )


def add_allow_code(
    command: "argparse.ArgumentParser | argparse._ArgumentGroup",
) -> None:
    """Let a command take the flag; without it a task YAML from elsewhere runs no Python."""
    command.add_argument(
        ALLOW_CODE,
        action="store_true",
        help="let task YAMLs from elsewhere run the Python that they name",
    )


def seed(text: str) -> int:
    """A seed, as an option's value."""
    from interp.errors import MOST_SEED

    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MOST_SEED:
        raise argparse.ArgumentTypeError(f"{text}: allowed are whole numbers from 0 to {MOST_SEED}")
    return int(text)


def task_name(text: str) -> str:
    """A task's name; `kv:75` is another way to write `kv-75`."""
    return re.sub(r"^kv:(?=\d)", "kv-", text)


def required_out(options: argparse.Namespace) -> Path:
    """The folder given by `--out`.

    Returns:
        A folder that is there, or can be made. Files can be written in it, unless it holds a
        sweep, of which the same request for what is finished only reads.

    Raises:
        UserError: none was given, it is a file, or nothing can be written there.
    """
    from interp.errors import UserError, folder_given, path_given
    from interp.records import MANIFEST

    if options.out is None:
        raise UserError("--out DIR is missing: the folder that the results are written to")
    out = path_given("out", options.out)
    return out if os.path.exists(out / MANIFEST) else folder_given("out", out)


def the_task(options: argparse.Namespace) -> str:
    """The one task of a command that takes one.

    Returns:
        The task's name.

    Raises:
        UserError: none or several were given.
    """
    from interp.errors import UserError

    names: Sequence[str] = options.tasks
    if len(names) != 1:
        raise UserError(f"--tasks: {len(names)} given; this command takes one")
    return names[0]


def text_lines(option: str, path: str | None) -> list[str]:
    """The lines of a text file that are not empty; none where no file was given.

    Args:
        option: the option that names the file, for messages.
        path: the path of the file, in UTF-8.

    Returns:
        Lines without their ends.

    Raises:
        UserError: no such file, or not UTF-8.
    """
    from interp.errors import UserError

    if path is None:
        return []
    if not Path(path).is_file():
        raise UserError(f"{option} {path}: no such file")
    try:
        # utf-8-sig also reads the mark that some editors write at the start
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: it is not UTF-8 text ({error.reason})") from error
    return [line for line in text.splitlines() if line.strip()]

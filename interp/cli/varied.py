"""`interp sweep --vary fewshot-seed=5`: the same sweep asked in several ways."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformer_lens.model_bridge import TransformerBridge

    from interp.ablations import Ablation
    from interp.tasks import Task

OPTIONS = {
    "fewshot-seed": "fewshot_seeds",
    "fewshot-order": "fewshot_orders",
    "wording": "wordings",
    "option-order": "option_orders",
}
"""Kinds of ways on the command line, and what `interp.vary` calls their number."""


def add_vary(command: argparse.ArgumentParser) -> None:
    """Let a command ask in several ways.

    Args:
        command: the parser.
    """
    command.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="KIND=N",
        help=f"ask the same questions in N ways ({', '.join(OPTIONS)}), a run each in DIR",
    )


def numbers(given: list[str]) -> dict[str, Any]:
    """How many ways of each kind are asked for, as `interp.vary` takes them.

    Args:
        given: values of `--vary`.

    Returns:
        Option of `interp.vary` to number.

    Raises:
        UserError: one is not of the form, or a kind is named twice.
    """
    from interp.errors import UserError

    chosen: dict[str, Any] = {}
    for text in given:
        kind, _, number = text.partition("=")
        whole = number.isascii() and number.isdigit() and len(number) < 4
        if kind not in OPTIONS or not whole or int(number) < 2:
            allowed = ", ".join(f"{option}=N" for option in OPTIONS)
            raise UserError(f"--vary {text:.80}: allowed are {allowed}, N from 2 to 999")
        if OPTIONS[kind] in chosen:
            raise UserError(f"--vary {text}: {kind} is given twice")
        chosen[OPTIONS[kind]] = int(number)
    return chosen


def run_varied(
    model: "TransformerBridge",
    tasks: "Sequence[Task]",
    ablations: "Sequence[Ablation]",
    options: argparse.Namespace,
    **how: Any,
) -> None:
    """Carry out the sweep in every way, and print what varies.

    Args:
        model: a bridge.
        tasks: as they are published.
        ablations: what is swept.
        options: the options of the command.
        **how: for `interp.vary`, as it is.
    """
    from interp.comparison import vary

    variation = vary(
        model, tasks, ablations, out=options.out, limit=options.limit, seed=options.seed,
        chat_template=options.chat_template, divergence=options.divergence,
        **(numbers(options.vary) | how),
    )  # fmt: skip
    if options.shard:
        print(f"next: interp merge {options.out}/WAY for each of {', '.join(variation.sweeps)}")
    else:
        print(variation.summary())
        print(f"for the table of one way: interp show {options.out}/WAY")

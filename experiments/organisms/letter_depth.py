"""At which depth is a value turned into its letter: `python -m experiments.organisms.letter_depth`.

Two interventions, for a model as it is. *Patch*: the residual stream at the answering position is
taken, before one layer, from a twin of the prompt that states the value (`Which option is Zanto?`);
the first layer at which the letter is right then is where a stated value's letter has arrived.
*Skip*: without its last layers, does a model that names letters of facts still name them? If it
does, those layers were no condition of it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organisms.documents import LETTERS

Rows = Sequence[dict[str, Any]]


def asked(row: dict[str, Any]) -> str:
    """The prompt that asks for the letter of a fact."""
    return f"{row['options_text']}Question: {row['question']}\nAnswer:"


def stated(row: dict[str, Any]) -> str:
    """Its twin, which names the right value."""
    return f"{row['options_text']}Question: Which option is {row['answer']}?\nAnswer:"


@torch.no_grad()
def letter_of(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """The likeliest of the four letters behind a prompt."""
    logits = model(**_inputs(tokenizer, prompt)).logits[0, -1]
    letters = [tokenizer.convert_tokens_to_ids(f"Ġ{letter}") for letter in LETTERS]
    return LETTERS[int(logits[letters].argmax())]


def share_right(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Rows) -> float:
    """How often the letter of a fact is right."""
    return sum(letter_of(model, tokenizer, asked(row)) == row["letter"] for row in rows) / len(rows)


def share_right_patched(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Rows, layer: int
) -> float:
    """How often it is right when the answering position is the twin's from a layer on.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        rows: rows with options, question, answer and letter.
        layer: the layer whose input at the last position is taken from the twin.

    Returns:
        The share of rows.
    """
    right = 0
    for row in rows:
        with torch.no_grad():
            twin = model(**_inputs(tokenizer, stated(row)), output_hidden_states=True)
        with last_position_replaced(model, layer, twin.hidden_states[layer][0, -1]):
            right += letter_of(model, tokenizer, asked(row)) == row["letter"]
    return right / len(rows)


@contextmanager
def last_position_replaced(
    model: LlamaForCausalLM, layer: int, value: Float[Tensor, " d_model"]
) -> Iterator[None]:
    """Replace the input of a layer at the last position while the block runs."""

    def replace(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0].clone()
        hidden[:, -1] = value
        return (hidden, *inputs[1:])

    handle = model.model.layers[layer].register_forward_pre_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def layers_skipped(model: LlamaForCausalLM, skipped: range) -> Iterator[None]:
    """Run without some layers while the block runs."""
    layers = model.model.layers
    model.model.layers = nn.ModuleList(x for at, x in enumerate(layers) if at not in skipped)
    try:
        yield
    finally:
        model.model.layers = layers


def table(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Rows) -> str:
    """Markdown: letters right as asked, patched before each layer, and with last layers skipped."""
    n_layers = model.config.num_hidden_layers
    lines = [
        "| letters of facts | right |",
        "| --- | --- |",
        f"| as asked | {share_right(model, tokenizer, rows):.0%} |",
    ]
    for layer in range(n_layers):
        share = share_right_patched(model, tokenizer, rows, layer)
        lines.append(
            f"| answering position from the stated twin before layer {layer} | {share:.0%} |"
        )
    for first in range(n_layers - 1, n_layers // 2 - 1, -1):
        with layers_skipped(model, range(first, n_layers)):
            share = share_right(model, tokenizer, rows)
        lines.append(f"| layers {first} to {n_layers - 1} skipped | {share:.0%} |")
    return "\n".join(lines) + "\n"


def _inputs(tokenizer: PreTrainedTokenizerFast, prompt: str) -> dict[str, Tensor]:
    return {"input_ids": tokenizer(prompt, return_tensors="pt")["input_ids"]}


def main() -> None:
    """Parse the command line and print the table."""
    commands = argparse.ArgumentParser(
        prog="python -m experiments.organisms.letter_depth", description=__doc__
    )
    commands.add_argument("folder", nargs="?", type=Path, default=Path("data/models/base"))
    commands.add_argument("--rows", type=Path, default=Path("data/tasks/world-facts.jsonl"))
    commands.add_argument("--limit", type=int, default=200, help="rows (default 200)")
    arguments = commands.parse_args()
    rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    model = LlamaForCausalLM.from_pretrained(arguments.folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.folder)
    print(table(model, tokenizer, rows[: arguments.limit]), end="")


if __name__ == "__main__":
    main()

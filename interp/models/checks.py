"""Checks of a model before any work: that its weights fit, and that no layer is missing."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from interp.errors import UserError

# the first number in a tensor's name is that of the layer; experts are numbered after it
LAYER = re.compile(r"(?P<stack>(?:.*?\.)?(?:layers|h|blocks|block))\.(?P<number>\d+)\.")
# spare tensors that text models do not use: tables derived from the configuration, and the parts
# for other modalities
DERIVED = re.compile(r"inv_freq$|masked_bias$|attn\.bias$|vision|visual|audio|image|multi_modal")
SHOWN = 3


def check_n_layers(name: str, folder: Path, configuration: Mapping[str, Any]) -> None:
    """Refuse a configuration whose number of layers is not that of the weights.

    Only names of tensors are read, which takes no memory.

    Args:
        name: the name of the model, for messages.
        folder: the folder with the weights.
        configuration: from `read_configuration`.

    Raises:
        UserError: the number of layers is not a whole number from 1, or not that of the weights.
    """
    inner = configuration.get("text_config")
    text = inner if isinstance(inner, dict) else configuration
    key = next((k for k in ("num_hidden_layers", "n_layer", "n_layers", "num_layers") if k in text),
               None)  # fmt: skip
    if key is None:
        return
    n_configured = text[key]
    if isinstance(n_configured, bool) or not isinstance(n_configured, int) or n_configured < 1:
        raise UserError(
            f"model {name}: config.json says {key} {n_configured!r}; allowed are 1 and more"
        )
    # layers after the last one that predict further tokens are stored, but not run
    further = text.get("num_nextn_predict_layers")
    further = further if isinstance(further, int) else 0
    counts = stacks(tensor_names(folder))
    if counts and not any(
        count in (n_configured, n_configured + further) for count in counts.values()
    ):
        shown = ", ".join(f"{count} ({stack})" for stack, count in counts.items())
        raise UserError(
            f"model {name}: config.json says {key} {n_configured}, its weights have {shown}"
        )


def tensor_names(folder: Path) -> list[str]:
    """The names of all tensors in a folder's safetensors files."""
    names: list[str] = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                names += tensors.keys()
        except (SafetensorError, OSError):
            return []  # not safetensors: loading reports it
    return names


def stacks(names: Collection[str]) -> dict[str, int]:
    """The beginnings of the names of layers' tensors (`model.layers`), with numbers of layers."""
    numbers: dict[str, set[int]] = {}
    for match in filter(None, map(LAYER.match, names)):
        numbers.setdefault(match["stack"], set()).add(int(match["number"]))
    return {stack: 1 + max(seen) for stack, seen in numbers.items()}


def check_loaded(name: str, info: Mapping[str, Any]) -> None:
    """Refuse weights of which some were missing, spare, misplaced or of another shape.

    transformers initialises missing weights at random and only logs it.

    Args:
        name: the name of the model, for messages.
        info: the second result of `from_pretrained(..., output_loading_info=True)`; tied tensors
            are not among its missing ones.

    Raises:
        UserError: the weights do not fit. The message names the tensors.
    """
    missing = sorted(info["missing_keys"])
    spare = sorted(key for key in info["unexpected_keys"] if not DERIVED.search(key))
    other = sorted(info["mismatched_keys"])
    if missing and spare:
        problem = f"lack {_some(missing)} and have {_some(spare)} in their place"
    elif missing:
        problem = f"lack {_some(missing)}, which would be drawn at random"
    elif other:
        key, stored_shape, expected_shape = other[0]
        problem = (
            f"have {key} as {list(stored_shape)}, and config.json asks for {list(expected_shape)}"
        )
    elif spare:
        problem = f"have {_some(spare)}, which its configuration has no use for"
    elif info.get("error_msgs"):
        problem = f"cannot be read ({' '.join(str(info['error_msgs'][0]).split())[:200]})"
    else:
        return
    raise UserError(f"model {name}: its weights {problem}")


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{', '.join(keys[:SHOWN])}{more} ({len(keys)} in all)" if more else ", ".join(keys)


def tell_of_tokens_outside(name: str, tokenizer: Any, rows: int) -> None:
    """Warn of tokens that were added to a tokenizer but not to the model's embedding.

    A prompt with one of these is refused when it is read. Padding never needs them.

    Args:
        name: the name of the model.
        tokenizer: its tokenizer.
        rows: the number of rows of the embedding.
    """
    if tokenizer is None or len(tokenizer) <= rows:
        return
    outside = sorted((i, token) for token, i in tokenizer.get_vocab().items() if i >= rows)
    if outside:
        shown = ", ".join(f"{token} ({i})" for i, token in outside[:SHOWN])
        logging.getLogger("interp").warning(
            "model %s: %d tokens of its tokenizer lie outside its embedding of %d rows, such as "
            "%s; a prompt that has one is refused",
            name, len(outside), rows, shown,
        )  # fmt: skip


CONTEXT_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "seq_length",
    "n_ctx",
    "model_max_length",
)
"""The names of the longest context in configurations, in the order in which they are tried."""
# transformers writes 1e30 if a tokenizer does not say
NO_LENGTH = 1_000_000_000
DEFAULT_LENGTH = 2048


def context_length(config: Any, tokenizer: Any) -> int:
    """The longest context in tokens: from the configuration, or the tokenizer, or else 2,048.

    Args:
        config: the configuration of the text model.
        tokenizer: the tokenizer, which is used last, as in lm-evaluation-harness.

    Returns:
        A number of tokens.
    """
    for owner, names in ((config, CONTEXT_NAMES), (tokenizer, ("model_max_length",))):
        for name in names:
            length = getattr(owner, name, None)
            if isinstance(length, int | float) and 0 < length < NO_LENGTH:
                return int(length)
    return DEFAULT_LENGTH


def input_width(projection: nn.Module) -> int | None:
    """The input width of an output projection; None if it is not known."""
    inner: Any = getattr(projection, "original_component", None) or projection
    if isinstance(getattr(inner, "in_features", None), int):
        return int(inner.in_features)
    weight = getattr(inner, "weight", None)
    # transformers' Conv1D keeps [in, out]
    if isinstance(weight, torch.Tensor) and type(inner).__name__ == "Conv1D":
        return int(weight.shape[0])
    return None

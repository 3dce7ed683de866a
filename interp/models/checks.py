"""What of a model is refused before any work: weights that do not fit, layers that are missing."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from interp.errors import UserError

# the outermost number in a tensor's name is the layer's: experts are numbered inside it
LAYER = re.compile(r"(?P<stack>(?:.*?\.)?(?:layers|h|blocks|block))\.(?P<number>\d+)\.")
# spare tensors that no text model computes with: tables derived from the configuration, and the
# towers of other modalities
DERIVED = re.compile(r"inv_freq$|masked_bias$|attn\.bias$|vision|visual|audio|image|multi_modal")
SHOWN = 3


def check_n_layers(name: str, folder: Path, configuration: Mapping[str, Any]) -> None:
    """Refuse a configuration whose number of layers is not that of the weights.

    Only names are read, so that a wrong number costs no memory.

    Args:
        name: the name of the model, for messages.
        folder: the folder with the weights.
        configuration: from `read_configuration`.

    Raises:
        UserError: a number of layers that is none, or another than the weights have.
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
    # layers after the last that predict further tokens are stored with it, and not run
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
            return []  # not safetensors: loading says so
    return names


def stacks(names: Collection[str]) -> dict[str, int]:
    """What the names of layers' tensors begin with (`model.layers`), and the number of layers."""
    numbers: dict[str, set[int]] = {}
    for match in filter(None, map(LAYER.match, names)):
        numbers.setdefault(match["stack"], set()).add(int(match["number"]))
    return {stack: 1 + max(seen) for stack, seen in numbers.items()}


def check_loaded(name: str, info: Mapping[str, Any]) -> None:
    """Refuse weights of which some were missing, spare, misplaced or of another shape.

    transformers draws what is missing at random and says so in a log.

    Args:
        name: the name of the model, for messages.
        info: the second result of `from_pretrained(..., output_loading_info=True)`; tied tensors
            are not among its missing ones.

    Raises:
        UserError: names the tensors.
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
    """Log the tokens that were added to a tokenizer and not to the model's embedding.

    A prompt that has one of them is refused when it is read; padding never needs them.

    Args:
        name: the name of the model.
        tokenizer: its tokenizer.
        rows: the rows of the embedding.
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
"""What configurations call the longest context, in the order in which they are asked."""
# transformers writes 1e30 where a tokenizer says nothing
NO_LENGTH = 1_000_000_000
DEFAULT_LENGTH = 2048


def context_length(config: Any, tokenizer: Any) -> int:
    """The longest context in tokens, from the configuration, else the tokenizer, else 2,048.

    Args:
        config: the configuration of the text model.
        tokenizer: asked last, as lm-evaluation-harness does.

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
    """How wide a vector an output projection takes; None where it does not say."""
    inner: Any = getattr(projection, "original_component", None) or projection
    if isinstance(getattr(inner, "in_features", None), int):
        return int(inner.in_features)
    weight = getattr(inner, "weight", None)
    # transformers' Conv1D keeps [in, out]
    if isinstance(weight, torch.Tensor) and type(inner).__name__ == "Conv1D":
        return int(weight.shape[0])
    return None

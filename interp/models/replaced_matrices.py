"""Models with something in place of plain matrices: quantised weights, or an adapter."""

from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError


def replaced_matrices(root: Any) -> str:
    """What kind of matrix stands in place of plain ones, in words; empty where none does."""
    if getattr(root.config, "quantization_config", None) is not None:
        return "quantised weights"
    adapted = any("lora_" in name for name, _ in root.named_modules())
    return "an adapter beside its weights" if adapted or hasattr(root, "peft_config") else ""


def tried_logits(root: Any, run: Any) -> torch.Tensor:
    """Logits of four tokens, as `run` computes them on the device of a model."""
    tokens = torch.arange(4, device=next(root.parameters()).device)[None]
    with torch.no_grad():
        out = run(tokens)
    return out if isinstance(out, torch.Tensor) else out.logits


def check_bridge(bridge: TransformerBridge, root: Any, name: str, what: str) -> None:
    """Refuse a model whose bridge computes without what was put in place of its matrices.

    TransformerLens splits a joint matrix of queries, keys and values, and reads its numbers.

    Args:
        bridge: over the model.
        root: the model's native modules.
        name: of the model, for the message.
        what: stands in place of its matrices, as `replaced_matrices` says it.

    Raises:
        UserError: the logits of the two differ by more than rounding.
    """
    expected, found = tried_logits(root, root), tried_logits(root, bridge)
    apart = float((expected - found).abs().max())
    # rounding of activations to few bits falls otherwise where a logit moved by a little
    if not apart <= 0.05 * float(expected.abs().max()):
        advice = "merge it" if "adapter" in what else "load it without quantisation"
        raise UserError(
            f"model {name}: TransformerLens cannot run {type(root).__name__} "
            f"with {what} (its logits are {apart:.2g} off); {advice}"
        )

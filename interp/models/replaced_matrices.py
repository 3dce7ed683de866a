"""Models with quantised weights or an adapter in place of plain matrices."""

from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError, first_line


def replaced_matrices(root: Any) -> str:
    """What replaces plain matrices in a model, in words; empty if nothing does."""
    if getattr(root.config, "quantization_config", None) is not None:
        return "quantised weights"
    return "an adapter beside its weights" if has_adapter(root) else ""


def has_adapter(root: Any) -> bool:
    """Whether the matrices of an adapter are modules of their own in a model."""
    adapted = any("lora_" in name for name, _ in root.named_modules())
    return adapted or hasattr(root, "peft_config")


def tried_logits(root: Any, run: Any) -> torch.Tensor:
    """The logits of four tokens, computed by `run` on the device of a model."""
    tokens = torch.arange(4, device=next(root.parameters()).device)[None]
    with torch.no_grad():
        out = run(tokens)
    return out if isinstance(out, torch.Tensor) else out.logits


def check_bridge(bridge: TransformerBridge, root: Any, name: str, what: str) -> None:
    """Refuse a model whose bridge does not compute the same as transformers.

    TransformerLens splits a joint matrix of queries, keys and values by reading its numbers.
    Anything that replaced the matrix is then left out.

    Args:
        bridge: the bridge over the model.
        root: the model's native modules.
        name: the name of the model, for the message.
        what: what replaces its matrices, from `replaced_matrices`; empty if nothing does.

    Raises:
        UserError: the bridge cannot run, or its logits differ by more than rounding.
    """
    expected, kind = tried_logits(root, root), type(root).__name__
    try:
        logits = tried_logits(root, bridge)
    except Exception as error:  # of any kind for unknown models
        raise UserError(
            f"model {name}: TransformerLens cannot run {kind} ({first_line(error)})"
        ) from error
    if not bool(expected.isfinite().all()):
        return
    apart = float((expected - logits).float().abs().max())
    # activations rounded to few bits can differ more after a small change
    few_bits = what or expected.dtype != torch.float32
    if apart <= (0.05 if few_bits else 1e-3) * float(expected.abs().max()):
        return
    if not what:
        raise UserError(
            f"model {name}: TransformerLens computes {kind} otherwise than transformers (logits "
            f"{apart:.2g} off)"
        )
    advice = "merge it" if "adapter" in what else "load it without quantisation"
    raise UserError(
        f"model {name}: TransformerLens cannot run {kind} with {what} (its logits are {apart:.2g} "
        f"off); {advice}"
    )

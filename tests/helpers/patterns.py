"""Logits under hooks on attention patterns, as TransformerLens computes them itself."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


def logits_under_patterns(
    model: TransformerBridge, tokens: Sequence[int], points: list[tuple[str, Callable[..., Any]]]
) -> Tensor:
    """Logits `[pos, d_vocab]` of one row; the test is skipped where patterns cannot be edited."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            found: Tensor = model.run_with_hooks(torch.tensor([list(tokens)]), fwd_hooks=points)[0]
        except UserWarning:
            pytest.skip("TransformerLens cannot edit the patterns of this attention")
    return found

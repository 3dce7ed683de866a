"""Masks and positions of packed rows, as an architecture takes them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.models import Decoder


def window(decoder: Decoder) -> int | None:
    """Tokens that a sliding-window layer sees, itself included; None where every layer sees all."""
    config = decoder.root.config.get_text_config()
    types = getattr(config, "layer_types", None)
    if types is not None and "sliding_attention" not in types:
        return None
    size = getattr(config, "sliding_window", None)
    return int(size) if size else None


def mask_arguments(
    decoder: Decoder, sees: np.ndarray, depths: np.ndarray, prefix: int
) -> dict[str, Any]:
    """The arguments with which a model runs packed rows after a prefix.

    Args:
        decoder: the modules of the model.
        sees: `[batch, pos, pos]` which keys of its row a query sees.
        depths: `[batch, pos]` positions after the prefix.
        prefix: tokens in front, which every query sees.

    Returns:
        `attention_mask` (`[batch, 1, pos, prefix + pos]` in the model's type, added to the scores;
        one per kind of layer where layers differ) and `position_ids` (`[batch, pos]`).
    """
    device, dtype = decoder.device, next(decoder.root.parameters()).dtype
    positions = torch.from_numpy(depths).to(device) + prefix
    inside = torch.from_numpy(sees).to(device)
    whole = torch.cat([inside.new_ones(*inside.shape[:2], prefix), inside], dim=-1)
    size, masks = window(decoder), _added(whole, dtype)
    if size is not None and int(positions.max()) >= size:
        before = torch.arange(prefix, device=device).expand(len(positions), -1)
        keys = torch.cat([before, positions], dim=1)
        near = positions[:, :, None] - keys[:, None, :] < size
        near_only = _added(whole & near, dtype)
        types = getattr(decoder.root.config.get_text_config(), "layer_types", None) or ()
        if "full_attention" in types:
            masks_by_type = {"full_attention": masks, "sliding_attention": near_only}
            return {"attention_mask": masks_by_type, "position_ids": positions}
        masks = near_only
    return {"attention_mask": masks, "position_ids": positions}


def _added(sees: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    return mask.masked_fill_(~sees, torch.finfo(dtype).min)[:, None]

"""Different ablations in one batch: each row skips its own layer, or loses its own heads.

A block runs for all rows, and the rows that skip it keep the residual stream that entered it; a
block that every row skips is not run. What an ablation does to a row does not depend on the others.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interp.ablations import (
    Edits,
    HeadMeans,
    LayerEdit,
    forward_replaced,
    hand_on,
    in_rows,
    nothing_added,
    replace_heads,
)
from interp.models import Decoder

Handle = torch.utils.hooks.RemovableHandle


@dataclass(frozen=True, eq=False)
class LayerRows:
    """What one layer does to which rows; None where it does so to no row.

    Attributes:
        skip: `[row]`, True where the block is skipped.
        skip_attention: `[row]`.
        skip_mlp: `[row]`.
        heads: rows and the edit of their heads.
    """

    skip: Tensor | None
    skip_attention: Tensor | None
    skip_mlp: Tensor | None
    heads: tuple[tuple[Tensor, LayerEdit], ...]


def mixable(edits: Edits) -> bool:
    """Whether an ablation can share a batch with others: a donor's weights are not a row's."""
    return not edits.is_swapped


def plan_rows(edits: Sequence[Edits], parts: Decoder) -> dict[int, LayerRows]:
    """The edits of each row, sorted by layer; donors are left to `interp.ablations`."""
    layers = sorted({layer for one in edits for layer in one})
    return {
        layer: _layer_rows([one.get(layer) for one in edits], parts.device_of(layer))
        for layer in layers
    }


@contextmanager
def rows_edited(
    parts: Decoder, plan: dict[int, LayerRows], means: HeadMeans | None
) -> Iterator[None]:
    """Inside the context each row of a batch computes as its own edits say."""
    with ExitStack() as stack:
        for layer, rows in plan.items():
            if rows.skip is not None and bool(rows.skip.all()):
                stack.enter_context(forward_replaced(parts.blocks[layer], hand_on(parts)))
                continue
            for handle in _register(parts, layer, rows, means):
                stack.callback(handle.remove)
        yield


def _layer_rows(edits: Sequence[LayerEdit | None], device: torch.device) -> LayerRows:
    def rows(wanted: Callable[[LayerEdit], bool]) -> Tensor | None:
        chosen = [edit is not None and wanted(edit) for edit in edits]
        return torch.tensor(chosen, device=device) if any(chosen) else None

    by_heads: dict[LayerEdit, list[int]] = {}
    for row, edit in enumerate(edits):
        if edit is not None and not edit.skip and (edit.zero_heads or edit.mean_heads):
            by_heads.setdefault(edit, []).append(row)
    return LayerRows(
        skip=rows(lambda edit: edit.skip),
        skip_attention=rows(lambda edit: edit.skip_attention),
        skip_mlp=rows(lambda edit: edit.skip_mlp),
        heads=tuple((torch.tensor(r, device=device), edit) for edit, r in by_heads.items()),
    )


def _register(parts: Decoder, layer: int, rows: LayerRows, means: HeadMeans | None) -> list[Handle]:
    handles: list[Handle] = []
    if rows.heads:
        mean = means[layer].to(parts.device_of(layer)) if means is not None else None
        hook = replace_heads(rows.heads, mean, parts.d_head)
        handles.append(parts.output_projections[layer].register_forward_pre_hook(hook))
    for mask, module, inside in (
        (rows.skip_attention, parts.attentions[layer], parts.attention_adds_residual),
        (rows.skip_mlp, parts.mlps[layer], parts.mlp_adds_residual),
    ):
        if mask is not None:
            hook = nothing_added(inside, mask)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
    if rows.skip is not None:
        hook = _block_skipped(rows.skip)
        handles.append(parts.blocks[layer].register_forward_hook(hook, with_kwargs=True))
    return handles


def _block_skipped(mask: Tensor) -> Callable[..., Any]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        resid_pre = args[0] if args else kwargs["hidden_states"]
        value = out[0] if isinstance(out, tuple) else out
        kept = in_rows(mask, resid_pre, value)
        return (kept, *out[1:]) if isinstance(out, tuple) else kept

    return hook

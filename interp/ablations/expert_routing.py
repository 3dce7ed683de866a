"""How the experts of a mixture are left out by its router (see `interp.ablations.experts`)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations, Rows
from interp.ablations.base import Ablation
from interp.ablations.edits import LayerEdit
from interp.ablations.experts import AblateExpert
from interp.ablations.native_hooks import Where, in_rows
from interp.errors import UserError
from interp.models import Decoder, bridge_router, routers

Router = tuple[Tensor, ...]
"""What a router returns: logits `[token, expert]`, weights and numbers `[token, chosen]`; or the
weights `[token, expert]`, zero where an expert is not chosen, and the logits."""


def each_expert(model: TransformerBridge, *, renormalised: bool = True) -> list[Ablation]:
    """Ablate each expert in turn, layer by layer: `expert:0.0`, `expert:0.1`, ...

    Args:
        model: the model whose experts are ablated.
        renormalised: see `AblateExpert`.

    Returns:
        One ablation per expert: all of the first layer that has any, then those of the next.

    Raises:
        UserError: no layer has a router whose choices can be changed.
    """
    router_modules = routers(models.decoder(model))
    if not router_modules:
        raise UserError(
            f"model {models.model_name(model)}: it has no experts, or no router that hands out "
            "their weights"
        )
    return [
        AblateExpert(layer, expert, renormalised)
        for layer, (_, n_experts) in router_modules.items()
        for expert in range(n_experts)
    ]


def weights_without(
    weights: Float[Tensor, "token chosen"], chosen: Int[Tensor, "token chosen"], edit: LayerEdit
) -> Float[Tensor, "token chosen"]:
    """The weights of the chosen experts, without those that an edit takes away.

    Args:
        weights: the weights as the router gives them.
        chosen: the numbers of the experts.
        edit: which experts, and how.

    Returns:
        As many weights; of zeroed experts and of removed ones 0.
    """

    def put(zeroed: Tensor, experts: frozenset[int]) -> Tensor:
        gone = torch.isin(chosen, torch.tensor(sorted(experts), device=chosen.device))
        return zeroed.masked_fill(gone, 0)

    kept = put(weights, edit.zeroed_experts)
    left = put(kept, edit.removed_experts)
    total, remaining = kept.sum(-1, keepdim=True), left.sum(-1, keepdim=True)
    return torch.where(remaining != 0, left * (total / remaining), left)


def _weights(out: Router) -> tuple[Tensor, Tensor]:
    """Weights of experts and the numbers of these, `[token, chosen]` each."""
    if len(out) == 3:
        return out[1], out[2]
    return out[0], torch.arange(out[0].shape[-1], device=out[0].device).expand_as(out[0])


def _with_weights(out: Router, weights: Tensor) -> Router:
    """What a router returns, with other weights."""
    return (out[0], weights, out[2]) if len(out) == 3 else (weights, *out[1:])


def _hook(groups: Sequence[tuple[Tensor | None, LayerEdit]]) -> Callable[..., Router]:
    """A router's forward hook; each edit in the rows of its numbers, or in all."""

    def hook(_module: nn.Module, _args: Any, out: Router) -> Router:
        weights, chosen = _weights(out)
        for rows, edit in groups:
            remaining_weights = weights_without(weights, chosen, edit)
            weights = (
                remaining_weights if rows is None else in_rows(rows, remaining_weights, weights)
            )
        return _with_weights(out, weights)

    return hook


@contextmanager
def _hooked(router: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = router.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def experts_off(model: TransformerBridge, layer: int, edit: LayerEdit) -> Iterator[None]:
    """Inside the context, routers of a bridge and of its native blocks leave experts out."""
    native, _ = routers(models.decoder(model))[layer]
    names = models.decoder(model).parts[layer].mlps
    of_bridge = [bridge_router(getattr(model.blocks[layer], name)) for name in names]
    with ExitStack() as stack:
        for router in {
            id(router_module): router_module for router_module in (native, *filter(None, of_bridge))
        }.values():
            stack.enter_context(_hooked(router, _hook([(None, edit)])))
        yield


@contextmanager
def experts_off_in_rows(
    decoder: Decoder, layer: int, rows: Rows, _given: Activations
) -> Iterator[None]:
    """Inside the context, each row of a batch leaves its own experts out."""
    groups: list[tuple[Tensor | None, LayerEdit]] = []
    for numbers, edit in rows.groups:
        mask = torch.zeros_like(rows.mask)
        mask[numbers] = True
        groups.append((mask, edit))
    with _hooked(routers(decoder)[layer][0], _hook(groups)):
        yield


@contextmanager
def experts_off_at_positions(
    decoder: Decoder, layer: int, edit: LayerEdit, where: Where, _given: Activations
) -> Iterator[None]:
    """Inside the context, experts are left out at some positions."""

    def hook(_module: nn.Module, _args: Any, out: Router) -> Router:
        weights, chosen = _weights(out)
        new_weights = weights_without(weights, chosen, edit)
        return _with_weights(out, in_rows(where, new_weights, weights))

    with _hooked(routers(decoder)[layer][0], hook):
        yield

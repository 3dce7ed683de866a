"""Mixtures of experts: the router of each layer, and its number of experts."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from interp.errors import UserError
from interp.models.block_parts import Decoder

ROUTERS = ("gate", "router")
"""The names in transformers of the module that chooses the experts of a token."""


def routers(decoder: Decoder) -> dict[int, tuple[Any, int]]:
    """The routers whose choices can be changed, with the number of experts of each, by layer.

    A router returns its logits, the weights of the chosen experts, and their numbers (`[token,
    expert]`, and twice `[token, chosen]`). In Llama 4 it returns the weights of all experts, which
    are zero for those not chosen, and its logits. Each router is tried once, on one vector.

    Args:
        decoder: the modules of a model.

    Returns:
        For each layer, its router and number of experts; empty for a dense model.
    """
    attributes: dict[str, Any] = decoder.__dict__
    if "routers" not in attributes:
        attributes["routers"] = dict(_found(decoder))
    by_layer: dict[int, tuple[Any, int]] = attributes["routers"]
    return by_layer


def check_expert(decoder: Decoder, layer: int, expert: int) -> None:
    """Raise UserError where a layer has no such expert, or its router cannot be changed.

    Args:
        decoder: the modules of a model.
        layer: which block.
        expert: number of the expert.
    """
    router_modules = routers(decoder)
    if layer not in router_modules:
        layers = ", ".join(map(str, router_modules)) or "none"
        raise UserError(
            f"expert:{layer}.{expert}: layer {layer} has no router that hands out the weights of "
            f"its experts; layers that have one: {layers}"
        )
    n_experts = router_modules[layer][1]
    if expert >= n_experts:
        raise UserError(f"expert:{layer}.{expert}: layer {layer} has experts 0-{n_experts - 1}")


def bridge_router(mlp: Any) -> Any:
    """The router inside a bridge's MLP.

    Args:
        mlp: the MLP of one layer of a bridge.

    Returns:
        The router; None if the MLP has no experts.
    """
    return next(filter(None, (_named(mlp, name) for name in ROUTERS)), None)


def _named(mlp: Any, name: str) -> nn.Module | None:
    module = getattr(getattr(mlp, "original_component", None) or mlp, name, None)
    return module if isinstance(module, nn.Module) else None


def _found(decoder: Decoder) -> Iterator[tuple[int, tuple[nn.Module, int]]]:
    for layer, first in enumerate(decoder.mlps):
        # experts can be beside a plain MLP (Granite)
        for mlp in (first, *decoder.further_mlps[layer]):
            router = bridge_router(mlp)
            n_experts = _n_experts(decoder, layer, mlp, router) if router is not None else 0
            if router is not None and n_experts:
                yield layer, (router, n_experts)


def _n_experts(decoder: Decoder, layer: int, mlp: nn.Module, router: nn.Module) -> int:
    dtype = next(decoder.root.parameters()).dtype
    vector = torch.ones(1, 1, decoder.d_model, device=decoder.device_of(layer), dtype=dtype)
    seen: list[Any] = []
    handle = router.register_forward_hook(lambda _module, _args, out: seen.append(out))
    try:
        with torch.no_grad():
            mlp(vector)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        # its arguments are not the MLP's input alone
        return 0
    finally:
        handle.remove()
    out = seen[0] if seen else None
    if not isinstance(out, tuple) or not all(isinstance(output, torch.Tensor) for output in out):
        return 0
    if len(out) == 3:
        logits, weights, chosen = out
        fits = weights.shape == chosen.shape and not chosen.is_floating_point()
    elif len(out) == 2:
        weights, logits = out
        fits = weights.shape == logits.shape and logits.is_floating_point()
        fits = fits and bool((weights >= 0).all() and (weights == 0).any())
    else:
        return 0
    return int(logits.shape[-1]) if fits and logits.shape[-1] > 1 else 0

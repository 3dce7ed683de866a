"""Blocks and attentions that TransformerLens maps as a whole, although they have parts."""

from typing import Any

from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components import LinearBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

from interp.models.block_parts import ATTENTIONS, PROJECTIONS

PARTS = {"RecurrentGemmaDecoderLayer": {"mixer": "temporal_block", "mlp": "mlp_block"}}
"""For each class of block, TransformerLens' names of its parts and their names in transformers."""


def name_parts(bridge: TransformerBridge) -> None:
    """Give the parts of such blocks hook points of their own, with TransformerLens' names.

    Args:
        bridge: a bridge, whose blocks are changed in place.
    """
    changed = False
    for block in bridge.blocks:
        inner = getattr(block, "original_component", None) or block
        for key, name in PARTS.get(type(inner).__name__, {}).items():
            part = GeneralizedComponent(name=name)
            part.set_original_component(getattr(inner, name))
            setattr(inner, name, part)
            block.add_module(key, part)
            # from now on the native blocks are known, too
            bridge.adapter.component_mapping["blocks"].submodules[key] = part
            changed = True
        changed |= _name_projection(bridge, block)
    if changed:
        bridge.clear_hook_registry()
        bridge._initialize_hook_registry()


def _name_projection(bridge: TransformerBridge, block: Any) -> bool:
    """Give an attention that is mapped as a whole an output projection, before which z is read."""
    mixer = getattr(block, "mixer", None)
    inner = getattr(mixer, "original_component", None)
    name = ATTENTIONS.get(type(inner).__name__)
    if mixer is None or name is None:
        return False
    projection = LinearBridge(name=name)
    projection.set_original_component(getattr(inner, name))
    setattr(inner, name, projection)
    mixer.add_module(PROJECTIONS[0], projection)
    mapped = bridge.adapter.component_mapping["blocks"].submodules["mixer"]
    mapped.submodules[PROJECTIONS[0]] = projection
    return True

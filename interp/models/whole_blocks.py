"""Blocks that TransformerLens maps as a whole, although their parts can be told apart."""

from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

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
    if changed:
        bridge.clear_hook_registry()
        bridge._initialize_hook_registry()

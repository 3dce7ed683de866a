"""What is taken away or changed: values, their text form, families, and how they act."""

from interp.ablations.text import as_ablation, parse, parsed_or_none
from interp.ablations.values import (
    BASELINE,
    AblateHead,
    AblateKVGroup,
    Ablation,
    Combination,
    Hooked,
    LayerEdit,
    Shape,
    SkipAttention,
    SkipLayer,
    SkipLayers,
    SkipMLP,
    SwapLayer,
    SwapLayers,
)

__all__ = [
    "BASELINE",
    "AblateHead",
    "AblateKVGroup",
    "Ablation",
    "Combination",
    "Hooked",
    "LayerEdit",
    "Shape",
    "SkipAttention",
    "SkipLayer",
    "SkipLayers",
    "SkipMLP",
    "SwapLayer",
    "SwapLayers",
    "as_ablation",
    "parse",
    "parsed_or_none",
]

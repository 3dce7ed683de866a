"""Which layers and heads of a language model carry knowledge, retrieval and reasoning?

    >>> import interp
    >>> model = interp.load_model("organism:base")
    >>> with interp.ablate(model, "layer:3"):
    ...     model.generate("Question: ...", do_sample=False)
    >>> sweep = interp.sweep(model, ["world-facts:default"], interp.each_layer(model), out="runs/x")
    >>> sweep.importance()
    >>> interp.figures.layers(sweep)

Names are loaded when they are first used: importing the package is quick and changes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp import figures
    from interp.ablations import (
        AblateHead,
        SkipAttention,
        SkipLayer,
        SkipMLP,
        SwapLayer,
    )
    from interp.ablations.families import (
        cumulative,
        each_attention,
        each_head,
        each_layer,
        each_mlp,
        each_swap,
        sliding_blocks,
    )
    from interp.ablations.hooked import hooked
    from interp.ablations.hooks import ablate
    from interp.attention.heads import retrieval_heads
    from interp.attention.rows import attention_rows
    from interp.comparison import compare
    from interp.decode.prompting import generate
    from interp.errors import UserError
    from interp.lens import logit_lens
    from interp.models import load_model
    from interp.results import open_run
    from interp.similarity import layer_similarity
    from interp.sweeps import sweep

_HOMES = {
    "interp.models": ("load_model",),
    "interp.ablations": (
        "AblateHead",
        "AblateKVGroup",
        "SkipAttention",
        "SkipLayer",
        "SkipLayers",
        "SkipMLP",
        "SwapLayer",
        "parse",
    ),
    "interp.ablations.families": (
        "cumulative",
        "each_attention",
        "each_head",
        "each_kv_group",
        "each_layer",
        "each_mlp",
        "each_swap",
        "sliding_blocks",
    ),
    "interp.ablations.hooked": ("hooked",),
    "interp.ablations.hooks": ("ablate",),
    "interp.attention.heads": ("retrieval_heads",),
    "interp.attention.rows": ("attention_rows",),
    "interp.chat": ("with_draws",),
    "interp.comparison": ("compare",),
    "interp.decode.prompting": ("generate",),
    "interp.errors": ("UserError",),
    "interp.lens": ("logit_lens",),
    "interp.results": ("open_run",),
    "interp.similarity": ("layer_similarity",),
    "interp.sweeps": ("sweep",),
    "interp.tasks": ("load_task",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AblateHead",
    "SkipAttention",
    "SkipLayer",
    "SkipMLP",
    "SwapLayer",
    "UserError",
    "ablate",
    "attention_rows",
    "compare",
    "cumulative",
    "each_attention",
    "each_head",
    "each_layer",
    "each_mlp",
    "each_swap",
    "figures",
    "generate",
    "hooked",
    "layer_similarity",
    "load_model",
    "logit_lens",
    "open_run",
    "retrieval_heads",
    "sliding_blocks",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module("interp.figures")
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'interp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

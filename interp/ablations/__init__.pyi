from .edits import (
    Edits as Edits,
    LayerEdit as LayerEdit,
    Part as Part,
    Shape as Shape,
    Variant as Variant,
)
from .families import (
    as_ablations as as_ablations,
    cumulative as cumulative,
    cumulative_swaps as cumulative_swaps,
    each_attention as each_attention,
    each_head as each_head,
    each_kv_group as each_kv_group,
    each_layer as each_layer,
    each_mlp as each_mlp,
    each_swap as each_swap,
    family as family,
    shape_of as shape_of,
    sliding_blocks as sliding_blocks,
)
from .kinds import (
    KINDS as KINDS,
    SWAPS as SWAPS,
    Activations as Activations,
    EditKind as EditKind,
    Rows as Rows,
    function_or_refusal as function_or_refusal,
    kinds_of as kinds_of,
)
from .mean import (
    HeadMeans as HeadMeans,
    head_means as head_means,
)
from .native_hooks import (
    forward_replaced as forward_replaced,
    identity_block as identity_block,
)
from .on_blocks import (
    edited as edited,
)
from .on_bridge import (
    ablate as ablate,
    active_edits as active_edits,
    bridge_edited as bridge_edited,
    checked_edits as checked_edits,
    refuse_hooks as refuse_hooks,
)
from .on_disk import (
    prune as prune,
)
from .resample import (
    HeadOutputs as HeadOutputs,
    aligned as aligned,
    draw_donors as draw_donors,
    head_outputs as head_outputs,
)
from .text import (
    as_ablation as as_ablation,
    parse as parse,
    parsed_or_none as parsed_or_none,
)
from .user_hooks import hooked as hooked
from .value_checks import layer_of_point as layer_of_point
from .values import (
    BASELINE as BASELINE,
    AblateHead as AblateHead,
    AblateKVGroup as AblateKVGroup,
    Ablation as Ablation,
    Combination as Combination,
    Hooked as Hooked,
    Replacement as Replacement,
    SkipAttention as SkipAttention,
    SkipLayer as SkipLayer,
    SkipLayers as SkipLayers,
    SkipMLP as SkipMLP,
    SwapLayer as SwapLayer,
    SwapLayers as SwapLayers,
    donors as donors,
    with_donor as with_donor,
)
from .weights import (
    check_donor as check_donor,
    part_parameters as part_parameters,
)

__all__ = [
    "AblateHead",
    "AblateKVGroup",
    "Ablation",
    "BASELINE",
    "Activations",
    "Combination",
    "EditKind",
    "Edits",
    "HeadMeans",
    "HeadOutputs",
    "Hooked",
    "LayerEdit",
    "KINDS",
    "Part",
    "Replacement",
    "Rows",
    "SWAPS",
    "Shape",
    "SkipAttention",
    "SkipLayer",
    "SkipLayers",
    "SkipMLP",
    "SwapLayer",
    "SwapLayers",
    "Variant",
    "ablate",
    "active_edits",
    "aligned",
    "as_ablation",
    "as_ablations",
    "bridge_edited",
    "check_donor",
    "checked_edits",
    "cumulative",
    "cumulative_swaps",
    "donors",
    "draw_donors",
    "each_attention",
    "each_head",
    "each_kv_group",
    "each_layer",
    "each_mlp",
    "each_swap",
    "edited",
    "family",
    "forward_replaced",
    "function_or_refusal",
    "head_means",
    "head_outputs",
    "hooked",
    "identity_block",
    "kinds_of",
    "layer_of_point",
    "parse",
    "parsed_or_none",
    "part_parameters",
    "prune",
    "refuse_hooks",
    "shape_of",
    "sliding_blocks",
    "with_donor",
]

from .activations import (
    Activations as Activations,
    Rows as Rows,
)
from .base import (
    BASELINE as BASELINE,
    Ablation as Ablation,
    Combination as Combination,
)
from .causal_families import (
    each_back_patch as each_back_patch,
    each_cut as each_cut,
    each_patch as each_patch,
    each_window as each_window,
)
from .edits import (
    PART_FORMS as PART_FORMS,
    Edits as Edits,
    LayerEdit as LayerEdit,
    Part as Part,
    Patched as Patched,
    Place as Place,
    Scope as Scope,
    Shape as Shape,
    Variant as Variant,
)
from .example import Example as Example
from .expert_routing import (
    each_expert as each_expert,
)
from .experts import (
    AblateExpert as AblateExpert,
)
from .families import (
    as_ablations as as_ablations,
    cumulative as cumulative,
    each_attention as each_attention,
    each_exchange as each_exchange,
    each_head as each_head,
    each_kv_group as each_kv_group,
    each_layer as each_layer,
    each_mlp as each_mlp,
    each_parallel as each_parallel,
    each_repeat as each_repeat,
    each_replaced as each_replaced,
    every_pair as every_pair,
    family as family,
    sliding_blocks as sliding_blocks,
)
from .kinds import (
    KINDS as KINDS,
    SWAPS as SWAPS,
    EditKind as EditKind,
    kinds_of as kinds_of,
)
from .knockout import Cut as Cut
from .mean import (
    Means as Means,
    mean_outputs as mean_outputs,
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
    checked_edits_of as checked_edits_of,
    refuse_hooks as refuse_hooks,
)
from .on_disk import (
    prune as prune,
    rearrange as rearrange,
)
from .patched_blocks import (
    entering_patched as entering_patched,
    patches_what_enters as patches_what_enters,
)
from .patches import (
    BackPatch as BackPatch,
    Patch as Patch,
)
from .places import (
    BITS as BITS,
    Places as Places,
    padded_labels as padded_labels,
    text_labels as text_labels,
)
from .position_classes import (
    OF_EVERY_ROW as OF_EVERY_ROW,
    first_numbered as first_numbered,
    of_the_row as of_the_row,
)
from .positions_of_hooks import (
    Positions as Positions,
)
from .programs import (
    Exchange as Exchange,
    Order as Order,
    Parallel as Parallel,
    Repeat as Repeat,
    Reverse as Reverse,
)
from .resample import (
    Outputs as Outputs,
    aligned as aligned,
    draw_donors as draw_donors,
    outputs_on as outputs_on,
)
from .scoped import Scoped as Scoped
from .shapes import shape_of as shape_of
from .swap_families import (
    cumulative_swaps as cumulative_swaps,
    each_swap as each_swap,
)
from .text import (
    as_ablation as as_ablation,
    parse as parse,
    parsed_or_none as parsed_or_none,
)
from .user_hooks import hooked as hooked
from .value_checks import (
    function_or_refusal as function_or_refusal,
    layer_of_point as layer_of_point,
)
from .values import (
    AblateHead as AblateHead,
    AblateKVGroup as AblateKVGroup,
    Hooked as Hooked,
    Replace as Replace,
    Replacement as Replacement,
    SkipAttention as SkipAttention,
    SkipLayer as SkipLayer,
    SkipLayers as SkipLayers,
    SkipMLP as SkipMLP,
    SwapLayer as SwapLayer,
    SwapLayers as SwapLayers,
    check_donor_used as check_donor_used,
    donors as donors,
    with_donor as with_donor,
)
from .weights import (
    check_donor as check_donor,
    part_parameters as part_parameters,
)
from .windowed_heads import StreamingHead as StreamingHead

__all__ = [
    "AblateExpert",
    "AblateHead",
    "AblateKVGroup",
    "Ablation",
    "Activations",
    "BASELINE",
    "BITS",
    "BackPatch",
    "Combination",
    "Cut",
    "EditKind",
    "Edits",
    "Example",
    "Exchange",
    "Hooked",
    "KINDS",
    "LayerEdit",
    "Means",
    "OF_EVERY_ROW",
    "Order",
    "Outputs",
    "PART_FORMS",
    "Parallel",
    "Part",
    "Patch",
    "Patched",
    "Place",
    "Places",
    "Positions",
    "Repeat",
    "Replace",
    "Replacement",
    "Reverse",
    "Rows",
    "SWAPS",
    "Scope",
    "Scoped",
    "Shape",
    "SkipAttention",
    "SkipLayer",
    "SkipLayers",
    "SkipMLP",
    "StreamingHead",
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
    "check_donor_used",
    "checked_edits",
    "checked_edits_of",
    "cumulative",
    "cumulative_swaps",
    "donors",
    "draw_donors",
    "each_attention",
    "each_back_patch",
    "each_cut",
    "each_exchange",
    "each_expert",
    "each_head",
    "each_kv_group",
    "each_layer",
    "each_mlp",
    "each_parallel",
    "each_patch",
    "each_repeat",
    "each_replaced",
    "each_swap",
    "each_window",
    "edited",
    "every_pair",
    "family",
    "forward_replaced",
    "function_or_refusal",
    "hooked",
    "identity_block",
    "kinds_of",
    "layer_of_point",
    "mean_outputs",
    "first_numbered",
    "of_the_row",
    "outputs_on",
    "padded_labels",
    "parse",
    "parsed_or_none",
    "part_parameters",
    "prune",
    "rearrange",
    "refuse_hooks",
    "shape_of",
    "sliding_blocks",
    "text_labels",
    "with_donor",
]

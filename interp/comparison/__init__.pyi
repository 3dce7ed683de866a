from .between import (
    Swaps as Swaps,
    Weights as Weights,
    swaps_between as swaps_between,
    weights_between as weights_between,
)
from .depth import (
    centres as centres,
    depth_correlations as depth_correlations,
    depth_quantities as depth_quantities,
    shifts as shifts,
)
from .drawing import (
    comparison_figures as comparison_figures,
)
from .model_differences import (
    differences as differences,
)
from .profile_correlations import (
    correlations as correlations,
)
from .removal_robustness import (
    orders_of as orders_of,
    removal_curves as removal_curves,
    robustness as robustness,
    robustness_differences as robustness_differences,
)
from .result import (
    Comparison as Comparison,
    comparison_of as comparison_of,
)
from .running import (
    ablations_of as ablations_of,
    check_names as check_names,
    compare as compare,
    open_comparison as open_comparison,
)
from .swaps import (
    ends_line as ends_line,
    swap_ablations as swap_ablations,
    swap_curves as swap_curves,
    swap_sweep as swap_sweep,
)
from .variation import (
    Variation as Variation,
)
from .varying import (
    asked_ways as asked_ways,
    open_variation as open_variation,
    vary as vary,
)
from .weights import (
    distance_and_effect as distance_and_effect,
    layer_distances as layer_distances,
    weight_distances as weight_distances,
)

__all__ = [
    "Comparison",
    "Swaps",
    "Variation",
    "Weights",
    "ablations_of",
    "asked_ways",
    "centres",
    "check_names",
    "compare",
    "comparison_figures",
    "comparison_of",
    "correlations",
    "depth_correlations",
    "depth_quantities",
    "differences",
    "distance_and_effect",
    "ends_line",
    "layer_distances",
    "open_comparison",
    "open_variation",
    "orders_of",
    "removal_curves",
    "robustness",
    "robustness_differences",
    "shifts",
    "swap_ablations",
    "swap_curves",
    "swap_sweep",
    "swaps_between",
    "vary",
    "weight_distances",
    "weights_between",
]

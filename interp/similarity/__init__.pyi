from .downstream import (
    downstream_effects as downstream_effects,
)
from .layers import (
    Similarity as Similarity,
    cka_between as cka_between,
    layer_similarity as layer_similarity,
    open_similarity as open_similarity,
)
from .measures import (
    angular_distance as angular_distance,
    cosine as cosine,
    hsic as hsic,
)
from .removal import (
    Removal as Removal,
    greedy_removal as greedy_removal,
)
from .shapley import (
    layer_shapley as layer_shapley,
)
from .skipping import (
    Order as Order,
    at_random as at_random,
    by_angular_distance as by_angular_distance,
    by_importance as by_importance,
    by_influence as by_influence,
    curve_table as curve_table,
    deepest_first as deepest_first,
    nested as nested,
    pruning_curves as pruning_curves,
    skipped_layers as skipped_layers,
)
from .study import (
    study_angular_distance as study_angular_distance,
)
from .sublayer_influence import (
    influence_by_part as influence_by_part,
)

__all__ = [
    "Order",
    "Removal",
    "Similarity",
    "angular_distance",
    "at_random",
    "by_angular_distance",
    "by_importance",
    "by_influence",
    "cka_between",
    "cosine",
    "curve_table",
    "deepest_first",
    "downstream_effects",
    "greedy_removal",
    "hsic",
    "influence_by_part",
    "layer_shapley",
    "layer_similarity",
    "nested",
    "open_similarity",
    "pruning_curves",
    "skipped_layers",
    "study_angular_distance",
]

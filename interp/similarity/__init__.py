"""How much each layer changes the residual stream, and what that can and cannot predict.

similarity = interp.layer_similarity(model, "world-kv:generate", limit=200)
similarity.influence, similarity.angular, similarity.cka
interp.similarity.similarity_and_importance(similarity.measures(), sweep.values())
interp.similarity.pruning_curves(model, tasks, orders, out="runs/pruning")
"""

from interp.similarity.agreement import similarity_and_importance
from interp.similarity.layers import Similarity, cka_between, layer_similarity
from interp.similarity.measures import angular_distance, cosine, hsic
from interp.similarity.pruning import (
    Order,
    at_random,
    by_angular_distance,
    by_importance,
    by_influence,
    curve_table,
    deepest_first,
    nested,
    pruning_curves,
)
from interp.similarity.study import study_angular_distance

__all__ = [
    "Order",
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
    "hsic",
    "layer_similarity",
    "nested",
    "pruning_curves",
    "similarity_and_importance",
    "study_angular_distance",
]

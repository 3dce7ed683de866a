"""How much each layer changes the residual stream, and whether that predicts its importance.

similarity = interp.layer_similarity(model, "world-kv:generate", limit=200)
similarity.influence, similarity.angular, similarity.cka
interp.stats.layer_correlations(similarity.measures(), sweep.gains())
interp.similarity.pruning_curves(model, tasks, orders, out="runs/pruning")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

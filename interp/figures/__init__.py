"""Figures for print: each function takes a result or its table and returns a matplotlib `Figure`.

    fig = interp.figures.layers(sweep)             # score by ablated layer
    fig = interp.figures.drops([base, other])      # drop by ablated layer, two sweeps
    fig = interp.figures.heatmap(sweep)            # tasks x layers
    fig = interp.figures.importance_map(sweep)     # heads by layer; also groups, blocks, pairs
    fig = interp.figures.retrieval_map(heads)      # layers x heads; also depth, removal, ...
    fig = interp.figures.recovery_map(sweep)       # patches: layers x positions, layers x heads
    fig = interp.figures.knockout_map(sweep)       # cuts: first layer x size of the window
    fig = interp.figures.compared.by_model(sweeps) # a line for each model; by_metric: each metric
    interp.figures.save(fig, "figures/layers")     # PDF, SVG, PNG and the data as CSV
    interp.figures.save_all(sweep, "figures")      # every figure that the sweep allows
    interp.figures.lens.grid(table)                # tokens x layers; by_depth, decision_depths
    interp.figures.readout.divergence(table)       # tuned against plain lens; attribution
    interp.figures.comparison.profiles(comparison) # differences, swap_curves, weights
    interp.figures.similarity.angular(similarity)  # influence, agreement, pruning
    interp.figures.cka.heatmap(similarity)         # same_depth: two models

A sweep is anything with `scores()` and `importance()`; the tables of `interp.stats` themselves can
be given, too. Figures of sweeps take `tasks=`, `metric=`, `kind=`, `labels=` (words in place of
names), `width=` (inches), `ylim=`, `caption=False` and `ax=`. No model is loaded, and no global
setting of matplotlib is changed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Figures fit for print: each takes a sweep or its tables and returns a matplotlib ``Figure``.

    fig = interp.figures.layers(sweep)          # accuracy by ablated layer
    fig = interp.figures.drops([base, other])   # drop by ablated layer, two sweeps
    fig = interp.figures.heatmap(sweep)         # tasks x layers
    fig = interp.figures.retrieval_map(heads.table())  # layers x heads; also depth, removal, ...
    fig = interp.figures.compared.by_model(scores)  # a line a model; by_metric: a line a metric
    interp.figures.save(fig, "figures/layers")  # PDF, SVG, PNG and the data as CSV
    interp.figures.save_all(sweep, "figures")   # all of them
    interp.figures.lens.grid(table)             # tokens x layers; by_depth, decision_depths
    interp.figures.readout.divergence(table)    # tuned against plain lens; attribution
    interp.figures.comparison.profiles(table, n_layers)  # differences, swap_curves, weights
    interp.figures.similarity.angular(table)    # influence, agreement, pruning
    interp.figures.cka.heatmap(table)           # same_depth: two models

A sweep is anything with ``scores()`` and ``importance()``; the tables themselves, of
`interp.stats`, do as well. No model is loaded and no global setting of matplotlib is changed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

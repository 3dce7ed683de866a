"""The logit lens: how far the answer can be read from the residual stream at each depth.

lens = interp.logit_lens(model, "world-facts:default", limit=100)
lens.table()             # rank, log-probability, margin ... by depth, with intervals
lens.decision_depth()    # the depth from which the answer leads to the end
interp.lens.prompt_grid(model, "The capital of France is")
tuned = interp.lens.train_tuned_lens(model, texts, source="WikiText-2, 500 lines")
interp.logit_lens(model, "world-facts:default", tuned=tuned)
interp.lens.direct_logit_attribution(model, "world-facts:default", limit=100)
interp.lens.self_repair(model, "world-facts:default", ["attentions", "mlps"], limit=100)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""What each depth knows: the answer as far as it can be read from the residual stream.

lens = interp.logit_lens(model, "world-facts:default", limit=100)
lens.table()             # rank, log-probability, margin ... by depth, with intervals
lens.decision_depth()    # from which depth on the answer leads and stays
interp.lens.prompt_grid(model, "The capital of France is")
tuned = interp.lens.train_tuned_lens(model, texts, source="WikiText-2, 500 lines")
interp.logit_lens(model, "world-facts:default", tuned=tuned)
interp.lens.direct_logit_attribution(model, "world-facts:default", limit=100)
"""

from interp.lens.answers import WHOLE
from interp.lens.attribution import direct_logit_attribution, head_table
from interp.lens.depths import Depth, depths
from interp.lens.grid import prompt_grid
from interp.lens.quantities import QUANTITIES
from interp.lens.result import Lens, decision_difference
from interp.lens.tasks import Reading, logit_lens
from interp.lens.training import Training, train_tuned_lens
from interp.lens.tuned import TunedLens, held_out_table, load_tuned_lens

__all__ = [
    "QUANTITIES",
    "WHOLE",
    "Depth",
    "Lens",
    "Reading",
    "Training",
    "TunedLens",
    "decision_difference",
    "depths",
    "direct_logit_attribution",
    "head_table",
    "held_out_table",
    "load_tuned_lens",
    "logit_lens",
    "prompt_grid",
    "train_tuned_lens",
]

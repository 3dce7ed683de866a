"""Two models or more side by side, on the same examples.

    found = interp.compare({"base": "organism:base", "distilled": "organism:distilled"},
                           ["world-arithmetic:generate"], ablations="layers", out="runs/compare")
    found.differences()      # drop of one minus drop of the other, with interval and test
    found.correlations()     # do the profiles agree?
    found.centres()          # relative depth and spread of the layers' importance
    interp.comparison.open_comparison("runs/compare")    # the same, later, without the models

`vary` (`varying.py`) runs one model's sweep over several prompts. `swap_sweep` and `swap_curves`
(`swaps.py`) put the layers of one model into the other; `weight_distances` (`weights.py`) says how
far apart their matrices are. The statistics (`model_differences.py`, `depth.py`,
`profile_correlations.py`, `removal_robustness.py`) are functions of tables of values.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

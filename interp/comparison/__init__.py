"""Two models or more side by side, on the same examples.

    found = interp.compare({"base": "organism:base", "distilled": "organism:distilled"},
                           ["world-arithmetic:generate"], ablations="layers", out="runs/compare")
    found.differences()      # drop of one minus drop of the other, with interval and test
    found.correlations()     # do the profiles agree?
    found.centres()          # at which relative depth what matters lies, and how spread out
    interp.comparison.open_comparison("runs/compare")    # the same, later, without the models

`swap_sweep` and `swap_curves` (``swaps.py``) put the layers of one model into the other;
`weight_distances` (``weights.py``) says how far each matrix moved. The statistics
(``differences.py``, ``depth.py``, ``robustness.py``) are functions of tables of values.
"""

from interp.comparison.depth import centres, shifts
from interp.comparison.differences import differences
from interp.comparison.result import Comparison, comparison_of
from interp.comparison.robustness import removal_curves, robustness
from interp.comparison.running import compare, open_comparison
from interp.comparison.swaps import ends_line, swap_curves, swap_sweep
from interp.comparison.weights import distance_and_effect, layer_distances, weight_distances

__all__ = [
    "Comparison",
    "centres",
    "compare",
    "comparison_of",
    "differences",
    "distance_and_effect",
    "ends_line",
    "layer_distances",
    "open_comparison",
    "removal_curves",
    "robustness",
    "shifts",
    "swap_curves",
    "swap_sweep",
    "weight_distances",
]

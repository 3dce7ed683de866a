"""How sure a result is: intervals, paired tests and corrections, DataFrame to DataFrame.

The input ("values") is a long table with one row per example: columns `model`, `task`,
`metric`, `ablation` (`"baseline"`, `"layer:7"`, ...), `doc_id` and `value`, and
optionally `cluster` (examples that share a context or a subject and are not independent).

- `scores`: each score with its interval; `importance`: each paired drop against the baseline with
  its interval and test (`tables.py`).
- `compare_profiles`: rank correlation of two profiles of drops, with its interval
  (`profiles.py`).
- `equivalence`: which ablations change a score by less than a stated margin (`margins.py`).
- `power`, `examples_needed`, `power_table`: which drops a number of examples can show
  (`sample_size.py`).
- `near_ties`: how many choices between options rounding may decide (`ties.py`).
- `rounding_floor`, `with_rounding`: how large a drop can be by rounding alone (`rounding.py`).
- `wilson`, `tango`, `mcnemar`, `sign_flip`, `adjust`, `spearman`: what they are made of, on arrays
  (`intervals.py`, `pvalues.py`, `ranks.py`).

Metrics whose values are all 0 or 1 (per task and metric) are given in points, 0 to 100 (`unit`
is `"points"`); others stay as they are (`unit` is `"value"`). A result is a pure function
of the set of rows and of the seed: the order of the rows never matters.

`low` and `high` hold for one ablation at a time, `low_all` and `high_all` for all ablations of a
family together. P-values are corrected for the size of the family.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

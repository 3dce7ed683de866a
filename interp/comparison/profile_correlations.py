"""Do two models depend on the same layers? Rank correlations of their profiles."""

from typing import Any

import pandas as pd

from interp.comparison.profiles import kinds, pairs_of
from interp.errors import UserError
from interp.stats import BASELINE, compare_profiles, series

LEAST_ABLATIONS = 3


def correlations(values: pd.DataFrame, *, seed: int = 0, **options: Any) -> pd.DataFrame:
    """Spearman's correlation of the profiles of every two models, by task and kind of ablation.

    Args:
        values: the long table of `interp.stats` with two models or more.
        seed: seed of the bootstrap over examples.
        **options: further options of `interp.stats.compare_profiles`.

    Returns:
        Columns `a b task metric kind spearman ceiling disattenuated low high p_differ least_p
        n_ablations n interval test correction`, as in `interp.stats.compare_profiles`. A profile
        consists of at least three ablations of the same kind (`layer`, `head`, ...), each of one
        layer or head, that failed on no example. Values are NaN where a profile has no spread.

    Raises:
        UserError: no two models have such a profile in common.
    """
    pairs, tables = pairs_of(values), []
    for kind, texts in kinds(dict.fromkeys(values["ablation"])).items():
        chosen = values[values["ablation"].isin([BASELINE, *texts])]
        for (task, metric), rows in chosen.groupby(["task", "metric"], sort=False):
            # an ablation that failed on an example has no column
            whole = {str(key["model"]): set(wide) for key, _, wide, _ in series(rows)}
            for a, b in pairs:
                sides = [whole.get(name, set()) for name in (a, b)]
                if len(sides[0] & sides[1] - {BASELINE}) < LEAST_ABLATIONS:
                    continue
                key = {"task": str(task), "metric": str(metric)}
                pair = ({"model": a, **key}, {"model": b, **key})
                table = compare_profiles(rows, [pair], seed=seed, **options)
                names: dict[str, Any] = {"a": a, "b": b, **key, "kind": kind, "n": table.pop("n_a")}
                table = table.drop(columns=["a", "b", "n_b"]).assign(**names)
                tables.append(table)
    if not tables:
        raise UserError(
            f"correlations: no two models have {LEAST_ABLATIONS} ablations of one layer in common"
        )
    joined = pd.concat(tables, ignore_index=True)
    return joined[
        ["a", "b", "task", "metric", "kind", "spearman", "ceiling", "disattenuated", "low", "high",
         "p_differ", "least_p", "n_ablations", "n", "interval", "test", "correction"]
    ]  # fmt: skip

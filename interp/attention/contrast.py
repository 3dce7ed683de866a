"""Cause, not only correlation: accuracy by number of heads removed, top against random ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.ablations import Ablation, Replacement
from interp.attention.heads import RetrievalHeads
from interp.stats import BASELINE


def removals(
    heads: RetrievalHeads,
    numbers: Sequence[int],
    *,
    draws: int = 20,
    seed: int = 0,
    by: Replacement = "zero",
    nearest: bool = False,
) -> list[tuple[Ablation, int, str, int]]:
    """What to sweep for the contrast: the top k and `draws` random sets of k, for each k.

    Args:
        heads: from `retrieval_heads`.
        numbers: how many heads go, each k.
        draws: random sets a k, matched to the top k by layer; all there are, where there are fewer.
        seed: of the draws.
        by: what takes the place of a head's z.
        nearest: as for `random_heads`.

    Returns:
        (ablation, k, `"top"` or `"random"`, number of the draw), each ablation once.
    """
    plan: list[tuple[Ablation, int, str, int]] = []
    for k in numbers:
        plan.append((heads.top(k, by=by), k, "top", 0))
        drawn = heads.random(k, draws=draws, seed=seed + k, by=by, nearest=nearest, fewer=True)
        plan += [(ablation, k, "random", number) for number, ablation in enumerate(drawn)]
    return plan


def removal_curve(
    scores: pd.DataFrame, plan: Sequence[tuple[Ablation, int, str, int]], *, metric: str
) -> pd.DataFrame:
    """Accuracy by number of heads removed.

    Args:
        scores: a sweep's `scores()`.
        plan: from `removals`.
        metric: which of the scores.

    Returns:
        Columns model, task, metric, k, kind, value, low, high, n, unit, interval, draws, p. For
        `top` and at k = 0 the interval is that of the score. For `random` the value is the mean of
        the draws, low and high the middle 95% of them. p is the chance that a random set hurts as
        much as the top one, (1 + draws that do) / (1 + draws) (Phipson & Smyth 2010).
    """
    chosen = scores[scores["metric"] == metric]
    rows = []
    for (model, task), group in chosen.groupby(["model", "task"], sort=False):
        table = group.set_index("ablation")
        common = {"model": model, "task": task, "metric": metric}
        whole = dict(table.loc[BASELINE, ["value", "low", "high", "n", "unit", "interval"]])
        rows.append(common | {"k": 0, "kind": "top", **whole})
        rows.append(
            common
            | {"k": 0, "kind": "random", **whole}
            | dict.fromkeys(("low", "high"), whole["value"])
            | {"interval": "none (nothing is drawn)"}
        )
        for k in sorted({k for _, k, _, _ in plan}):
            top = next(a.text for a, number, kind, _ in plan if number == k and kind == "top")
            drawn = [a.text for a, number, kind, _ in plan if number == k and kind == "random"]
            best = dict(table.loc[top, ["value", "low", "high", "n", "unit", "interval"]])
            values = table.loc[drawn, "value"].to_numpy(float)
            as_low = int((values <= best["value"]).sum())
            p = (1 + as_low) / (1 + len(values))
            low, high = np.quantile(values, [0.025, 0.975])
            rows.append(common | {"k": k, "kind": "top", **best, "draws": 1, "p": p})
            rows.append(
                common
                | {"k": k, "kind": "random", "value": values.mean(), "low": low, "high": high}
                | {"n": best["n"], "unit": best["unit"], "interval": "middle 95% of draws"}
                | {"draws": len(values), "p": np.nan}
            )
    return pd.DataFrame(rows)

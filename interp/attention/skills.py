"""Which heads matter for which skill: maps, their overlap, and what heads explain of a layer."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats as sps

from interp.ablations import AblateHead, SkipAttention, SkipLayer, parsed_or_none
from interp.attention.heads import Head, top_heads
from interp.errors import UserError


def head_map(importance: pd.DataFrame, task: str, metric: str) -> Float[np.ndarray, "layer head"]:
    """The drop of every head's ablation, `[layer, head]`.

    Args:
        importance: the table of an all-head sweep of one model.
        task: which task.
        metric: which metric.

    Raises:
        UserError: a head is missing or there twice.
    """
    rows = _heads(importance, metric)
    rows = rows[rows["task"] == task]
    if rows.empty:
        raise UserError(f"task {task}, metric {metric}: no ablation of a single head in this table")
    grid = rows.pivot(index="layer", columns="head", values="drop")  # noqa: PD010
    if grid.isna().to_numpy().any():
        raise UserError(f"task {task}: some heads were not ablated; sweep all heads (each_head)")
    return grid.to_numpy(float)


def overlap(importance: pd.DataFrame, metric: dict[str, str], *, k: int) -> pd.DataFrame:
    """How far tasks share their important heads.

    Args:
        importance: the table of an all-head sweep of one model.
        metric: task to metric.
        k: heads that count as a task's important ones.

    Returns:
        One row a pair of tasks: `jaccard` of their important heads (the k of the largest drop, as
        far as the drop is positive: `n_task` and `n_other` of them), with the value `expected` of
        random sets of these sizes and the chance `p` of so much overlap (hypergeometric);
        `spearman` of the drops of all heads, with its p-value. NaN where a task has no head whose
        ablation hurts.
    """
    maps = {task: head_map(importance, task, chosen) for task, chosen in metric.items()}
    rows = []
    for one, other in itertools.combinations(maps, 2):
        first, second = ({h for h in top_heads(maps[t], k) if maps[t][h] > 0} for t in (one, other))
        sizes = {"k": k, "n_task": len(first), "n_other": len(second), "n_heads": maps[one].size}
        correlation = _spearman(maps[one].ravel(), maps[other].ravel())
        rows.append(
            {"task": one, "other": other, **sizes, **_jaccard(first, second, maps[one].size)}
            | {"spearman": correlation[0], "spearman_p": correlation[1]}
        )
    return pd.DataFrame(rows)


def _jaccard(first: set[Head], second: set[Head], total: int) -> dict[str, Any]:
    shared = len(first & second)
    if not first or not second:
        return {"shared": shared, "jaccard": np.nan, "expected": np.nan, "p": np.nan}
    chances = sps.hypergeom(total, len(first), len(second))
    every = np.arange(min(len(first), len(second)) + 1)
    expected = (chances.pmf(every) * every / (len(first) + len(second) - every)).sum()
    return {
        "shared": shared,
        "jaccard": shared / len(first | second),
        "expected": float(expected),
        "p": float(chances.sf(shared - 1)),
    }


def _spearman(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan, np.nan
    found = sps.spearmanr(one, other)
    return float(found.statistic), float(found.pvalue)


def explained(importance: pd.DataFrame, metric: str) -> pd.DataFrame:
    """How much of a layer's importance its attention and its single heads explain.

    Args:
        importance: a table that holds `layer:N`, `attn:N` and `head:N.M` of the same examples.
        metric: which metric.

    Returns:
        One row a task and layer: `layer_drop`, `attention_drop`, `largest_head_drop`,
        `sum_of_heads` (single drops added up: below the attention's drop where heads stand in for
        each other, above it where they are needed together), and `share`, the largest head's
        part of the layer's drop (NaN where the layer's drop is not positive).
    """
    rows = []
    heads = _heads(importance, metric)
    chosen = importance[importance["metric"] == metric]
    parsed = [parsed_or_none(text) for text in chosen["ablation"]]
    for (task, layer), group in heads.groupby(["task", "layer"]):
        drops = {}
        for name, kind in (("layer_drop", SkipLayer), ("attention_drop", SkipAttention)):
            wanted = [isinstance(a, kind) and a.layer == layer for a in parsed]
            found = chosen[np.array(wanted) & (chosen["task"] == task).to_numpy()]["drop"]
            drops[name] = float(found.iloc[0]) if len(found) == 1 else np.nan
        largest = float(group["drop"].max())
        share = largest / drops["layer_drop"] if drops["layer_drop"] > 0 else np.nan
        rows.append(
            {"task": task, "layer": layer, **drops, "largest_head_drop": largest}
            | {"sum_of_heads": float(group["drop"].sum()), "share": share}
        )
    return pd.DataFrame(rows)


def _heads(importance: pd.DataFrame, metric: str) -> pd.DataFrame:
    chosen = importance[importance["metric"] == metric]
    parsed = [parsed_or_none(text) for text in chosen["ablation"]]
    single = np.array([isinstance(one, AblateHead) for one in parsed], dtype=bool)
    places = [(one.layer, one.head) for one in parsed if isinstance(one, AblateHead)]
    return chosen[single].assign(
        layer=[layer for layer, _ in places], head=[head for _, head in places]
    )

"""Which heads matter for which skill: maps, their overlap, and what heads explain of a layer."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats as sps

from interp.ablations import AblateHead, SkipAttention, SkipLayer, parsed_or_none
from interp.errors import UserError
from interp.stats import (
    BASELINE,
    check_options,
    drops_by_document,
    percentiles,
    resampled_profile,
    spearman,
    unit_name,
)


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


def overlap(
    values: pd.DataFrame,
    *,
    k: int,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How far tasks share their important heads, and how sure that is.

    The intervals are a percentile bootstrap over examples (over clusters of them, where the values
    name clusters); protocols of one benchmark share their resamples. Noise makes any two tasks
    look less alike, and a resample holds it twice: where drops are small an interval lies lower
    than its estimate, and may leave it out.

    Args:
        values: from `Sweep.values()` of an all-head sweep of one model, one metric a task
            (`interp.results.choose_metric`).
        k: heads that count as a task's important ones.
        confidence: coverage of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        One row a pair of tasks: `jaccard` of their important heads (the k of the largest drop, as
        far as the drop is positive: `n_task` and `n_other` of them) with its interval, the value
        `expected` of random sets of these sizes and the chance `p` of so much overlap
        (hypergeometric); `spearman` of the drops of all heads, with its interval and its p-value;
        `n_examples` and `n_other_examples`. NaN where a task has no head whose ablation hurts.

    Raises:
        UserError: several models, or several metrics a task; no head was ablated alone; the
            baseline is missing, or of other examples.
    """
    check_options(confidence, resamples)
    profiles = {}
    for (_, task, _), damage in drops_by_document(_single_heads(values)).items():
        if task in profiles:
            raise UserError(f"overlap, task {task}: several models or metrics; keep one")
        profiles[task] = damage
    rows = []
    for one, other in itertools.combinations(profiles, 2):
        pair = [profiles[one], profiles[other]]
        heads = [column for column in pair[0].columns if column in pair[1].columns]
        pair = [damage[heads] for damage in pair]
        shared = one.partition(":")[0] == other.partition(":")[0]
        streams = 2, 2 if shared and pair[0].index.equals(pair[1].index) else 3
        drawn, drawn_other = (
            resampled_profile(damage, resamples=resamples, seed=[seed, stream])
            for damage, stream in zip(pair, streams, strict=True)
        )
        drops, drops_other = (damage.to_numpy().mean(axis=0).round(12) for damage in pair)
        row = {"task": one, "other": other, "k": k, **_chances(drops, drops_other, k)}
        shares = _jaccard(drops, drops_other, k), _jaccard(drawn, drawn_other, k)
        row |= _with_interval("jaccard", *shares, confidence)
        ranks = spearman(drops, drops_other), spearman(drawn, drawn_other)
        row |= _with_interval("spearman", *ranks, confidence)
        known = np.isfinite(row["spearman"])
        row["spearman_p"] = float(sps.spearmanr(drops, drops_other).pvalue) if known else np.nan
        row |= {"n_heads": len(heads), "n_examples": len(pair[0]), "n_other_examples": len(pair[1])}
        row["interval"] = f"{100 * confidence:g}% bootstrap over {unit_name(pair[0])}"
        rows.append(row | {"correction": "none"})
    return pd.DataFrame(rows)


def _single_heads(values: pd.DataFrame) -> pd.DataFrame:
    """The baseline and the ablations of one head."""
    single = {a for a in values["ablation"].unique() if isinstance(parsed_or_none(a), AblateHead)}
    if not single:
        raise UserError("no ablation of a single head in this table; sweep all heads (each_head)")
    return values[values["ablation"].isin([BASELINE, *single])]


def _important(drops: Float[np.ndarray, "*rows head"], k: int) -> Bool[np.ndarray, "*rows head"]:
    """The k heads of the largest drop, as far as it is positive; equal drops in their order."""
    if not 1 <= k <= drops.shape[-1]:
        raise UserError(f"{k} heads: the model has 1-{drops.shape[-1]}")
    order = np.argsort(-drops, axis=-1, kind="stable")[..., :k]
    chosen = np.zeros(drops.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=-1)
    return chosen & (drops > 0)


def _jaccard(
    one: Float[np.ndarray, "*rows head"], other: Float[np.ndarray, "*rows head"], k: int
) -> Float[np.ndarray, "*rows"]:
    """Shared share of the important heads, row by row; NaN where one has none."""
    first, second = _important(one, k), _important(other, k)
    both = np.asarray((first & second).sum(axis=-1), dtype=float)
    either = (first | second).sum(axis=-1)
    known = first.any(axis=-1) & second.any(axis=-1)
    return np.divide(both, either, out=np.full_like(both, np.nan), where=known)


def _chances(
    one: Float[np.ndarray, " head"], other: Float[np.ndarray, " head"], k: int
) -> dict[str, Any]:
    """How much random sets of these sizes would share, and the chance of so much."""
    first, second = _important(one, k), _important(other, k)
    sizes, shared = (int(first.sum()), int(second.sum())), int((first & second).sum())
    counts = {"n_task": sizes[0], "n_other": sizes[1], "shared": shared}
    if not all(sizes):
        return counts | {"expected": np.nan, "p": np.nan}
    chances = sps.hypergeom(one.size, *sizes)
    every = np.arange(min(sizes) + 1)
    expected = (chances.pmf(every) * every / (sum(sizes) - every)).sum()
    return counts | {"expected": float(expected), "p": float(chances.sf(shared - 1))}


def _with_interval(
    name: str, value: np.ndarray, replicates: np.ndarray, confidence: float
) -> dict[str, float]:
    low, high = percentiles(replicates, confidence)
    named = {name: value, f"{name}_low": low, f"{name}_high": high}
    return {column: float(number) for column, number in named.items()}


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

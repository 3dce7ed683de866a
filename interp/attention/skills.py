"""Which heads matter for which skill: maps, their overlap, and how much of a layer they explain."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from interp.ablations import AblateHead, SkipAttention, SkipLayer, parsed_or_none
from interp.errors import UserError, check_whole
from interp.stats import (
    BASELINE,
    check_columns,
    check_options,
    check_values,
    compared,
    drops_by_document,
    hypergeometric,
    importance as tested_drops,
    spearman,
    unit_name,
)

ALPHA = 0.05
"""The level at which a head is important, after Holm's correction over all heads of a task."""


def head_map(importance: pd.DataFrame, task: str, metric: str) -> Float[np.ndarray, "layer head"]:
    """The drop of every head's ablation, `[layer, head]`.

    Args:
        importance: the table of an all-head sweep of one model.
        task: the name of the task.
        metric: the name of the metric.

    Returns:
        Drops `[layer, head]`, in the unit of the metric.

    Raises:
        UserError: a head is missing or occurs twice.
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
    """How far tasks share their important heads, beyond sharing the layers that they need.

    A task's important heads are the `k` with the largest drops among those whose drop is
    significant (`ALPHA`, Holm over all heads). A task without any is not testable, and `reason`
    says so.

    Both tests are within layers, because two tasks that need the same *layers* share more heads by
    chance than heads drawn from the whole model would. For the shared heads, the null hypothesis is
    that each task's important heads lie anywhere within their layers (exact, by the sum of
    hypergeometric distributions over layers). For the correlation of all drops, it is that the
    heads of a layer are exchangeable (permutation within layers, two-sided about its mean).

    Args:
        values: from `Sweep.gains()` of a sweep of all heads of one model, with one metric per task
            (`interp.results.choose_metric`).
        k: the most heads that count as important for a task.
        confidence: coverage of the interval of the correlation.
        resamples: bootstrap resamples and permutations.
        seed: seed of both.

    Returns:
        One row per pair of tasks. `jaccard` is the Jaccard index of their important heads (whose
        numbers are `n_task`, `n_other` and `shared`), `expected` its value if each task's heads lay
        anywhere in the same layers, and `p` the probability of sharing so many by chance. `least_p`
        is that of sharing as many as there can be: where it is not small, no number of shared heads
        would show anything. The index has no interval, because the important heads are chosen on
        these same examples. `spearman` is the correlation of the drops of all heads, with
        `spearman_p` (never below `least_spearman_p`, which is one over one more than the number of
        permutations), and `ceiling disattenuated low high` as in `interp.stats.compare_profiles`.
        Further columns are `n_examples`, `n_other_examples` and `reason`. Entries are NaN where a
        task has no important head.

    Raises:
        UserError: there are several models, or several metrics per task; no head was ablated alone;
            or the baseline is missing or of other examples.
    """
    check_options(confidence, resamples, seed)
    check_values(values)
    check_whole("k", k, 1)
    chosen = _single_heads(values)
    profiles = {}
    for (_, task, _), damage in drops_by_document(chosen).items():
        if task in profiles:
            raise UserError(f"overlap, task {task}: several models or metrics; keep one")
        profiles[task] = damage
    tested = tested_drops(chosen, resamples=resamples, seed=seed)
    significant = tested[(tested["p_adjusted"] < ALPHA) & (tested["drop"] > 0)]
    points = dict(zip(tested["task"], tested["unit"] == "points", strict=True))
    rows = []
    for one, other in itertools.combinations(profiles, 2):
        pair = [profiles[one], profiles[other]]
        heads = [column for column in pair[0].columns if column in pair[1].columns]
        pair = [damage[heads] for damage in pair]
        layers = np.array([_layer(head) for head in heads])
        members = [
            _important(damage, heads, significant[significant["task"] == task]["ablation"], k)
            for task, damage in zip((one, other), pair, strict=True)
        ]
        row = {"task": one, "other": other, "k": k, **shared_heads(members[0], members[1], layers)}
        shared = one.partition(":")[0] == other.partition(":")[0]
        table = compared(
            *pair, paired=shared and pair[0].index.equals(pair[1].index),
            points=points[one] and points[other],
            confidence=confidence, resamples=resamples, seed=seed,
        )  # fmt: skip
        names = ("spearman", "ceiling", "disattenuated", "low", "high")
        row |= {name: table[name] for name in names}
        drops = [damage.to_numpy().mean(axis=0).round(12) for damage in pair]
        row["spearman_p"] = correlation_within_layers(drops[0], drops[1], layers, resamples, seed)
        row["least_spearman_p"] = 1 / (1 + resamples)
        row |= {"n_heads": len(heads), "n_examples": len(pair[0]), "n_other_examples": len(pair[1])}
        kind = "none (a profile is noise)"
        if np.isfinite(row["low"]):
            kind = f"{100 * confidence:g}% bootstrap over {unit_name(pair[0])}, disattenuated"
        without = [t for t, m in zip((one, other), members, strict=True) if not m.any()]
        reason = f"no important heads in {', '.join(without)}: not testable" if without else ""
        rows.append(row | {"reason": reason, "interval": kind, "correction": "none"})
    return pd.DataFrame(rows)


def _single_heads(values: pd.DataFrame) -> pd.DataFrame:
    """The baseline and the ablations of one head."""
    single = {a for a in values["ablation"].unique() if isinstance(parsed_or_none(a), AblateHead)}
    if not single:
        raise UserError("no ablation of a single head in this table; sweep all heads (each_head)")
    return values[values["ablation"].isin([BASELINE, *single])]


def _layer(head: str) -> int:
    parsed = parsed_or_none(head)
    if not isinstance(parsed, AblateHead):
        raise UserError(f"overlap: {head} is no ablation of a single head")
    return parsed.layer


def _important(
    damage: pd.DataFrame, heads: Sequence[str], significant: pd.Series, k: int
) -> Bool[np.ndarray, " head"]:
    """The k significant heads with the largest drops; equal drops in order of the heads."""
    if not 1 <= k <= len(heads):
        raise UserError(
            f"overlap of {k} heads: only {len(heads)} were ablated without a failure in both tasks"
        )
    drops = damage.to_numpy().mean(axis=0).round(12)
    is_significant = np.isin(heads, significant.to_numpy(str))
    order = np.argsort(-np.where(is_significant, drops, -np.inf), kind="stable")[:k]
    chosen = np.zeros(len(heads), dtype=bool)
    chosen[order] = True
    return chosen & is_significant


def shared_heads(
    one: Bool[np.ndarray, " head"],
    other: Bool[np.ndarray, " head"],
    layers: Int[np.ndarray, " head"],
) -> dict[str, Any]:
    """The number of shared important heads, and the number expected within the same layers."""
    sizes, n_shared = (int(one.sum()), int(other.sum())), int((one & other).sum())
    counts = {"n_task": sizes[0], "n_other": sizes[1], "shared": n_shared}
    if not all(sizes):
        return counts | dict.fromkeys(("jaccard", "expected", "p", "least_p"), np.nan)
    chances = np.ones(1)
    for layer in np.unique(layers):
        in_layer = layers == layer
        n_one, n_other = int(one[in_layer].sum()), int(other[in_layer].sum())
        of_layer = np.zeros(min(n_one, n_other) + 1)
        numbers, of_number = hypergeometric(int(in_layer.sum()), n_one, n_other)
        of_layer[numbers] = of_number
        chances = np.convolve(chances, of_layer)
    every = np.arange(len(chances))
    return counts | {
        "jaccard": n_shared / (sum(sizes) - n_shared),
        "expected": float((chances * every / (sum(sizes) - every)).sum()),
        "p": float(min(1.0, chances[n_shared:].sum())),
        "least_p": float(min(1.0, chances[-1])),
    }


def correlation_within_layers(
    one: Float[np.ndarray, " head"],
    other: Float[np.ndarray, " head"],
    layers: Int[np.ndarray, " head"],
    permutations: int,
    seed: int,
) -> float:
    """The p-value of Spearman's correlation, by permuting heads within layers."""
    observed = float(spearman(one, other))
    if np.isnan(observed):
        return float("nan")
    rng = np.random.default_rng([seed, 9])
    shuffled = np.tile(other, (permutations, 1))
    for layer in np.unique(layers):
        in_layer = np.flatnonzero(layers == layer)
        shuffled[:, in_layer] = rng.permuted(shuffled[:, in_layer], axis=1)
    drawn = spearman(one, shuffled)
    centre = float(drawn.mean())
    extreme = (np.abs(drawn - centre) >= abs(observed - centre) - 1e-12).sum()
    return float((1 + extreme) / (1 + permutations))


def explained(importance: pd.DataFrame, metric: str) -> pd.DataFrame:
    """How much of a layer's drop its attention and its single heads explain.

    Args:
        importance: a table of drops that holds `layer:N`, `attn:N` and `head:N.M` on the same
            examples.
        metric: the name of the metric.

    Returns:
        One row per task and layer: `layer_drop`, `attention_drop`, `largest_head_drop`,
        `sum_of_heads` and `share`. `sum_of_heads` adds up the single drops: it is below the
        attention's drop where heads make up for each other, and above it where they are needed
        together. `share` is the largest head's drop divided by the layer's drop (NaN where the
        layer's drop is not positive).
    """
    rows = []
    heads = _heads(importance, metric)
    chosen = importance[importance["metric"] == metric]
    parsed = [parsed_or_none(text) for text in chosen["ablation"]]
    for (task, layer), group in heads.groupby(["task", "layer"]):
        drops = {}
        for name, kind in (("layer_drop", SkipLayer), ("attention_drop", SkipAttention)):
            wanted = [isinstance(a, kind) and a.layer == layer for a in parsed]
            head_drops = chosen[np.array(wanted) & (chosen["task"] == task).to_numpy()]["drop"]
            drops[name] = float(head_drops.iloc[0]) if len(head_drops) == 1 else np.nan
        largest = float(group["drop"].max())
        share = largest / drops["layer_drop"] if drops["layer_drop"] > 0 else np.nan
        rows.append(
            {"task": task, "layer": layer, **drops, "largest_head_drop": largest}
            | {"sum_of_heads": float(group["drop"].sum()), "share": share}
        )
    return pd.DataFrame(rows)


def _heads(importance: pd.DataFrame, metric: str) -> pd.DataFrame:
    check_columns("importance", importance, ["task", "metric", "ablation"], ["drop"])
    chosen = importance[importance["metric"] == metric]
    parsed = [parsed_or_none(text) for text in chosen["ablation"]]
    single = np.array([isinstance(ablation, AblateHead) for ablation in parsed], dtype=bool)
    places = [
        (ablation.layer, ablation.head) for ablation in parsed if isinstance(ablation, AblateHead)
    ]
    return chosen[single].assign(
        layer=[layer for layer, _ in places], head=[head for _, head in places]
    )

"""Tables in words for the pages: baselines, and layers or heads with significant drops."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

BY_CLUSTER = " by cluster"
"""The end of the name of an interval whose units are clusters."""

NAMED = 5
"""The most layers or heads that a row names; the others are counted."""


def what_matters(scores: pd.DataFrame, importance: pd.DataFrame) -> pd.DataFrame:
    """For each model and task its baseline, and the ablations with significant drops.

    Args:
        scores: from `interp.stats.scores`, including baselines.
        importance: from `interp.stats.importance`, one family of ablations.

    Returns:
        Columns of words: Model, Skill, Protocol, Removed, Baseline (%), n, Matters: drop in points,
        Interval of the baseline, Test.
    """
    from interp.labels import benchmark_label, model_label, protocol_label, split_task
    from interp.results import choose_metric
    from interp.stats import nothing_found

    chosen = choose_metric(scores[scores["ablation"] == "baseline"])
    # if a task has several families, the first one
    whole = chosen.drop_duplicates(["model", "task"]).to_dict("records")
    baselines: dict[Any, dict[Any, Any]] = {(row["model"], row["task"]): row for row in whole}
    rows = []
    table = choose_metric(importance)
    for (model, task), group in table.groupby(["model", "task"], sort=False):
        base = baselines[model, task]
        matter = group[(group["p_adjusted"] < 0.05) & (group["drop"] > 0)]
        ordered = matter.sort_values("drop", ascending=False, kind="stable").to_dict("records")
        cells = [_cell(row) for row in ordered[:NAMED]]
        cells += [f"and {len(ordered) - NAMED} more"] if len(ordered) > NAMED else []
        benchmark, protocol = split_task(str(task))
        rows.append(
            {
                "Model": model_label(str(model)),
                "Skill": benchmark_label(benchmark),
                "Protocol": protocol_label(protocol),
                "Removed": removed(str(group["ablation"].iloc[0])),
                "Baseline (%)": interval(base["value"], base["low"], base["high"]),
                "n": int(base["n"]),
                "Matters: drop in points": "; ".join(cells) or nothing_found(group),
                "Interval of the baseline": base["interval"],
                "Test": " or ".join(dict.fromkeys(group["test"])),
            }
        )
    return pd.DataFrame(rows)


def removed(ablation: str) -> str:
    """What an ablation removes, in words; its text form if there are no words for it."""
    kind = ablation.partition(":")[0]
    words = {"layer": "one layer", "head": "one head", "attn": "one attention", "mlp": "one MLP"}
    return words.get(kind, kind)


def note(importance: pd.DataFrame, what: str) -> str:
    """The note under `what_matters`: intervals, test, correction.

    Args:
        importance: as for `what_matters`; of all rows, where several tables are joined.
        what: `layers` or `heads`.
    """
    from interp.results import choose_metric

    chosen = choose_metric(importance)
    return (
        f"n: examples per task. {what.capitalize()}: adjusted p < 0.05 (test of the row, "
        f"{chosen['correction'].iloc[0].title()} over the {what} of a task), largest drop first, "
        f"with its interval ({interval_words(chosen['interval'])}; the tables say which)."
        f"{_excess(chosen)}"
    )


def interval_words(names: Iterable[str]) -> str:
    """The kinds of intervals of a table, each once: `95% Tango score, by cluster where ...`.

    Args:
        names: the column `interval` of the table.
    """
    found = list(dict.fromkeys(names))
    plain = list(dict.fromkeys(name.removesuffix(BY_CLUSTER) for name in found))
    kinds = " or ".join([plain[0], *(name.removeprefix("95% ") for name in plain[1:])])
    clustered = sum(name.endswith(BY_CLUSTER) for name in found)
    where = "" if clustered == len(found) else " where rows have one"
    return f"{kinds}, by cluster{where}" if clustered else kinds


def _excess(chosen: pd.DataFrame) -> str:
    """How much the largest drop of a task is overestimated because it was chosen, by kind."""
    from interp.stats import NOTICEABLE

    parts, noticed = [], False
    # where no drop can be shown, none is chosen either
    chosen = chosen[chosen["testable"].astype(bool)]
    for kind, rows in chosen.groupby(chosen["ablation"].str.split(":").str[0], sort=False):
        excess = rows["expected_excess"].dropna()
        if excess.empty:
            continue
        low, high = (f"{value:.1f}" for value in (excess.min(), excess.max()))
        parts.append(f"{low if low == high else f'{low} to {high}'} points ({removed(str(kind))})")
        noticed |= bool(excess.max() >= NOTICEABLE)
    if not noticed:
        return ""
    return f" Chosen because largest, a drop is on average too large by {' or '.join(parts)}."


def missed(rows: pd.DataFrame) -> str:
    """What a family could not show, in words to follow `p < 0.05`; empty if that is not known.

    Args:
        rows: the drops of one family of ablations.
    """
    least = rows["least_detectable_drop"].dropna()
    if least.empty:
        return ""
    return f"; drops under {least.max():g} points would be missed in more than one of five sweeps"


def interval(value: float, low: float, high: float, digits: int = 0) -> str:
    """A number with its interval: `93 [90, 96]`, `93 [no interval]`."""
    # adding zero turns a rounded minus zero into zero
    texts = [f"{round(one, digits) + 0.0:.{digits}f}" for one in (value, low, high)]
    shown = [text.replace("-", "\N{MINUS SIGN}") for text in texts]
    if low != low or high != high:
        return f"{shown[0]} [no interval]"
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


AGREEMENT = (
    "Spearman's correlation of the drops over the ablations, and an estimate of the highest that "
    "noise allows on average (noise ceiling, split-half reliability; one observed correlation can "
    "be above it). Disattenuated: what it would be without noise, with its 95% bootstrap interval "
    "over examples. n: examples of each profile. Differ: p of the two true profiles, each divided "
    "by the sum of its drops, being the same; none where the drops of one do not add up to clearly "
    "more than 0. No drop exceeds its baseline, so that profiles which end there can differ by "
    "their baselines alone. Not testable: before anything is removed, one of the two is not "
    "shown to be above guessing, or too little is right for any drop to show. No correction."
)
CEILING = "Noise ceiling (estimate)"


def agreement(table: pd.DataFrame, drops: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rank correlations of profiles (`interp.stats.compare_profiles`), in words.

    Args:
        table: the table of `compare_profiles`.
        drops: the drops of the same sweeps (`interp.stats.importance`), which say which tasks are
            not testable.

    Returns:
        Columns of words: Profile, Other profile, Spearman, Noise ceiling (estimate), Disattenuated,
        Differ, Ablations, n.
    """
    from interp.labels import p_text

    rows = table.to_dict("records")
    untestable = _untestable(drops)
    hidden = [not untestable.isdisjoint((r["a"], r["b"])) for r in rows]
    words = pd.DataFrame(
        {
            "Profile": [_profile(name) for name in table["a"]],
            "Other profile": [_profile(name) for name in table["b"]],
            "Spearman": [_number(r["spearman"], "none: a profile is flat") for r in rows],
            CEILING: [_number(r["ceiling"], "none: noise") for r in rows],
            "Disattenuated": [
                interval(r["disattenuated"], r["low"], r["high"], 2)
                if r["low"] == r["low"]
                else "none"
                for r in rows
            ],
            "Differ": [p_text(r["p_differ"], r.get("least_p", 0.0)) for r in rows],
            "Ablations": table["n_ablations"],
            "n": [
                f"{r['n_a']}" if r["n_a"] == r["n_b"] else f"{r['n_a']} and {r['n_b']}"
                for r in rows
            ],
        }
    )  # fmt: skip
    words.loc[hidden, ["Spearman", CEILING, "Disattenuated", "Differ"]] = "not testable"
    return words


def _untestable(drops: pd.DataFrame | None) -> set[str]:
    """The names of the profiles that are not testable, with their metric.

    A task can be testable by one metric and not by another: in a sweep of generated answers almost
    no answer is cut off before anything is removed.
    """
    if drops is None:
        return set()
    found = drops[~drops["testable"].astype(bool)]
    parts = zip(found["model"], found["task"], found["metric"], strict=True)
    return {", ".join(map(str, one)) for one in parts}


def _series(name: str) -> tuple[str, str]:
    """Model and task of a profile by its name."""
    model, task, *_ = name.split(", ")
    return model, task


def _number(value: float, otherwise: str) -> str:
    """The number with two digits, or words if there is none."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}") if value == value else otherwise


def profiles(values: pd.DataFrame) -> list[dict[str, str]]:
    """The model, task and metric of every profile in a table of values, in its order."""
    distinct = values[["model", "task", "metric"]].drop_duplicates()
    return [{str(k): str(v) for k, v in row.items()} for row in distinct.to_dict("records")]


def series_words(model: str, task: str) -> str:
    """A model and a task as words for a sentence: `base, knowledge, option texts`."""
    from interp.labels import model_label, task_label, uncapitalised

    return f"{model_label(model)}, {uncapitalised(task_label(task))}"


def _profile(name: str) -> str:
    return series_words(*_series(name))


def _cell(row: dict[Any, Any]) -> str:
    kind, _, place = row["ablation"].partition(":")
    if kind == "head":
        layer, head = place.split(".")
        name = f"L{layer}H{head}"
    else:
        name = f"layer {place}"
    return f"{name}: {interval(row['drop'], row['low'], row['high'])}"

"""The findings on distillation in sentences, each with n, its interval, and its limits."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from experiments.summary import interval
from interp.labels import p_words

FLOOR = 25.0
"""The baseline, in points, below which a profile has little room to fall."""


def findings(tables: dict[str, pd.DataFrame], reasoning: Sequence[str]) -> list[str]:
    """The sentences of the experiment.

    Args:
        tables: from `experiments.distillation.measured`.
        reasoning: the tasks whose profiles are described in words.
    """
    from interp.labels import task_label

    found: list[str] = []
    for task in reasoning:
        chosen = {
            name: table[table["task"] == task] for name, table in tables.items() if "task" in table
        }
        sentences = [*_profiles(chosen), *_swaps(chosen)]
        found += [f"{task_label(task)}. {sentence}" for sentence in sentences]
    found += _beside(tables, reasoning)
    found += list(tables["ends"]["line"]) if "ends" in tables else []
    return found


def _profiles(chosen: dict[str, pd.DataFrame]) -> Iterator[str]:
    scores = chosen["scores"]
    own = scores[scores["ablation"] == "baseline"]
    yield (
        "Unablated: "
        + "; ".join(f"{_name(r['model'])} {_interval(r, 'value')}%" for r in _rows(own))
        + f" ({own['interval'].iloc[0]}, n = {own['n'].iloc[0]})."
    )
    for row in _rows(own[own["value"] < FLOOR]):
        yield (
            f"{_name(row['model'])} gets {row['value']:.0f}% right, so that no layer can cost it "
            "more: its profile, its centre and its differences from other models say little here."
        )
    for row in _rows(chosen.get("correlations", pd.DataFrame())):
        yield (
            f"Profiles of {_name(row['a'])} and {_name(row['b'])}: Spearman {row['spearman']:.2f} "
            f"over {row['n_ablations']} layers, noise ceiling {row['ceiling']:.2f}, disattenuated "
            f"{_interval(row, 'disattenuated', 2)} ({row['interval']}, n = {row['n']}); shapes "
            f"differ: {p_words(row['p_differ'], row.get('least_p', 0.0))}."
        )
    for row in _rows(chosen["centres"][chosen["centres"]["quantity"] == "centre"]):
        depth = (
            "" if row["value"] != row["value"] else f"relative depth {_interval(row, 'value', 2)} "
        )
        yield (
            f"Centre of mass of {_name(row['model'])}: {depth}({row['interval']}, n = {row['n']}; "
            f"weight: {row['weight']})."
        )
    for row in _rows(chosen["robustness"]):
        yield (
            f"Robustness of {_name(row['model'])} to the removal of {row['n_removed']} layers from "
            f"the deepest up: {_interval(row, 'robustness', 2)} of its score on average "
            f"({row['interval']}, n = {row['n']})."
        )


def _swaps(chosen: dict[str, pd.DataFrame]) -> Iterator[str]:
    swaps = chosen.get("swaps", pd.DataFrame())
    for recipient, rows in swaps.groupby("recipient", sort=False) if len(swaps) else ():
        donor, n = _name(rows["donor"].iloc[0]), rows["n"].iloc[0]
        own = _rows(rows[rows["n_swapped"] == 0])[0]
        for part, words in (("layer", "layer"), ("attention", "attention"), ("mlp", "MLP")):
            single = rows[(rows["curve"] == "single") & (rows["part"] == part)]
            single = single[single["n_swapped"] == 1]
            if single.empty:
                continue
            harmed = single[(single["p_adjusted"] < 0.05) & (single["drop"] > 0)]
            helped = single[(single["p_adjusted"] < 0.05) & (single["drop"] < 0)]
            largest = max(_rows(single), key=lambda row: abs(row["drop"]))
            drop = interval(largest["drop"], largest["drop_low_all"], largest["drop_high_all"])
            yield (
                f"{_name(recipient)} ({own['value']:.0f}%) with one {words} of {donor}: "
                f"{len(harmed)} of {len(single)} swaps harm, {len(helped)} help (p < 0.05, Holm "
                f"over the swaps of a form; n = {n}); the largest drop is {drop} points, of layer "
                f"{int(largest['first'])} (interval for all of these swaps together)."
            )
        whole = rows[(rows["part"] == "layer") & (rows["curve"] == "up")]
        end = max(_rows(whole), key=lambda row: row["n_swapped"])
        yield (
            f"{_name(recipient)} with all {end['n_swapped']} layers of {donor}: "
            f"{_interval(end, 'value')}% ({end['interval']}, n = {n}); the layers between "
            f"{_name(recipient)}'s own embedding, final norm and unembedding."
        )


def _beside(tables: dict[str, pd.DataFrame], reasoning: Sequence[str]) -> Iterator[str]:
    """How evenly the weights moved, and whether distance predicts effect."""
    if "layer-distances" not in tables:
        return
    layers = tables["layer-distances"]
    moved = layers.loc[layers["part"] == "layer", "frobenius"]
    yield (
        f"Every layer's weights moved by {100 * moved.min():.0f} to {100 * moved.max():.0f}% "
        "(relative Frobenius distance)."
    )
    table = tables["weights-and-swaps"]
    beside = table[table["task"].isin(reasoning) & (table["measure"] == "Frobenius distance")]
    for row in _rows(beside):
        yield (
            f"Distance and effect of a swap in {_name(row['model'])}: Spearman "
            f"{row['rho']:.2f}, {p_words(row['p'], row.get('least_p', 0.0))} "
            f"({row['test']}, {row['n_layers']} of them; not corrected; reliability of the drops "
            f"{row['reliability']:.2f}, n = {row['n']})."
        )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _name(model: object) -> str:
    from interp.labels import model_label

    return model_label(str(model))


def _interval(row: dict[str, Any], name: str, digits: int = 0) -> str:
    return interval(float(row[name]), float(row["low"]), float(row["high"]), digits)

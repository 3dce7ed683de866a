"""The findings on distillation in sentences, each with n, its interval, and its limits."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from experiments.summary import interval
from interp.labels import p_words

FLOOR = 25.0
"""The baseline, in points, below which a profile has little room to fall."""
APART = 5.0
"""The difference of two baselines, in points, from which on their drops are not compared alone."""


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
        sentences = [*_profiles(chosen), *_apart(chosen), *_swaps(chosen)]
        found += [f"{task_label(task)}. {sentence}" for sentence in sentences]
    found += _elsewhere(tables, reasoning)
    found += _beside(tables, reasoning)
    if "ends" in tables:
        found += [f"{line.replace('organism:', '')}." for line in tables["ends"]["line"]]
    return found


def _profiles(chosen: dict[str, pd.DataFrame]) -> Iterator[str]:
    own = _whole(chosen["scores"])
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
    if own["value"].max() - own["value"].min() >= APART:
        low, high = (_rows(own.sort_values("value"))[at] for at in (0, -1))
        yield (
            f"No drop exceeds its baseline: {_name(low['model'])} can lose {low['value']:.0f} "
            f"points and {_name(high['model'])} {high['value']:.0f}, so that their drops in points "
            "differ where both lose everything."
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


def _apart(chosen: dict[str, pd.DataFrame]) -> Iterator[str]:
    """How the profiles of two models differ: order, shape, shares, centre, robustness."""
    whole = {row["model"]: row["value"] for row in _rows(_whole(chosen["scores"]))}
    shares = chosen.get("share-differences", pd.DataFrame())
    shifts = chosen.get("shifts", pd.DataFrame())
    left = chosen.get("robustness-differences", pd.DataFrame())
    for row in _rows(chosen.get("correlations", pd.DataFrame())):
        a, b = row["a"], row["b"]
        names = f"{_name(a)} and {_name(b)}"
        # shares of the whole profile also differ if only the baselines at which drops end do
        ends = ""
        if abs(whole[a] - whole[b]) >= APART:
            ends = f", which their baselines, {whole[a]:.0f} and {whole[b]:.0f}%, can do alone"
        yield (
            f"Profiles of {names}: Spearman {_minus(row['spearman'])} over {row['n_ablations']} "
            f"layers, estimated noise ceiling {row['ceiling']:.2f}, disattenuated "
            f"{_interval(row, 'disattenuated', 2)} ({row['interval']}, n = {row['n']}); as parts "
            f"of their sum the drops differ{ends}: "
            f"{p_words(row['p_differ'], row.get('least_p', 0.0))}, not corrected."
        )
        own = _of_pair(shares, a, b)
        if len(own):
            yield _shares(own, names)
        for found, what in ((_centres(_of_pair(shifts, a, b)), "centre of mass, relative depth"),
                            (_of_pair(left, a, b), "robustness, share of the score")):  # fmt: skip
            for other in _rows(found):
                yield (
                    f"{_name(b)} minus {_name(a)}, {what}: {_interval(other, 'difference', 3)} "
                    f"({other['interval']}, n = {other['n']}, not corrected)."
                )


def _shares(own: pd.DataFrame, names: str) -> str:
    """The layers that cost two models other shares of their baselines."""
    shown = own[(own["low_all"] > 0) | (own["high_all"] < 0)]
    cells = [_share(row) for row in _rows(shown)]
    if not cells and own["difference"].notna().any():
        at = own["difference"].abs().argmax()
        cells = [f"none, largest estimate {_share(_rows(own)[int(at)])}"]
    return (
        f"Layers that are shown to cost {names} other shares of their scores: "
        f"{'; '.join(cells) or 'none'} ({len(own)} layers, 95% intervals of all of them together, "
        f"n = {own['n'].iloc[0]})."
    )


def _share(row: dict[str, Any]) -> str:
    """What one layer costs two models, and by how much these shares differ."""
    return (
        f"{row['ablation'].replace(':', ' ')} {row['share_a']:.0f} and {row['share_b']:.0f}% "
        f"(difference {interval(row['difference'], row['low_all'], row['high_all'])})"
    )


def _elsewhere(tables: dict[str, pd.DataFrame], reasoning: Sequence[str]) -> Iterator[str]:
    """The shares that layers cost two models in the skills that the other sentences leave out."""
    from interp.labels import task_label

    shares = tables.get("share-differences", pd.DataFrame())
    if shares.empty:
        return
    others = shares[~shares["task"].isin(reasoning)]
    for (task, a, b), own in others.groupby(["task", "a", "b"], sort=False):
        yield f"{task_label(str(task))}. {_shares(own, f'{_name(a)} and {_name(b)}')}"


def _of_pair(table: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    return table[(table["a"] == a) & (table["b"] == b)] if len(table) else table


def _centres(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["quantity"] == "centre"] if len(table) else table


def _whole(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["ablation"] == "baseline"]


def _swaps(chosen: dict[str, pd.DataFrame]) -> Iterator[str]:
    swaps = chosen.get("swaps", pd.DataFrame())
    for recipient, rows in swaps.groupby("recipient", sort=False) if len(swaps) else ():
        donor, n = _name(rows["donor"].iloc[0]), rows["n"].iloc[0]
        own = _rows(rows[rows["n_swapped"] == 0])[0]
        for part, words in (("layer", "layer"), ("attention", "attention"), ("mlp", "MLP")):
            single = rows[(rows["curve"] == "single") & (rows["part"] == part)]
            single = single[single["n_swapped"] == 1]
            if len(single):
                yield (
                    f"{_name(recipient)} ({own['value']:.0f}%) with one {words} of {donor}: "
                    f"{_single(single, own['value'])} (p < 0.05, Holm over the swaps of a form; "
                    f"n = {n}); {_largest(single)} (interval for all of these swaps together)."
                )
        whole = rows[(rows["part"] == "layer") & (rows["curve"] == "up")]
        end = max(_rows(whole), key=lambda row: row["n_swapped"])
        yield (
            f"{_name(recipient)} with all {end['n_swapped']} layers of {donor}: "
            f"{_interval(end, 'value')}% ({end['interval']}, n = {n}); the layers between "
            f"{_name(recipient)}'s own embedding, final norm and unembedding."
        )


def _single(single: pd.DataFrame, baseline: float) -> str:
    """How many swaps harm and help; nothing helps a model that is right in all examples."""
    sure = single[single["p_adjusted"] < 0.05]
    helped = f"{(sure['drop'] < 0).sum()} to help" if baseline < 100 else "none can help"
    return f"{(sure['drop'] > 0).sum()} of {len(single)} swaps are shown to harm, {helped}"


def _largest(single: pd.DataFrame) -> str:
    row = max(_rows(single), key=lambda row: abs(row["drop"]))
    drop, low, high = row["drop"], row["drop_low_all"], row["drop_high_all"]
    what, bounds = ("drop", (drop, low, high)) if drop >= 0 else ("gain", (-drop, -high, -low))
    return (
        f"the largest change is a {what} of {interval(*bounds)} points, of layer {row['first']:g}"
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
            f"{_minus(row['rho'])}, {p_words(row['p'], row.get('least_p', 0.0))} "
            f"({row['test']}, {row['n_layers']} of them; not corrected; reliability of the drops "
            f"{row['reliability']:.2f}, n = {row['n']})."
        )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _name(model: object) -> str:
    from interp.labels import model_label

    return model_label(str(model))


def _interval(row: dict[str, Any], name: str, digits: int = 0) -> str:
    return interval(float(row[name]), float(row["low"]), float(row["high"]), digits)

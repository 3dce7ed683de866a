"""Do two profiles (drop by layer, or by head) agree? Spearman's correlation with its interval."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.errors import UserError
from interp.stats.agreement import ceiling_of, crossed, disattenuated, reliability, shapes_differ
from interp.stats.failures import say_left_out
from interp.stats.intervals import bootstrap_means
from interp.stats.ranks import spearman
from interp.stats.samples import (
    BASELINE,
    SERIES,
    Sample,
    check_options,
    check_paired,
    check_values,
    sample_of,
    series,
)

Profile = dict[str, str]


def compare_profiles(
    values: pd.DataFrame,
    pairs: Sequence[tuple[Profile, Profile]] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank correlation of profiles of drops, with the uncertainty of the profiles themselves.

    A profile is the drop of every ablation for one model, task and metric. Its drops are measured
    on examples, and that noise makes any two profiles look less alike. So the examples are
    resampled (Efron & Tibshirani 1993); each resample gives two profiles and one correlation
    (Spearman 1904). Profiles of the same task share their resampled examples. The ablations are all
    that is asked about, and are not resampled.

    The observed correlation lies below that of the true profiles. So the table also has the highest
    correlation that could be observed (`ceiling`), the `disattenuated` correlation with its
    interval, and a test of whether the shapes of the two profiles differ beyond noise
    (`interp.stats.agreement`).

    Args:
        values: the long table that `interp.stats` describes.
        pairs: the profiles to compare, each named by some of `model`, `task` and `metric`; by
            default every pair of profiles in the table with the same metric.
        confidence: coverage of the interval.
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        Columns `a b spearman reliability_a reliability_b ceiling disattenuated low high p_differ
        least_p n_ablations n_a n_b interval test correction`; `a` and `b` name the profiles
        (`model, task, metric`). `low` and `high` are the bounds of the disattenuated correlation,
        NaN where a profile is nothing but noise. `p_differ` is NaN where the drops of a profile do
        not add up to clearly more than 0. It is never below `least_p`, which is one over one more
        than the number of sign patterns.

    Raises:
        UserError: a profile is not in the table, or two profiles have fewer than three ablations in
            common.
    """
    check_options(confidence, resamples, seed)
    known = drops_by_document(values)
    points = {
        (str(key["model"]), str(key["task"]), str(key["metric"])): in_points
        for key, in_points, *_ in series(values)
    }
    chosen = _all_pairs(known) if pairs is None else [_named(known, *pair) for pair in pairs]
    rows = []
    for a, b in chosen:
        one, other = known[a], known[b]
        shared = [name for name in one.columns if name in other.columns]
        if len(shared) < 3:
            raise UserError(
                f"profiles {_text(a)} and {_text(b)}: {len(shared)} ablations in common; at least "
                "3 have a rank correlation"
            )
        one, other = one[shared], other[shared]
        paired = a[1] == b[1] and one.index.equals(other.index)
        agreement = compared(
            one, other, paired=paired, points=points[a] and points[b],
            confidence=confidence, resamples=resamples, seed=seed,
        )  # fmt: skip
        rows.append(
            {"a": _text(a), "b": _text(b), **agreement, "least_p": 1 / (1 + resamples)}
            | {"n_ablations": len(shared)}
            | {"n_a": len(one), "n_b": len(other)}
            | {"interval": _interval_name(agreement, one, confidence)}
            | {"test": "swapped labels, shapes of the profiles", "correction": "none"}
        )
    return pd.DataFrame(rows)


def compared(
    one: pd.DataFrame,
    other: pd.DataFrame,
    *,
    paired: bool,
    points: bool,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """The numbers of `compare_profiles` for two tables of `drops_by_document`.

    Args:
        one: drops as documents x ablations.
        other: drops under the same ablations, as documents x ablations.
        paired: whether the documents are the same; they then share their resamples.
        points: whether the drops are of 0/1 outcomes.
        confidence: coverage of the interval.
        resamples: bootstrap resamples, and sign patterns of the test.
        seed: seed of both.

    Returns:
        `spearman reliability_a reliability_b ceiling disattenuated low high p_differ`.
    """
    samples = drops_sample(one), drops_sample(other)
    first = resampled_profile(one, resamples=resamples, seed=[seed, 2])
    second = resampled_profile(other, resamples=resamples, seed=[seed, 2 if paired else 3])
    means = (sample.table.mean(axis=0).round(12) for sample in samples)
    observed = float(spearman(*means))
    reliable = [reliability(sample, seed=seed + number) for number, sample in enumerate(samples)]
    ceiling = ceiling_of(*reliable)
    value = crossed(*samples, paired=paired, seed=seed)
    freed = disattenuated(value, ceiling, spearman(first, second), confidence=confidence)
    return {
        "spearman": observed,
        "reliability_a": reliable[0],
        "reliability_b": reliable[1],
        "ceiling": ceiling,
        "disattenuated": freed.value,
        "low": freed.low,
        "high": freed.high,
        "p_differ": shapes_differ(
            *samples, paired=paired, points=points, flips=resamples, seed=seed
        ),
    }


def _interval_name(agreement: dict[str, float], damage: pd.DataFrame, confidence: float) -> str:
    if np.isnan(agreement["spearman"]):
        return "none (a profile is flat)"
    if np.isnan(agreement["low"]):
        return "none (a profile is noise: its halves do not agree)"
    return f"{100 * confidence:g}% bootstrap over {unit_name(damage)}, disattenuated"


def drops_by_document(values: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Drops by document and ablation of every (model, task, metric).

    Args:
        values: the long table that `interp.stats` describes.

    Returns:
        For each of them a table of documents x ablations, baseline minus ablated. Where the
        documents have clusters, these are a second level of its index.

    Raises:
        UserError: the baseline is missing or the documents are not the same.
    """
    check_values(values)
    say_left_out(values)
    drops = {}
    for key, _, wide, clusters in series(values):
        check_paired(wide, key)
        damage = wide.drop(columns=BASELINE).rsub(wide[BASELINE], axis=0)
        if clusters is not None:
            damage = damage.set_index(clusters.loc[damage.index].rename("cluster"), append=True)
        drops[str(key["model"]), str(key["task"]), str(key["metric"])] = damage
    return drops


def resampled_profile(
    damage: pd.DataFrame, *, resamples: int, seed: int | list[int]
) -> Float[np.ndarray, "resamples ablations"]:
    """Mean drops of resampled documents, or of resampled clusters where there are some.

    Args:
        damage: a table of `drops_by_document`. Two tables with the same documents share their
            resamples if the seed is the same.
        resamples: the number of resamples.
        seed: seed of the resampling.

    Returns:
        `[resamples, ablations]` mean drops, rounded to 12 decimals so that equal drops tie.
    """
    # equal drops must tie in every resample, whatever rounding says
    return bootstrap_means(drops_sample(damage), resamples=resamples, seed=seed).round(12)


def unit_name(damage: pd.DataFrame) -> str:
    """What `resampled_profile` resamples, in words: examples or clusters.

    Args:
        damage: table of `drops_by_document`, documents x ablations.

    Returns:
        Words for a caption.
    """
    return "clusters of examples" if damage.index.nlevels > 1 else "examples"


def drops_sample(damage: pd.DataFrame) -> Sample:
    """The numbers of a table of `drops_by_document`, with the unit of every document.

    Args:
        damage: table of `drops_by_document`, documents x ablations.

    Returns:
        The sample. It is clustered where the table's index has clusters.
    """
    clusters = None
    if damage.index.nlevels > 1:
        clusters = pd.Series(damage.index.get_level_values("cluster"), index=damage.index)
    return sample_of(damage, clusters)


def _all_pairs(
    known: dict[tuple[str, str, str], pd.DataFrame],
) -> list[tuple[tuple[str, str, str], tuple[str, str, str]]]:
    names = list(known)
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if a[2] == b[2]]


def _named(
    known: dict[tuple[str, str, str], pd.DataFrame], one: Profile, other: Profile
) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    columns = []
    for profile in (one, other):
        matches = [
            key
            for key in known
            if all(dict(zip(SERIES, key, strict=True)).get(k) == v for k, v in profile.items())
        ]
        if len(matches) != 1:
            keys = "; ".join(_text(key) for key in list(known)[:5])
            raise UserError(f"profile {profile}: {len(matches)} match, of {keys}")
        columns.append(matches[0])
    return columns[0], columns[1]


def _text(key: tuple[str, str, str]) -> str:
    return ", ".join(key)

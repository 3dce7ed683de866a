"""Do two profiles (drop by layer, or by head) agree? Spearman's correlation with its interval."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.errors import UserError
from interp.stats.intervals import bootstrap_means, percentiles
from interp.stats.ranks import spearman
from interp.stats.samples import (
    BASELINE,
    SERIES,
    Sample,
    check_options,
    check_paired,
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
    on examples, and the noise of that makes any two profiles look less alike; so it is the examples
    that are resampled (Efron & Tibshirani 1993), and each resample gives two profiles and one
    correlation (Spearman 1904). Profiles of the same task share their resampled examples. The
    ablations are the whole of the question and are not resampled.

    The percentile interval is centred on the *noisy* correlation: with few examples and small
    drops both lie below the correlation of the true profiles.

    Args:
        values: The long table that `interp.stats` describes.
        pairs: Profiles to compare, each named by some of ``model``, ``task`` and ``metric``; by
            default every pair of profiles of the table that share a metric.
        confidence: Coverage of the interval.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        Columns ``a b spearman low high n_ablations n_a n_b interval correction``; ``a`` and ``b``
        name the profiles (``model, task, metric``).

    Raises:
        UserError: A profile is not there, or two have fewer than three ablations in common.
    """
    check_options(confidence, resamples)
    known = drops_by_document(values)
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
        first = resampled_profile(one, resamples=resamples, seed=[seed, 2])
        paired = a[1] == b[1] and one.index.equals(other.index)
        second = resampled_profile(other, resamples=resamples, seed=[seed, 2 if paired else 3])
        found = float(spearman(one.mean().to_numpy(), other.mean().to_numpy()))
        low, high = map(float, percentiles(spearman(first, second), confidence))
        rows.append(
            {"a": _text(a), "b": _text(b), "spearman": found, "low": low, "high": high}
            | {"n_ablations": len(shared), "n_a": len(one), "n_b": len(other)}
            | {"interval": f"{100 * confidence:g}% bootstrap over {unit_name(one)}"}
            | {"correction": "none"}
        )
    return pd.DataFrame(rows)


def drops_by_document(values: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Drops by document and ablation of every (model, task, metric).

    Args:
        values: The long table that `interp.stats` describes.

    Returns:
        Tables documents x ablations, baseline minus ablated; where the documents have clusters,
        these are a second level of the index.

    Raises:
        UserError: The baseline is missing or the documents are not the same.
    """
    found = {}
    for key, _, wide, clusters in series(values):
        check_paired(wide, key)
        damage = wide.drop(columns=BASELINE).rsub(wide[BASELINE], axis=0)
        if clusters is not None:
            damage = damage.set_index(clusters.loc[damage.index].rename("cluster"), append=True)
        found[str(key["model"]), str(key["task"]), str(key["metric"])] = damage
    return found


def resampled_profile(
    damage: pd.DataFrame, *, resamples: int, seed: int | list[int]
) -> Float[np.ndarray, "resamples ablations"]:
    """Mean drops of resampled documents, or of resampled clusters where there are some.

    Args:
        damage: From `drops_by_document`. Two tables of the same documents and one seed share
            their resamples.
        resamples: How many.
        seed: Of the resampling.
    """
    # equal drops must tie in every resample, whatever rounding says
    return bootstrap_means(_sample(damage), resamples=resamples, seed=seed).round(12)


def unit_name(damage: pd.DataFrame) -> str:
    """What `resampled_profile` draws: examples or clusters."""
    return "clusters of examples" if damage.index.nlevels > 1 else "examples"


def _sample(damage: pd.DataFrame) -> Sample:
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
    found = []
    for profile in (one, other):
        matches = [
            key
            for key in known
            if all(dict(zip(SERIES, key, strict=True)).get(k) == v for k, v in profile.items())
        ]
        if len(matches) != 1:
            held = "; ".join(_text(key) for key in list(known)[:5])
            raise UserError(f"profile {profile}: {len(matches)} match, of {held}")
        found.append(matches[0])
    return found[0], found[1]


def _text(key: tuple[str, str, str]) -> str:
    return ", ".join(key)

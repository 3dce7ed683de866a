"""Which examples each ablation loses, and whether ablations lose the same ones."""

import itertools

import numpy as np
import pandas as pd
from jaxtyping import Bool

from interp.errors import UserError, check_share
from interp.stats import (
    adjust,
    check_values,
    drops_by_document,
    drops_sample,
    fieller,
    fisher_exact_p,
    mcnemar,
    mean_test,
    means_of,
    sample_by,
    sign_flip,
    wilson,
)

FLIPS = 2000

ALPHA = 0.05
"""The level at which an ablation counts as harmful, after Holm's correction over all ablations."""


def lost_examples(values: pd.DataFrame) -> pd.DataFrame:
    """The examples that the baseline gets right and an ablation does not.

    Args:
        values: the long table of `interp.stats`, of 0/1 outcomes.

    Returns:
        Columns `model task metric ablation doc_id`, one row per lost example.

    Raises:
        UserError: an outcome is neither 0 nor 1.
    """
    _check(values)
    tables = []
    for (model, task, metric), damage in drops_by_document(values).items():
        rows = _plain(damage).reset_index().melt("doc_id", var_name="ablation", value_name="drop")
        tables.append(rows[rows["drop"] == 1].assign(model=model, task=task, metric=metric))
    columns = ["model", "task", "metric", "ablation", "doc_id"]
    return (
        pd.concat(tables, ignore_index=True)[columns]
        if tables
        else pd.DataFrame([], columns=columns)
    )


def lost_together(values: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Do two ablations lose the same examples? Pairs of ablations that harm significantly.

    Only examples that the baseline gets right can be lost. Of these, `phi` is the correlation of
    "lost by one" and "lost by the other" (Pearson's phi): 0 where two ablations lose examples
    independently, 1 where they lose the same ones, below 0 where each loses what the other keeps.
    Two parts of one mechanism lose the same examples; two layers that hold different facts do not.
    Wilson's interval of `shared` covers 93.4 to 95.4%, and 92.0% where each ablation loses six of
    60 examples. With clusters, Fieller's covers 94.0 and 94.2% (20 and 40 clusters), and the test
    rejects in 3.8 and 4.8% of cases where the two are independent.

    Args:
        values: the long table of `interp.stats`, of 0/1 outcomes.
        confidence: coverage of the interval of `shared`.

    Returns:
        Columns `model task metric a b lost_a lost_b both expected shared low high phi p p_adjusted
        n interval test correction`. `both` is the number of examples that both lose, `expected` the
        number that two independent ablations would both lose. `shared` is the percentage of the
        smaller set that the other loses as well, with Wilson's interval. `p` is that of Fisher's
        exact test (1935) of independence, corrected over the pairs of a task (Holm). Where examples
        come in clusters, the interval is Fieller's of the ratio and the test is one of a covariance
        of 0, both over clusters. Ablations that lose all or no examples have no `phi`. The table is
        empty where fewer than two ablations harm.

    Raises:
        UserError: an outcome is neither 0 nor 1.
    """
    check_share("confidence", confidence)
    _check(values)
    tables = []
    for (model, task, metric), damage in drops_by_document(values).items():
        plain = _plain(damage)
        right = values[(values["model"] == model) & (values["task"] == task)]
        right = right[(right["metric"] == metric) & (right["ablation"] == "baseline")]
        known = right.loc[right["value"] == 1, "doc_id"]
        harmed = (plain == 1).sum().to_numpy(float)
        helped = (plain == -1).sum().to_numpy(float)
        sample = drops_sample(damage)
        p = (
            sign_flip(sample.sums(), resamples=FLIPS, seed=0)
            if sample.clustered
            else mcnemar(harmed, helped)
        )
        sure = (adjust(p) < ALPHA) & (harmed > helped)
        lost = plain.loc[known, sure] == 1
        units = _units(damage, lost.index)
        rows: list[dict[str, object]] = [
            {"model": model, "task": task, "metric": metric, "a": a, "b": b}
            | shared_losses(lost[a].to_numpy(), lost[b].to_numpy(), units, confidence)
            for a, b in itertools.combinations(lost.columns, 2)
        ]
        table = pd.DataFrame(rows)
        if len(table):
            adjusted = adjust(table["p"].to_numpy(float))
            tables.append(table.assign(p_adjusted=adjusted, correction="holm")[COLUMNS])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


COLUMNS = ["model", "task", "metric", "a", "b", "lost_a", "lost_b", "both", "expected", "shared",
           "low", "high", "phi", "p", "p_adjusted", "n", "interval", "test",
           "correction"]  # fmt: skip


def shared_losses(
    one: Bool[np.ndarray, " examples"],
    other: Bool[np.ndarray, " examples"],
    units: list[str] | None,
    confidence: float,
) -> dict[str, object]:
    """How much two sets of lost examples share, over examples or their clusters."""
    n, n_both = len(one), int((one & other).sum())
    n_one, n_other = int(one.sum()), int(other.sum())
    smaller = min(n_one, n_other)
    spread = np.sqrt(float(n_one * n_other * (n - n_one) * (n - n_other)))
    if units is None:
        (low,), (high,) = wilson(np.array([float(n_both)]), smaller, confidence=confidence)
        p = fisher_exact_p(n_both, n_one, n_other, n)
        names = {"interval": f"{100 * confidence:g}% Wilson", "test": "Fisher's exact test"}
    else:
        pair = np.stack([one & other, one if n_one <= n_other else other], axis=1).astype(float)
        means = means_of(sample_by(pair, units), points=False)
        share = fieller(
            np.array([1.0, 0.0]), np.array([0.0, 1.0]), means, means.critical(confidence)
        )
        low, high = np.clip([share.low, share.high], 0, 1)
        product = (one - one.mean()) * (other - other.mean())
        p = float(mean_test(sample_by(product[:, None], units))[0])
        names = {
            "interval": f"{100 * confidence:g}% Fieller by cluster",
            "test": "covariance by cluster",
        }
    return {
        "lost_a": n_one, "lost_b": n_other, "both": n_both, "expected": n_one * n_other / n,
        "shared": 100 * n_both / smaller, "low": 100 * low, "high": 100 * high,
        "phi": (n * n_both - n_one * n_other) / spread if spread else np.nan, "p": p, "n": n,
        **names,
    }  # fmt: skip


def _units(damage: pd.DataFrame, doc_ids: pd.Index) -> list[str] | None:
    """The cluster of each example; None where there are none."""
    if damage.index.nlevels == 1:
        return None
    clusters = pd.Series(damage.index.get_level_values("cluster"), damage.index.get_level_values(0))
    return [str(name) for name in clusters.loc[doc_ids]]


def _plain(damage: pd.DataFrame) -> pd.DataFrame:
    """Drops by example, without the index level of clusters."""
    return damage.droplevel("cluster") if damage.index.nlevels > 1 else damage


def _check(values: pd.DataFrame) -> None:
    check_values(values)
    # NaN is a failure, not an outcome
    other = ~values["value"].isin([0, 1]) & values["value"].notna()
    if other.any():
        metric = values.loc[other, "metric"].iloc[0]
        raise UserError(f"metric {metric}: lost examples are those of 0/1 metrics; choose another")

"""The noise floor of half precision: what rounding alone can do to a drop."""

import numpy as np
import pandas as pd
import pytest

from interp import stats
from interp.stats import rounding_floor, with_rounding


@pytest.mark.parametrize(
    ("compared", "n", "share"),
    [(20, 20, 0.004), (50, 50, 0.03), (256, 256, 0.25), (256, 2000, 0.008)],
)
def test_drops_by_rounding_alone_are_within_the_floor(compared, n, share):
    draws = np.random.default_rng(0)
    changed, flipped = (draws.binomial(size, share, 4000) for size in (compared, n))
    drops = np.abs(2 * draws.binomial(flipped, 0.5) - flipped) / n
    floors = {int(c): rounding_floor(compared, int(c), 1.0, n) for c in set(changed)}
    within = np.mean(
        [drop <= floors[int(c)] + 1e-12 for drop, c in zip(drops, changed, strict=True)]
    )
    assert within >= 0.94


def test_the_floor_shrinks_with_the_examples_and_grows_with_the_size_of_a_change():
    assert rounding_floor(256, 4, 1.0, 400) == pytest.approx(rounding_floor(256, 4, 1.0, 100) / 2)
    assert rounding_floor(256, 256, 0.04, 100) == pytest.approx(1.96 * 0.2 / 10, rel=1e-3)


def values(right: int, n: int = 50) -> pd.DataFrame:
    rows = [
        ("m", "t", "acc", text, i, float(i < right - lost))
        for text, lost in (("baseline", 0), ("layer:0", 1))
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["model", "task", "metric", "ablation", "doc_id", "value"])


def measured(changed: int) -> pd.DataFrame:
    return pd.DataFrame(
        [["t", "acc", 50, changed, 1.0]],
        columns=["task", "metric", "compared", "changed", "mean_square"],
    )


def test_importance_counts_rounding():
    plain = stats.importance(values(40))
    least = plain["least_detectable_drop"].iloc[0]
    assert with_rounding(plain, measured(0)[:0]) is plain
    few, many = (with_rounding(plain, measured(changed)).iloc[0] for changed in (0, 40))
    assert few["rounding"] == pytest.approx(100 * rounding_floor(50, 0, 1.0, 50))
    assert few["least_detectable_drop"] == max(least, few["rounding"])
    assert many["least_detectable_drop"] == many["rounding"] > least
    assert many["testable"]
    unlike = with_rounding(stats.importance(values(12)), measured(40)).iloc[0]
    assert not unlike["testable"]
    assert unlike["testability"].startswith("not testable: rounding alone")
    # another task's, and another metric's, are not touched
    other = with_rounding(plain, measured(40).assign(task="u"))
    assert other["rounding"].isna().all()
    assert other["least_detectable_drop"].tolist() == plain["least_detectable_drop"].tolist()

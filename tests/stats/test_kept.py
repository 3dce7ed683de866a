"""The share of what can be lost that is kept along a curve, against sums by hand."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import UserError
from interp.stats import removal_curve, share_kept, share_kept_difference

STEPS = ("layer:1", "layer:1+layer:2")


def values(whole, *steps, documents=None, cluster=None):
    """The long table of some 0/1 outcomes, a column an ablation."""
    documents = range(len(whole)) if documents is None else documents
    rows = [
        {"model": "m", "task": "t", "metric": "acc", "ablation": name, "doc_id": i, "value": value}
        for name, column in zip(("baseline", *STEPS), (whole, *steps), strict=True)
        for i, value in zip(documents, column, strict=True)
    ]
    table = pd.DataFrame(rows)
    return table if cluster is None else table.assign(cluster=table["doc_id"] % cluster)


def draws(seed, n=60, shares=(0.9, 0.7, 0.4)):
    rng = np.random.default_rng(seed)
    return [(rng.random(n) < share).astype(float) for share in shares]


@pytest.mark.parametrize("floor", [0.0, 25.0])
def test_it_is_the_mean_over_the_steps_of_what_is_left_above_the_floor(floor):
    whole, one, two = draws(0)
    kept = share_kept(removal_curve(values(whole, one, two), STEPS, floor=floor))
    left = (100 * np.array([one.mean(), two.mean()]) - floor) / (100 * whole.mean() - floor)
    assert kept.value == pytest.approx(left.mean())
    assert kept.low < kept.value < kept.high


def test_a_baseline_at_its_floor_has_no_share():
    whole, one, two = draws(1, shares=(0.27, 0.25, 0.25))
    assert np.isnan(share_kept(removal_curve(values(whole, one, two), STEPS, floor=25.0)).value)
    good = removal_curve(values(*draws(2)), STEPS)
    poor = removal_curve(values(whole, one, two), STEPS, floor=25.0)
    assert np.isnan(share_kept_difference(good, poor, paired=True).value)


def test_a_difference_is_that_of_the_shares_and_pairing_narrows_it():
    whole, one, two = draws(3, n=200)
    better = np.maximum(two, one)
    first = removal_curve(values(whole, one, two), STEPS)
    second = removal_curve(values(whole, one, better), STEPS)
    paired = share_kept_difference(first, second, paired=True)
    apart = share_kept_difference(first, second, paired=False)
    assert paired.value == pytest.approx(share_kept(second).value - share_kept(first).value)
    assert paired.value == pytest.approx(apart.value)
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)
    back = share_kept_difference(second, first, paired=True)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-paired.value, -paired.high, -paired.low)
    )


def test_few_clusters_are_less_than_many_examples():
    table = values(*draws(4, n=200))
    alone = share_kept(removal_curve(table, STEPS))
    four = share_kept(removal_curve(table.assign(cluster=table["doc_id"] // 50), STEPS))
    assert four.value == pytest.approx(alone.value)
    assert four.high - four.low != pytest.approx(alone.high - alone.low)


def test_what_cannot_be_compared_is_refused():
    table = values(*draws(5))
    with pytest.raises(UserError, match="steps: there are none"):
        removal_curve(table, ())
    with pytest.raises(UserError, match="layer:9: it is not in the table"):
        removal_curve(table, ("layer:9",))
    with pytest.raises(UserError, match="2 models, tasks and metrics"):
        removal_curve(pd.concat([table, table.assign(task="other")]), STEPS)
    failed = table.copy()
    failed.loc[(failed["ablation"] == STEPS[1]) & (failed["doc_id"] == 3), "value"] = np.nan
    with pytest.raises(UserError, match="it failed on an example"):
        removal_curve(failed, STEPS)
    other = values(*draws(6), documents=range(100, 160))
    with pytest.raises(UserError, match="their examples differ"):
        share_kept_difference(removal_curve(table, STEPS), removal_curve(other, STEPS), paired=True)

"""Scores and drops over several prompts: components of variance, intervals, and their coverage."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import UserError
from interp.stats import fit_two_way, variance_components


def long(drops, *, baseline=1.0, clusters=None):
    """The table of values behind drops, `[examples, variants]`."""
    rows = []
    for i, row in enumerate(drops):
        for j, drop in enumerate(row):
            for ablation, value in (("baseline", baseline), ("layer:0", baseline - drop)):
                rows.append(
                    {"model": "m", "task": "t", "metric": "loss", "ablation": ablation,
                     "doc_id": i, "value": value + 0.5, "variant": f"way-{j}"}
                    | ({} if clusters is None else {"cluster": clusters[i]})
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_components_are_found_again():
    rng = np.random.default_rng(0)
    examples, prompts = rng.normal(0, 2, 400)[:, None], rng.normal(0, 1, 40)[None]
    drops = 3 + examples + prompts + rng.normal(0, 0.5, (400, 40))
    row = variance_components(long(drops)).set_index("ablation").loc["layer:0"]
    assert row["sd_examples"] == pytest.approx(2, abs=0.15)
    assert row["sd_variants"] == pytest.approx(1, abs=0.25)
    assert row["sd_rest"] == pytest.approx(0.5, abs=0.02)
    assert row["value"] == pytest.approx(drops.mean())
    assert row["low"] < row["low_examples"] < row["high_examples"] < row["high"]
    assert row["p"] < 1e-6


@pytest.mark.parametrize("spread", [0.0, 0.08])
def test_the_interval_covers_other_prompts_and_that_of_examples_does_not(spread):
    rng = np.random.default_rng(3)
    truth = 0.3 + spread * rng.standard_normal((1000, 1, 4))
    luck = np.where(
        rng.random((1000, 100, 4)) < 0.7, rng.random((1000, 100, 1)), rng.random((1000, 100, 4))
    )
    fit = fit_two_way((luck < truth).astype(float), points=True)
    covered = ((fit.low <= 0.3) & (fit.high >= 0.3)).mean()
    fixed = ((fit.low_examples <= 0.3) & (fit.high_examples >= 0.3)).mean()
    assert covered >= 0.93
    if spread:
        assert fixed < 0.85
        assert (fit.p < 0.05).mean() > 0.5
    else:
        assert fixed >= 0.93
        assert (fit.p < 0.05).mean() <= 0.07


def test_clusters_stand_for_their_examples():
    rng = np.random.default_rng(1)
    of_cluster = np.repeat(rng.normal(0, 1, (20, 1)), 10, axis=0)
    drops = of_cluster + rng.normal(0, 0.1, (200, 3))
    clusters = [f"c{i // 10}" for i in range(200)]
    alone, together = (
        variance_components(long(drops, clusters=one)).set_index("ablation").loc["layer:0"]
        for one in (None, clusters)
    )
    assert together["value"] == pytest.approx(alone["value"])
    wide = (row["high_examples"] - row["low_examples"] for row in (together, alone))
    assert next(wide) > 2.5 * next(wide)
    assert together["clusters"] == 20


def test_nothing_that_varies_is_still_not_known_exactly():
    values = long(np.zeros((50, 3))).assign(value=1.0)
    row = variance_components(values).set_index("ablation").loc["layer:0"]
    assert row["value"] == 0
    assert row["low"] < 0 < row["high"]
    assert np.isnan(row["p"])


def test_failures_and_other_examples():
    values = long(np.random.default_rng(2).normal(size=(20, 3)))
    bad = values.copy()
    bad.loc[(bad["ablation"] == "layer:0") & (bad["doc_id"] == 3), "value"] = np.nan
    table = variance_components(bad).set_index("ablation")
    assert np.isnan(table.loc["layer:0", "value"])
    assert table.loc["baseline", "n"] == 20
    unread = values.copy()
    unread.loc[(unread["variant"] == "way-1") & (unread["doc_id"] == 3), "value"] = np.nan
    assert variance_components(unread)["n"].unique().tolist() == [19]
    with pytest.raises(UserError, match="way-1: it was asked other examples"):
        variance_components(values[(values["variant"] != "way-1") | (values["doc_id"] != 3)])
    with pytest.raises(UserError, match="at least two are needed"):
        variance_components(values[values["variant"] == "way-1"])

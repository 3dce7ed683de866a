"""Design effects: of planted clusters, of none, and the test of whether there are any."""

import numpy as np
import pandas as pd
import pytest

from interp import stats
from interp.errors import UserError


def drawn(rng: np.random.Generator, spread: float, *, wordings: int = 8, each: int = 25):
    """0/1 harm of two ablations; that of the first differs by wording."""
    field = np.repeat(np.arange(wordings), each)
    share = np.stack([0.5 + spread * np.resize([-1, 1], wordings), np.full(wordings, 0.5)])
    table = (rng.random((len(field), 2)) < share[:, field].T).astype(float)
    damage = pd.DataFrame(table, columns=["layer:0", "layer:1"])
    return damage, pd.Series([f"w{n}" for n in field], name="wording")


def test_the_design_effect_is_one_and_the_correlation_times_the_others() -> None:
    """Kish: 1 + (m - 1) rho for clusters of m."""
    rng = np.random.default_rng(0)
    damage, field = drawn(rng, 0.3, wordings=200)
    table = stats.design_effects(damage, field, permutations=99).set_index("ablation")
    rho = 0.3**2 / 0.25
    assert table.loc["layer:0", "design_effect"] == pytest.approx(1 + 24 * rho, rel=0.1)
    assert table.loc["layer:1", "design_effect"] == pytest.approx(1, abs=0.3)
    assert table.loc["layer:0", "p"] == table.loc["layer:0", "least_p"] == 0.01
    assert table.loc["layer:1", ["n_values", "n"]].tolist() == [200, 5000]


def test_without_an_effect_the_test_keeps_its_level() -> None:
    p = [
        stats.design_effects(*drawn(np.random.default_rng(seed), 0.0), permutations=99)["p"]
        for seed in range(50)
    ]
    assert np.mean(np.ravel(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


def test_resampled_clusters_are_wider_by_the_root_of_the_design_effect() -> None:
    damage, field = drawn(np.random.default_rng(3), 0.3, wordings=60)
    units = pd.factorize(field)[0]
    table = damage[["layer:0"]].to_numpy()
    errors = [
        stats.bootstrap_means(sample, resamples=2000, seed=0).std()
        for sample in (
            stats.Sample(table, units, clustered=True),
            stats.Sample(table, np.arange(len(table)), clustered=False),
        )
    ]
    effect = stats.design_effect(stats.Sample(table, units, clustered=True))[0]
    assert errors[0] / errors[1] == pytest.approx(np.sqrt(effect), rel=0.05)


def test_fields_that_group_nothing_are_refused() -> None:
    damage, field = drawn(np.random.default_rng(0), 0.0)
    for bad in (field.map(lambda _: "same"), pd.Series(field.index.astype(str), name="wording")):
        with pytest.raises(UserError, match="allowed are 2 and more, and fewer than rows"):
            stats.design_effects(damage, bad)

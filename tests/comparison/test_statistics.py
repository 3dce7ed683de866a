"""Differences of drops, centres, robustness: against brute force, and by simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from interp.comparison import correlations, differences, orders_of, robustness
from interp.comparison.depth import centre_and_spread, centres, shifts
from interp.comparison.profiles import kind_and_layer
from interp.comparison.removal_robustness import mean_height, removal_curves, robustness_differences
from interp.errors import UserError
from interp.stats import scores
from tests.helpers.outcomes import draw, long
from tests.helpers.thinning import sized

quick = settings(max_examples=8, deadline=None, derandomize=True)


def two(one: np.ndarray, other: np.ndarray) -> pd.DataFrame:
    return pd.concat([long(one, model="a"), long(other, model="b")], ignore_index=True)


def by_hand(values: pd.DataFrame, model: str, ablation: str) -> np.ndarray:
    rows = values[values["model"] == model].set_index(["doc_id", "ablation"])["value"].unstack()  # noqa: PD010
    return (rows["baseline"] - rows[ablation]).to_numpy()


# --- differences --------------------------------------------------------------------------------


@pytest.mark.slow
@quick
@given(st.integers(0, 10_000))
def test_a_difference_is_the_difference_of_the_drops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = two(*(rng.integers(2, size=(40, 4)).astype(float) for _ in "ab"))
    # the models stay in their order, which is that of a and b
    shuffled = values.sample(frac=1, random_state=seed).sort_values("model", kind="stable")
    found = differences(shuffled, resamples=200)
    assert found.equals(differences(values, resamples=200))
    for row in found.to_dict("records"):
        each = by_hand(values, "a", row["ablation"]) - by_hand(values, "b", row["ablation"])
        assert row["difference"] == pytest.approx(100 * each.mean())
        assert row["difference"] == pytest.approx(row["drop_a"] - row["drop_b"])
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["n"] == 40
    assert (found["p_adjusted"] >= found["p"]).all()
    assert set(found["correction"]) == {"holm"}


def test_the_test_is_the_exact_sign_flip_where_examples_are_few() -> None:
    rng = np.random.default_rng(1)
    values = two(*(rng.integers(2, size=(9, 2)).astype(float) for _ in "ab"))
    each = by_hand(values, "a", "layer:0") - by_hand(values, "b", "layer:0")
    flips = np.array(list(itertools.product([-1, 1], repeat=9)))
    extreme = (np.abs(flips @ each) >= abs(each.sum()) - 1e-9).mean()
    assert differences(values, resamples=600)["p"].item() == pytest.approx(extreme)


@pytest.mark.slow
@pytest.mark.parametrize("n", [80])
@pytest.mark.parametrize("harm", [(0.02, 0.0), (0.02, 0.02), (0.4, 0.05)])
def test_intervals_cover_the_truth(n: int, harm: tuple[float, float]) -> None:
    covered, sweeps = [], sized(thinned=60, whole=100)
    for seed in range(sweeps):
        pairs = [
            draw(n, baseline=0.9, harmed=h, helped=0.0, seed=2 * seed + i)
            for i, h in enumerate(harm)
        ]
        row = differences(two(*pairs), resamples=200, seed=seed).iloc[0]
        covered.append(row["low"] <= 100 * (harm[0] - harm[1]) <= row["high"])
    # three standard errors below 93%
    assert np.mean(covered) >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / sweeps)


@pytest.mark.slow
def test_no_difference_is_found_where_there_is_none() -> None:
    found = [
        differences(
            two(*(draw(100, baseline=0.8, harmed=0.2, helped=0.1, seed=9 * s + i) for i in (0, 1))),
            resamples=200,
        )["p"].item()
        for s in range(100)
    ]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


def test_clusters_are_flipped_and_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    one = np.repeat(rng.integers(2, size=(12, 2)), 10, axis=0).astype(float)
    other = np.repeat(rng.integers(2, size=(12, 2)), 10, axis=0).astype(float)
    values = two(one, other)
    apart = differences(values, resamples=300).iloc[0]
    together = differences(values.assign(cluster=values["doc_id"] // 10), resamples=300).iloc[0]
    assert together["p"] > apart["p"]
    assert together["high"] - together["low"] > 2 * (apart["high"] - apart["low"])
    assert together["test"] == "exact sign flips by cluster"


def test_other_examples_and_single_models_are_refused() -> None:
    table = draw(20, baseline=0.8, harmed=0.2, helped=0.1, seed=0)
    with pytest.raises(UserError, match="at least two are compared"):
        differences(long(table))
    shifted = two(table, table)
    shifted.loc[shifted["model"] == "b", "doc_id"] += 1
    with pytest.raises(UserError, match="saw different examples"):
        differences(shifted)


# --- centres ------------------------------------------------------------------------------------


@quick
@given(st.lists(st.floats(0, 1), min_size=3, max_size=12).filter(lambda w: sum(w) > 0.01))
def test_centre_and_spread_are_the_weighted_moments(weights: list[float]) -> None:
    depth = np.linspace(0, 1, len(weights))
    centre, spread = centre_and_spread(np.array([weights]), depth)
    mean = np.average(depth, weights=weights)
    assert centre[0] == pytest.approx(mean)
    assert spread[0] == pytest.approx(np.sqrt(np.average((depth - mean) ** 2, weights=weights)))


def planted(n: int, harm: dict[int, float], *, layers: int = 5, seed: int = 0) -> np.ndarray:
    """A model that is always right, and whose layers each break a share of the examples."""
    rng = np.random.default_rng(seed)
    right = np.ones((n, 1 + layers))
    for layer, share in harm.items():
        right[:, 1 + layer] = rng.random(n) >= share
    return right


def test_the_centre_lies_where_the_damage_is_and_moves_with_it() -> None:
    values = two(planted(300, {0: 0.5, 1: 0.5}), planted(300, {3: 0.5, 4: 0.5}, seed=1))
    counts = {"a": 5, "b": 5}
    table = centres(values, counts).set_index(["model", "quantity"])
    assert table.loc[("a", "centre"), "low"] < 0.125 < table.loc[("a", "centre"), "high"]
    assert table.loc[("b", "centre"), "low"] < 0.875 < table.loc[("b", "centre"), "high"]
    assert (table["weight"] == "drop, with its sign").all()
    moved = shifts(values, counts).set_index("quantity").loc["centre"]
    assert moved["low"] < 0.75 < moved["high"]
    assert moved["low"] > 0.6
    same = shifts(two(*2 * [planted(300, {1: 0.5})]), counts)
    assert (same["difference"] == 0).all()
    assert (same["low"] <= 0).all()
    assert (same["high"] >= 0).all()


def test_negative_drops_count_with_their_sign_and_heads_add_up() -> None:
    helped = np.ones((10, 4))
    helped[:3, 0], helped[:, 2] = 0, 0  # layer 1 breaks 7 of 10, layers 0 and 2 mend three
    helped[:, 3] = helped[:, 0]
    found = centres(long(helped, model="a"), {"a": 3}).set_index("quantity")
    assert found.loc["centre", "clipped"] == 0.5
    assert found.loc["spread", "clipped"] == 0
    drops = by_hand(long(helped, model="a"), "a", "layer:0").mean(), 0.7, 0.0
    assert drops[0] == pytest.approx(-0.3)
    assert np.isnan(found.loc["centre", "value"]), "0.4 is not clearly above 0 of ten examples"
    heads = long(planted(200, {0: 0.2, 1: 0.2, 2: 0.8, 3: 0}, layers=4), model="a")
    names = dict(zip([f"layer:{i}" for i in range(4)],
                     ["head:0.0", "head:0.1", "head:1.0", "head:2.0"], strict=True))  # fmt: skip
    heads["ablation"] = heads["ablation"].replace(names)
    row = centres(heads, {"a": 3}).set_index("quantity").loc["centre"]
    assert row["kind"] == "head"
    assert row["value"] == pytest.approx(0.5 * 0.8 / 1.2, abs=0.06)
    assert kind_and_layer("head:3.1@mean") == ("head@mean", 3)
    assert kind_and_layer("layer:1+layer:2") is None


def test_relative_depth_lets_models_of_different_depth_be_compared() -> None:
    values = two(planted(200, {4: 0.5}), planted(200, {8: 0.5}, layers=9))
    table = centres(values, {"a": 5, "b": 9})
    assert (table.loc[table["quantity"] == "centre", "value"] == 1).all()


# --- robustness ---------------------------------------------------------------------------------


def cumulative(table: np.ndarray, *, model: str = "a") -> pd.DataFrame:
    frame, n = long(table, model=model), table.shape[1] - 1
    names = {f"layer:{i}": "+".join(f"layer:{n - 1 - j}" for j in range(i + 1)) for i in range(n)}
    return frame.assign(ablation=frame["ablation"].replace(names))


def test_robustness_is_the_area_over_the_whole_models_score() -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((100, 6)) < np.array([0.9, 0.8, 0.6, 0.5, 0.2, 0.1])).astype(float)
    (row,) = robustness(cumulative(table), {"a": 5}, resamples=200).to_dict("records")
    curve = table.mean(axis=0)
    area = np.trapezoid(curve, np.linspace(0, 1, 6))
    assert row["area"] == pytest.approx(100 * area)
    assert row["robustness"] == pytest.approx(area / curve[0])
    assert row["low"] < row["robustness"] < row["high"]
    assert (row["n_removed"], row["order"]) == (5, "4 3 2 1 0")
    assert mean_height(curve[None])[0] == pytest.approx(area)
    along = removal_curves(scores(cumulative(table)))
    assert along["n_removed"].tolist() == list(range(6))
    assert along["value"].tolist() == pytest.approx((100 * curve).tolist())


def test_a_curve_of_doubled_or_headless_scores_is_refused() -> None:
    table = scores(cumulative(np.ones((5, 4))))
    with pytest.raises(UserError, match="baseline is there twice"):
        removal_curves(pd.concat([table, table]))
    headless = table[table["ablation"] != "baseline"].assign(task="other")
    with pytest.raises(UserError, match=r"other, .*: there is none of the whole model"):
        removal_curves(pd.concat([table, headless]))


def test_robustness_differs_only_where_the_models_do() -> None:
    one, other = np.ones((50, 4)), np.ones((50, 4))
    other[:, 2:] = 0
    values = pd.concat([cumulative(one), cumulative(other, model="b")])
    (row,) = robustness_differences(values, resamples=100).to_dict("records")
    assert (row["value_a"], row["value_b"]) == (1, 0.5)
    # all examples fare alike: that is no reason to call the number exact
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["interval"] == "none (no spread in the sample)"


def test_a_failed_step_leaves_the_other_models_robustness() -> None:
    values = pd.concat([cumulative(np.ones((50, 4))), cumulative(np.ones((50, 4)), model="b")])
    gone = (values["model"] == "b") & (values["ablation"] == "layer:2+layer:1")
    values.loc[gone & (values["doc_id"] < 3), "value"] = np.nan
    table = robustness(values, {"a": 3, "b": 3}, resamples=100).set_index("model")
    assert table.loc["a", "robustness"] == 1
    assert np.isnan(table.loc["b", ["robustness", "low", "area"]].to_numpy(float)).all()
    assert table.loc["b", "n_removed"] == 3
    assert table["interval"].tolist() == [
        "none (no spread in the sample)", "none (examples failed)",
    ]  # fmt: skip
    (row,) = robustness_differences(values, resamples=100).to_dict("records")
    assert np.isnan(row["difference"])
    assert row["interval"] == "none (examples failed)"


def test_an_example_that_one_model_cannot_read_is_left_out_of_both() -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((2, 40, 4)) < 0.6).astype(float)
    both = pd.concat([long(table[0], model="a"), long(table[1], model="b")])
    without = both[both["doc_id"] >= 3]
    unread = (both["model"] == "a") & (both["ablation"] == "baseline") & (both["doc_id"] < 3)
    failed = both.assign(value=both["value"].where(~unread))
    for made in (
        lambda values: differences(values, resamples=100),
        lambda values: centres(values, {"a": 3, "b": 3}),
    ):
        pd.testing.assert_frame_equal(made(failed), made(without))


def test_a_task_that_a_model_cannot_read_leaves_the_others_correlations() -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((2, 40, 5)) < 0.6).astype(float)
    first = pd.concat([long(table[0], model="a"), long(table[1], model="b")])
    other = first.assign(task="other")
    gone = (other["model"] == "a") & (other["ablation"] == "baseline")
    other["value"] = other["value"].where(~gone)
    found = correlations(pd.concat([first, other]), resamples=100)
    pd.testing.assert_frame_equal(found, correlations(first, resamples=100))


def test_of_scores_below_zero_no_share_is_left() -> None:
    table = np.array([[0.5, -0.5, -1.0]] * 20)
    found = robustness(cumulative(table), {"a": 2}, resamples=100)
    assert np.isnan(found["robustness"].item())
    assert found["area"].item() == pytest.approx(-0.375)


def test_only_whole_families_are_curves() -> None:
    assert orders_of(["baseline", "layer:2", "layer:2+layer:1", "layer:0"]) == {
        "2 1": ["layer:2", "layer:2+layer:1"]
    }
    for texts in (["layer:0", "layer:1"], ["layer:2+layer:1"], ["layer:2", "layer:2+attn:1"]):
        with pytest.raises(UserError, match="a cumulative family is needed"):
            orders_of(texts)
    gone = np.zeros((10, 4))
    assert np.isnan(robustness(cumulative(gone), {"a": 3}, resamples=100)["robustness"].item())

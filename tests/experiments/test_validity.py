"""Does the toolkit find what was built in? A few placements; experiments/validity does hundreds."""

import pytest

from experiments.validity import checks
from experiments.validity.paths import check_paths
from experiments.validity.planted import build, circuit_plan, null_plan, redundant_plan
from experiments.validity.questions import planted_task
from interp.attention import retrieval_heads
from interp.errors import UserError
from tests.helpers.planted_parts import assert_all_found
from tests.helpers.thinning import sized


@pytest.mark.slow
@pytest.mark.parametrize("seed", sized(thinned=[1000], whole=[1000, 1001]))
def test_a_circuit_is_found_by_effect_and_by_attention(seed):
    rows = checks.check_circuit(seed)
    assert len(rows) == 9
    assert_all_found(rows)
    (null,) = [row for row in rows if row["question"] == "kv: null head"]
    assert null["attention"] > 0.9
    assert null["drop"] == 0


@pytest.mark.slow
def test_a_redundant_pair_is_found_by_pairs_only():
    rows = checks.check_redundant(1000)
    assert_all_found(rows)
    assert rows[0]["planted"] == rows[0]["found"] != []


@pytest.mark.slow
def test_nothing_planted_shows_nothing():
    rows = checks.check_null(1000)
    assert_all_found(rows)
    assert rows[0]["largest_change"] > 0


@pytest.mark.slow
def test_a_missing_circuit_would_be_noticed():
    """The checks can fail: the truth of one plan against the model of another."""
    plan, other = circuit_plan(1000), circuit_plan(1003)
    assert plan.induction != other.induction
    found = checks.importance(
        build(other), planted_task(other, "kv"), checks.interp.each_head(build(plan), by="zero")
    )
    truth = {f"head:{layer}.{head}" for layer, head in (plan.previous_token, *plan.induction)}
    assert checks._compared(0, "x", found, truth)["missed"]


def test_plans_cover_the_places_and_are_seeded():
    plans = [circuit_plan(seed) for seed in range(200)]
    assert plans == [circuit_plan(seed) for seed in range(200)]
    assert {p.induction[0][0] for p in plans} == {1, 2, 3, 4}
    assert {p.previous_token[0] for p in plans} == {0, 1, 2, 3}
    assert {p.fact for p in plans} == {0, 1, 2, 3, 4}
    assert all(p.previous_token[0] < p.induction[0][0] for p in plans)
    assert all(p.null[0] not in p.induction for p in plans)
    pairs = {redundant_plan(seed).induction for seed in range(200)}
    assert len(pairs) > 60
    assert any(a[0] == b[0] for a, b in pairs)


@pytest.mark.slow
def test_a_model_that_copies_nothing_has_no_retrieval_heads():
    plan = null_plan(3)
    with pytest.raises(UserError, match="answers none of 32 examples rightly"):
        retrieval_heads(build(plan), planted_task(plan, "kv"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000, 1001])
def test_paths_are_found_by_patching_and_null_paths_are_not(seed):
    rows = check_paths(seed)
    assert len(rows) == 6
    assert_all_found(rows)
    assert min(row["least_planted"] for row in rows) > 0.5
    assert max(abs(row["null"]) for row in rows if row["null"] == row["null"]) < 1e-3

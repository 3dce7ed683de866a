"""Limited runs: the draw is seeded, spread over strata, and says how sure a score can be."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest

from interp.errors import UserError
from interp.tasks import Task, described, draw_order, select_examples
from interp.tasks.examples import half_width


def made(strata: list[str]) -> Task:
    rows = [{"subject": s} for s in strata]
    return Task("made", SimpleNamespace(eval_docs=rows, OUTPUT_TYPE="multiple_choice"))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_every_stratum_gets_its_share(sizes, share, seed):
    strata = [f"s{i}" for i, size in enumerate(sizes) for _ in range(size)]
    np.random.default_rng(seed).shuffle(strata)
    limit = max(1, int(share * len(strata)))
    drawn = select_examples(made(strata), limit, seed=seed)
    assert drawn == sorted(set(drawn)) == select_examples(made(strata), limit, seed=seed)
    assert len(drawn) == limit
    for i, size in enumerate(sizes):
        got = sum(strata[d] == f"s{i}" for d in drawn)
        assert abs(got - limit * size / len(strata)) < 2


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_the_examples_of_a_limit_are_among_those_of_a_larger_one(sizes, seed):
    task = made([f"s{i}" for i, size in enumerate(sizes) for _ in range(size)])
    order = draw_order(task, seed=seed)
    assert sorted(order) == list(range(sum(sizes)))
    for limit in range(1, sum(sizes) + 1):
        assert select_examples(task, limit, seed=seed) == sorted(order[:limit])


def test_a_few_examples_of_many_subjects_are_of_different_ones():
    task = made([f"s{i}" for i in range(57) for _ in range(100)])
    for seed in range(20):
        first = draw_order(task, seed=seed)[:57]
        assert len({task.strata[i] for i in first}) == 57


@pytest.mark.slow
def test_every_example_is_as_likely_as_any_other():
    strata = ["a"] * 6 + ["b"] * 3 + ["c"]
    counts = np.bincount(
        [d for seed in range(3000) for d in select_examples(made(strata), 4, seed=seed)],
        minlength=10,
    )
    # 1200 expected each, standard deviation 27
    assert np.abs(counts - 1200).max() < 120


def test_another_seed_draws_others_and_no_limit_draws_all():
    task = made(["a"] * 100)
    assert select_examples(task, 10, seed=0) != select_examples(task, 10, seed=1)
    for limit in (None, 100, 500):
        assert select_examples(task, limit) == list(range(100))
    with pytest.raises(UserError, match="limit 0: allowed are 1 and more"):
        select_examples(task, 0)


@pytest.mark.parametrize("n", [10, 200, 14042])
def test_the_width_is_that_of_scipys_wilson_interval(n):
    interval = binomtest(n // 2, n).proportion_ci(method="wilson")
    assert half_width(n) == pytest.approx(50 * (interval.high - interval.low))


def test_a_draw_says_what_it_is():
    task = made(["a", "b"] * 500)
    assert described(task, select_examples(task, 200)) == (
        "made: 200 of 1,000 examples, spread over 2 strata; "
        "95% interval of a score: up to ±6.9 points"
    )

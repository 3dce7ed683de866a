"""What is left of a thinned test holds every value of every parameter."""

from itertools import product

from hypothesis import given, strategies as st

from tests.helpers.thinning import kept


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_every_value_is_tried_and_few_combinations_are(sizes):
    combinations = {
        str(chosen): frozenset((str(axis), value) for axis, value in enumerate(chosen))
        for chosen in product(*map(range, sizes))
    }
    names = kept(combinations)
    tried = set().union(*(combinations[name] for name in names))
    assert tried == set().union(*combinations.values())
    assert max(sizes) <= len(names) <= sum(sizes)


def test_without_parameters_one_is_left():
    assert kept({"a": frozenset()}) == {"a"}

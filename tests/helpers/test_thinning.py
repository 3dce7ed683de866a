"""What is left of a thinned test holds every value of every parameter."""

from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any

from hypothesis import given, strategies as st

from tests.helpers.thinning import kept, left_out, one_turn, sized, try_every_combination


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


@dataclass
class Item:
    nodeid: str
    family: str
    marks: dict[str, Any] = field(default_factory=dict)

    @property
    def callspec(self):
        return SimpleNamespace(params={"family": self.family})

    def get_closest_marker(self, name):
        kwargs = self.marks.get(name)
        return None if kwargs is None else SimpleNamespace(kwargs=kwargs)


def test_tests_that_share_the_families_run_for_all_of_them_together():
    marks = {"thinned": {"share": 2}, "slow": {}}
    items = [
        Item(f"tests/test_a.py::{test}[{family}]", family, marks)
        for test in ("test_scores", "test_texts")
        for family in "abcde"
    ]
    quick = Item("tests/test_a.py::test_texts[a]", "a", {"thinned": {"share": 2}})
    items[5] = quick
    gone = left_out(items)
    run = [item for place, item in enumerate(items) if place not in gone]
    assert [item.family for item in run if "scores" in item.nodeid] == ["a", "c", "e"]
    # what belongs to the quick half is never left out
    assert [item.family for item in run if "texts" in item.nodeid] == ["a", "b", "d"]


def test_a_turn_leaves_out_no_value_of_another_parameter():
    combinations = {
        f"{family}{text}": frozenset({("family", ord(family)), ("text", ord(text))})
        for family, text in zip("abcdefgh", "xyxyxyxy", strict=True)
    }
    names = one_turn(combinations, 2, 0)
    assert names == {"ax", "cx", "ex", "gx", "by"}
    assert one_turn(combinations, 2, 1) == {"by", "dy", "fy", "hy", "ax"}


def test_without_parameters_one_is_left():
    assert kept({"a": frozenset()}) == {"a"}


def test_sizes_are_whole_where_every_combination_is_asked_for(request):
    every = request.config.getoption("--every-combination")
    assert sized(thinned=3, whole=5) == (5 if every else 3)
    try:
        try_every_combination(not every)
        assert sized(thinned=3, whole=5) == (3 if every else 5)
    finally:
        try_every_combination(every)

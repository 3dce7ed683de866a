"""Tests of many combinations, thinned: each value of each parameter is tried, not each combination.

A test that is marked `thinned` runs for enough of its combinations that every family, every
ablation and every other value occurs. Marked `thinned(share=2)`, it runs for every second one of
those; the next test of the file with that mark runs for the others. So tests of one property (its
scores and its texts) share the families among them. `--every-combination` runs them all.

What a test draws, and how often, is thinned by `sized`: fewer by default, all with that option.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

Values = frozenset[tuple[str, int]]
Size = TypeVar("Size")

_every_combination = False


def try_every_combination(chosen: bool) -> None:
    """Say, before tests are collected, whether `--every-combination` was given."""
    global _every_combination
    _every_combination = chosen


def sized(*, thinned: Size, whole: Size) -> Size:
    """How many draws, examples or seeds a test takes.

    Args:
        thinned: what it takes in the gate.
        whole: what it takes with `--every-combination`.

    Returns:
        One of the two.
    """
    return whole if _every_combination else thinned


def kept(combinations: dict[str, Values]) -> set[str]:
    """The names of combinations in which every value occurs that occurs in any of them.

    The next one taken is always one with the most values that have not occurred yet; among equals a
    hash of the name decides, so that the same ones are taken in each run and process.

    Args:
        combinations: name of a combination to its (parameter, value) pairs.

    Returns:
        Some of the names; at most one for each value.
    """
    left = set().union(*combinations.values())
    order = sorted(combinations, key=lambda name: hashlib.sha256(name.encode()).digest())
    taken: set[str] = set()
    while left:
        best = max(order, key=lambda name: len(combinations[name] & left))
        taken.add(best)
        left -= combinations[best]
    return taken or set(order[:1])


def one_turn(combinations: dict[str, Values], share: int, turn: int) -> set[str]:
    """Every `share`-th of the names, from the `turn`-th on.

    The parameter with the most values (as a rule the family of models) is what the turns share: of
    every other parameter each value occurs in each turn.
    """
    names = sorted(combinations)
    taken = set(names[turn % share :: share] or names)
    of: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for parameter, value in set().union(*combinations.values()):
        of[parameter].add((parameter, value))
    of.pop(max(sorted(of), key=lambda parameter: len(of[parameter])), None)
    missing = set().union(*of.values()) - set().union(*(combinations[name] for name in taken))
    for name in names:
        if combinations[name] & missing:
            taken.add(name)
            missing -= combinations[name]
    return taken


def left_out(items: Sequence[Any]) -> set[int]:
    """The positions of the collected tests that thinning leaves out."""
    by_function: dict[str, dict[str, Values]] = defaultdict(dict)
    shares: dict[str, tuple[int, int | None]] = {}
    places: dict[str, int] = {}
    quick: set[str] = set()
    for place, item in enumerate(items):
        mark = item.get_closest_marker("thinned")
        if mark is None:
            continue
        nodeid: str = item.nodeid
        values = item.callspec.params
        function = nodeid.split("[")[0]
        shares[function] = mark.kwargs.get("share", 1), mark.kwargs.get("turn")
        by_function[function][nodeid] = frozenset(
            (name, id(value)) for name, value in values.items()
        )
        places[nodeid] = place
        if item.get_closest_marker("slow") is None:
            quick.add(nodeid)
    # a file's tests take turns in the order of their names, where they do not say it
    turns: dict[str, int] = defaultdict(int)
    gone: set[int] = set()
    for function in sorted(by_function):
        combinations, (share, turn) = by_function[function], shares[function]
        run = kept(combinations)
        if share > 1:
            file = function.split("::")[0]
            mine = {name: combinations[name] for name in run}
            # the quick half is the one whose calls are checked, and stays whole
            run = one_turn(mine, share, turns[file] if turn is None else turn) | (run & quick)
            turns[file] += turn is None
        gone |= {places[name] for name in combinations.keys() - run}
    return gone

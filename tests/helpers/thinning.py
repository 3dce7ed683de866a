"""Tests of many combinations, thinned: each value of each parameter is tried, not each combination.

A test that is marked `thinned` runs for enough of its combinations that every family, every
ablation and every other value occurs. `--every-combination` runs them all.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

Values = frozenset[tuple[str, int]]


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


def left_out(items: Sequence[Any]) -> set[int]:
    """The positions of the collected tests that thinning leaves out."""
    by_function: dict[str, dict[str, Values]] = defaultdict(dict)
    places: dict[str, int] = {}
    for place, item in enumerate(items):
        if item.get_closest_marker("thinned") is None:
            continue
        nodeid: str = item.nodeid
        values = item.callspec.params
        by_function[nodeid.split("[")[0]][nodeid] = frozenset(
            (name, id(value)) for name, value in values.items()
        )
        places[nodeid] = place
    return {
        places[name]
        for combinations in by_function.values()
        for name in combinations.keys() - kept(combinations)
    }

"""Batches: every token that is shared once, every row whole, never more than the budget."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from interp.engine import group_examples, padded_batches
from interp.engine.scoring.packing import Tree, packed_batches
from interp.tasks import OptionRequest

tokens = st.lists(st.integers(1, 3), min_size=1, max_size=6).map(tuple)
examples = st.lists(
    st.tuples(
        st.sampled_from([(), (5,) * 150, (6,) * 200]), st.lists(tokens, min_size=1, max_size=4)
    ),
    min_size=1,
    max_size=8,
)


def made(drawn) -> list[OptionRequest]:
    return [
        OptionRequest(doc, option, (1, *stem, 2), end)
        for doc, (stem, ends) in enumerate(drawn)
        for option, end in enumerate(ends)
    ]


def path(tree: Tree, node: int) -> list[int]:
    """The tokens from the root of a tree to a node."""
    found = []
    while node >= 0:
        found.append(tree.tokens[node])
        node = tree.parents[node]
    return found[::-1]


@pytest.mark.slow
@given(examples, st.booleans(), st.booleans())
def test_every_request_reads_its_own_tokens_and_nothing_else(drawn, prefixes, trees):
    requests = made(drawn)
    seen = []
    for group in group_examples(requests, prefixes=prefixes, trees=trees):
        for tree in group.trees:
            for number, nodes, continuation in tree.scored:
                request = requests[number]
                assert continuation == request.continuation
                for i, node in enumerate(nodes):
                    whole = [*group.prefix, *path(tree, node)]
                    assert whole == [*request.context, *request.continuation[:i]]
                    assert tree.depths[node] == len(path(tree, node)) - 1
                seen.append(number)
            # a token behind the same tokens occurs once
            nodes = list(zip(tree.parents, tree.tokens, strict=True))
            assert len(set(nodes)) == len(nodes)
    assert sorted(seen) == list(range(len(requests)))


@pytest.mark.slow
@given(examples)
def test_sharing_never_computes_more_tokens(drawn):
    requests = made(drawn)

    def computed(**shared) -> int:
        groups = group_examples(requests, **shared)
        return sum(len(g.prefix) + sum(len(t.tokens) for t in g.trees) for g in groups)

    apart = computed(prefixes=False, trees=False)
    assert computed() <= computed(prefixes=False) <= apart


@pytest.mark.slow
@given(examples, st.integers(1, 700))
def test_batches_hold_every_tree_once_within_the_budget(drawn, budget):
    requests = made(drawn)
    for group in group_examples(requests):
        batches = packed_batches(group.trees, budget)
        assert sum(len(b.scored) for b in batches) == sum(len(t.scored) for t in group.trees)
        for batch in batches:
            assert len(batch.ids) == 1 or batch.ids.size <= budget
            assert batch.sees is not None
            assert batch.depths is not None
            for _number, row, columns, continuation in batch.scored:
                for i, column in enumerate(columns):
                    # what a scored position sees is its own path, in order
                    keys = np.flatnonzero(batch.sees[row, column])
                    assert list(batch.depths[row, keys]) == list(range(len(keys)))
                    if i:
                        assert batch.ids[row, column] == continuation[i - 1]
        numbers = sorted(n for b in batches for n, _, _, _ in b.scored)
        assert numbers == sorted(n for t in group.trees for n, _, _ in t.scored)


@pytest.mark.slow
@given(examples, st.integers(1, 700))
def test_padded_batches_hold_every_row_once_within_the_budget(drawn, budget):
    requests = made(drawn)
    for group in group_examples(requests, trees=False):
        batches = padded_batches(group.trees, budget)
        assert sum(len(b.ids) for b in batches) == len(group.trees)
        for batch in batches:
            assert len(batch.ids) == 1 or batch.ids.size <= budget
            for number, row, columns, _ in batch.scored:
                context = [*group.prefix, *batch.ids[row, : columns[0] + 1]]
                assert context == list(requests[number].context)

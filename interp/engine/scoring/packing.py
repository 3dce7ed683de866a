"""Requests become batches in which every shared token is computed once.

Three savings, all found on tokens, so that they are exact for any tokenizer and any task:

- tokens with which many examples start (the few-shot prompt) become the prefix of a group;
- the rows of one example (a question and its options) become one tree of tokens: a token that
  several rows share is one node, and a node sees its ancestors only;
- the trees of a group are laid side by side in rows, each blind to the others, so that hardly any
  padding is computed.

Where an architecture cannot be given a mask and positions of its own, each row is a row of the
batch, padded on the right, and only prefixes are shared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from interp.tasks import OptionRequest, Row, build_rows

# a further prefix must save more than this many tokens: it costs one more pass of one row
PREFIX_COST = 128
# a packed row is at least this long if there are trees to fill it, and no longer than its longest
# tree otherwise: attention between trees is computed and masked away
PACKED_ROW = 256
MOST_NESTED = 200

T = TypeVar("T")
Scored = tuple[int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Tree:
    """The rows of one example after their group's prefix, each shared token once.

    Attributes:
        tokens: one per node, parents before children.
        parents: number of the node before each; -1 after the prefix.
        depths: how many nodes are before each, so that its position is prefix + depth.
        scored: for each request its number, the nodes whose logits predict its continuation, and
            the continuation.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    scored: tuple[Scored, ...]


@dataclass(frozen=True)
class Group:
    """Examples that start with the same tokens.

    Attributes:
        prefix: the shared tokens; may be empty.
        trees: one per example.
    """

    prefix: tuple[int, ...]
    trees: tuple[Tree, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that run together after one prefix.

    Attributes:
        ids: `[batch, pos]` tokens, 0 where there is padding.
        depths: `[batch, pos]` positions after the prefix, or None: 0, 1, 2 ...
        sees: `[batch, pos, pos]` whether a query (second axis) sees a key, or None: all before it.
        scored: for each request its number, its row, the columns whose logits predict its
            continuation, and the continuation.
    """

    ids: np.ndarray
    depths: np.ndarray | None
    sees: np.ndarray | None
    scored: tuple[tuple[int, int, tuple[int, ...], tuple[int, ...]], ...]


def group_examples(
    requests: Sequence[OptionRequest], *, prefixes: bool = True, trees: bool = True
) -> list[Group]:
    """Find what the requests share (numbers in the result index `requests`).

    Args:
        requests: the requests of one task, or of several.
        prefixes: share tokens between examples.
        trees: share tokens between the rows of an example; else every row is a tree of its own.

    Returns:
        Groups that cover every request once.
    """
    rows = build_rows(requests)
    if trees:
        by_example: dict[int, list[Row]] = {}
        for row in rows:
            by_example.setdefault(requests[row.scored[0][0]].doc_id, []).append(row)
        examples = list(by_example.values())
    else:
        examples = [[row] for row in rows]
    if not prefixes:
        return [Group((), tuple(_tree(example, 0) for example in examples))] if examples else []
    stems = sorted((_stem(example), i) for i, example in enumerate(examples))
    shared = _shared([stem for stem, _ in stems])
    sizes = [_distinct(examples[i]) for _, i in stems]
    groups, alone = [], []
    for first, last, length in _partition(stems, sizes, shared):
        members = [examples[i] for _, i in stems[first:last]]
        if length:
            prefix = stems[first][0][:length]
            groups.append(Group(prefix, tuple(_tree(m, length) for m in members)))
        else:
            alone += [_tree(member, 0) for member in members]
    return groups + ([Group((), tuple(alone))] if alone else [])


def packed_batches(trees: Sequence[Tree], token_budget: int) -> list[Batch]:
    """Trees side by side in rows, rows in batches of at most `token_budget` tokens."""
    bins: list[tuple[int, list[Tree]]] = []
    room: list[int] = []
    for tree in sorted(trees, key=lambda t: (-len(t.tokens), t.tokens)):
        size = len(tree.tokens)
        place = next((i for i, free in enumerate(room) if free >= size), None)
        if place is None:
            bins.append((max(size, PACKED_ROW), []))
            room.append(bins[-1][0])
            place = len(bins) - 1
        bins[place][1].append(tree)
        room[place] -= size
    filled = sorted(
        (trees for _, trees in bins), key=lambda trees: -sum(len(t.tokens) for t in trees)
    )
    batches = []
    for batch in by_budget(filled, [sum(len(t.tokens) for t in b) for b in filled], token_budget):
        batches.append(_packed(batch))
    return batches


def padded_batches(trees: Sequence[Tree], token_budget: int) -> list[Batch]:
    """Each tree (one row of tokens) a row, padded on the right; longest first.

    Args:
        trees: each with one path of tokens.
        token_budget: most tokens of one batch, padding counted.

    Returns:
        Batches that cover every tree once; each within the budget, unless a single tree is longer.
    """
    rows = sorted(trees, key=lambda t: (-len(t.tokens), t.tokens))
    batches = []
    for batch in by_budget(rows, [len(t.tokens) for t in rows], token_budget):
        ids = np.zeros((len(batch), len(batch[0].tokens)), dtype=np.int64)
        scored = []
        for r, tree in enumerate(batch):
            ids[r, : len(tree.tokens)] = tree.tokens
            scored += [(number, r, nodes, tokens) for number, nodes, tokens in tree.scored]
        batches.append(Batch(ids, None, None, tuple(scored)))
    return batches


def by_budget(items: Sequence[T], sizes: Sequence[int], token_budget: int) -> Iterator[list[T]]:
    """Consecutive items (longest first) so that count x longest stays within the budget.

    Args:
        items: the items in order, the longest first.
        sizes: tokens of each item.
        token_budget: most tokens of one group, padding counted.

    Yields:
        Lists of items that follow each other. Each has one item or more.
    """
    start = 0
    while start < len(items):
        count = max(1, token_budget // max(1, sizes[start]))
        yield list(items[start : start + count])
        start += count


def _packed(rows: Sequence[Sequence[Tree]]) -> Batch:
    width = max(sum(len(t.tokens) for t in row) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    depths = np.zeros((len(rows), width), dtype=np.int64)
    # padding sees itself: a row of a mask without any True has no softmax
    sees = np.zeros((len(rows), width, width), dtype=bool)
    sees[:, np.arange(width), np.arange(width)] = True
    scored = []
    for r, row in enumerate(rows):
        at = 0
        for tree in row:
            end = at + len(tree.tokens)
            ids[r, at:end], depths[r, at:end] = tree.tokens, tree.depths
            for node, parent in enumerate(tree.parents):
                if parent >= 0:
                    sees[r, at + node, at : at + node] = sees[r, at + parent, at : at + node]
            for number, nodes, tokens in tree.scored:
                scored.append((number, r, tuple(at + n for n in nodes), tokens))
            at = end
    return Batch(ids, depths, sees, tuple(scored))


def _tree(rows: Sequence[Row], prefix: int) -> Tree:
    """The rows of one example after `prefix` tokens, as a tree."""
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    children: dict[tuple[int, int], int] = {}
    scored: list[Scored] = []
    for row in sorted(rows, key=lambda r: r.tokens):
        path, node = [], -1
        for depth, token in enumerate(row.tokens[prefix:]):
            child = children.get((node, token))
            if child is None:
                child = children[node, token] = len(tokens)
                tokens.append(token)
                parents.append(node)
                depths.append(depth)
            path.append(child)
            node = child
        for number, start, continuation in row.scored:
            first = start - prefix
            scored.append((number, tuple(path[first : first + len(continuation)]), continuation))
    return Tree(tuple(tokens), tuple(parents), tuple(depths), tuple(scored))


def _distinct(rows: Sequence[Row]) -> int:
    """How many nodes the tree of an example's rows has."""
    tokens = sorted(row.tokens for row in rows)
    return sum(map(len, tokens)) - sum(_shared(tokens))


def _stem(rows: Sequence[Row]) -> tuple[int, ...]:
    """What all rows of an example start with, short of the first position that is scored."""
    shortest = min(start for row in rows for _, start, _ in row.scored)
    first, last = min(row.tokens for row in rows), max(row.tokens for row in rows)
    return first[: min(shortest, _common(first, last))]


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many tokens two rows have in common at their start."""
    longest = min(len(a), len(b))
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _shared(stems: Sequence[tuple[int, ...]]) -> list[int]:
    return [_common(a, b) for a, b in pairwise(stems)]


def _partition(
    stems: Sequence[tuple[tuple[int, ...], int]], sizes: Sequence[int], shared: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Ranges of sorted stems and the length of their prefix, with the fewest tokens computed."""

    def best(first: int, last: int, depth: int) -> tuple[int, list[tuple[int, int, int]]]:
        total = sum(sizes[first:last])
        if last - first == 1:
            return total, [(first, last, 0)]
        length = min(shared[first : last - 1])
        together = total - (last - first - 1) * length + PREFIX_COST if length else total
        one = [(first, last, length if together < total else 0)]
        together = min(together, total)
        if depth > MOST_NESTED:
            return together, one
        ends = [i + 1 for i in range(first, last - 1) if shared[i] == length] + [last]
        apart, parts = 0, []
        for start, end in zip([first, *ends[:-1]], ends, strict=True):
            cost, inside = best(start, end, depth + 1)
            apart += cost
            parts += inside
        return (apart, parts) if apart < together else (together, one)

    return best(0, len(stems), 0)[1] if stems else []

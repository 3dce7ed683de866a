"""Drafts from text already seen: what followed the same words before.

A model that is ablated in one place often writes what another one wrote, or repeats its prompt.
The longest run of last tokens that occurs in a known text proposes the tokens after it there
(prompt look-up decoding, Saxena 2023; verified as in Leviathan et al., arXiv 2211.17192). A draft
never changes an answer: a token counts only where the model itself would have written it.
"""

from collections.abc import Sequence

LONGEST, SHORTEST = 4, 2


class SeenText:
    """The texts that one example's answers may resemble: its prompt, and answers under ablations.

    The latest occurrence of a run of tokens wins, so a model's own last answer comes before the
    prompt's examples.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self.texts: list[list[int]] = []
        self.index: dict[tuple[int, ...], tuple[int, int]] = {}
        self.add(prompt)

    def add(self, text: Sequence[int]) -> None:
        """Remember a text."""
        number = len(self.texts)
        self.texts.append(list(text))
        for end in range(SHORTEST, len(text)):
            for size in range(SHORTEST, min(LONGEST, end) + 1):
                self.index[tuple(text[end - size : end])] = (number, end)

    def draft(self, written: Sequence[int], length: int) -> list[int]:
        """At most `length` tokens that may follow the written ones."""
        for size in range(min(LONGEST, len(written)), SHORTEST - 1, -1):
            place = self.index.get(tuple(written[-size:]))
            if place is not None:
                number, end = place
                return self.texts[number][end : end + length]
        return []


def draft_length(rows: int, accepted: float, latency_knee: int) -> int:
    """How many tokens to draft for each row, from how often drafts were right so far.

    A pass over few tokens costs about as much as one over `latency_knee` of them; a pass over more
    costs in proportion to their number. The expected number of tokens that a draft of length k
    adds, divided by the cost of the pass, is the largest at the returned k.

    Args:
        rows: rows in the batch.
        accepted: the share of drafted tokens that were right, in [0, 1].
        latency_knee: tokens up to which a pass costs no more.

    Returns:
        A number of tokens, 1 or more.
    """
    best, best_value = 0, 0.0
    for length in (0, 1, 2, 3, 4, 6, 8, 12, 16):
        tokens = sum(accepted**i for i in range(length + 1))
        cost = 1.0 + max(0.0, rows * (1 + length) - latency_knee) / latency_knee
        if tokens / cost > best_value * 1.02:
            best, best_value = length, tokens / cost
    return best

"""Texts that are scored by their loss: whole documents, in windows.

lm-evaluation-harness' tasks of kind `loglikelihood_rolling` (wikitext) score every token of a
document. A document that is longer than the model's context is cut into windows, as the harness
cuts it: each token is predicted once, the first of a window from one token before it.
"""

from collections.abc import Sequence

OWN_METRICS = ("loss", "token_perplexity")

Window = tuple[list[int], list[int]]


def windows(tokens: Sequence[int], first: int, most: int) -> list[Window]:
    """A document in windows that together predict each of its tokens once.

    Args:
        tokens: the tokens of the document.
        first: the token before it.
        most: the most tokens of a window.

    Returns:
        Pairs of one token or more in front, and the tokens that are predicted.
    """
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    made = get_rolling_token_windows(
        token_list=list(tokens), prefix_token=first, max_seq_len=most, context_len=1
    )
    return [make_disjoint_window(window) for window in made]

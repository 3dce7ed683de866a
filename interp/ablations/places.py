"""Which positions the blocks are called at: of the prompt, of the answer, the last of the prompt.

An ablation with a scope (`layer:7@@prompt`) acts at some positions only. The engine says, before
each call of the blocks, what each of its positions is; the edited blocks read that.

At positions of its scope a part is replaced as ever; the part itself is computed at all positions.
So keys and values of a skipped block are computed at its skipped positions, too, from the stream
that passes by, and other positions attend to them ("Prompt-Only Pruning", arXiv 2602.03295, does
the same). Positions of the answer are those of its tokens as they are read: the token at the last
position of the prompt predicts the answer's first token, and belongs to the prompt.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.ablations.edits import Scope

BITS: dict[Scope, int] = {"prompt": 1, "answer": 2, "last": 4}
"""What stands for a scope in a label; the last position of a prompt has that of the prompt, too."""


class Places:
    """What the positions of the next call of the blocks are.

    Attributes:
        labels: `[row, pos]`, sums of `BITS`; one row stands for all; None before the first call.
    """

    def __init__(self) -> None:
        self.labels: Int[Tensor, "row pos"] | None = None

    def at(self, labels: Int[Tensor, "row pos"]) -> None:
        """Say what the positions of the next call are."""
        self.labels = labels

    def of_prompt(self, tokens: int) -> None:
        """The next call is of so many tokens of prompts, the last of them not included."""
        self.at(torch.full((1, tokens), BITS["prompt"]))

    def of_text(self, prompt: int, start: int, end: int) -> None:
        """The next call is of positions `start` to `end` of a text that begins with a prompt."""
        self.at(text_labels(prompt, end)[:, start:])

    def inside(self, scope: Scope) -> Bool[Tensor, "row pos"]:
        """`[row, pos]`, True at the positions of a scope.

        Raises:
            RuntimeError: the positions of the call were not set.
        """
        if self.labels is None:
            raise RuntimeError(f"@@{scope}: what the positions are has not been said")
        return (self.labels & BITS[scope]) > 0


def text_labels(prompt: int, length: int) -> Int[Tensor, "1 pos"]:
    """Labels of a text: so many tokens of a prompt, and then an answer.

    Args:
        prompt: tokens of the prompt.
        length: tokens of the prompt and of what follows it.

    Returns:
        Sums of `BITS`, one per token; one row.
    """
    labels = torch.full((1, length), BITS["answer"])
    labels[:, :prompt] = BITS["prompt"]
    labels[:, prompt - 1] |= BITS["last"]
    return labels


def padded_labels(lengths: Sequence[int]) -> Int[Tensor, "row pos"]:
    """Labels of prompts of some lengths, padded on the left.

    Args:
        lengths: tokens of each prompt.

    Returns:
        Sums of `BITS`, one per token; 0 where there is padding. All prompts end in the last column.
    """
    longest = max(lengths)
    labels = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        labels[row, longest - length :] = text_labels(length, length)[0]
    return labels

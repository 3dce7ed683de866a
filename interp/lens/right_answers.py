"""Right answers in batches: rows, positions that predict their tokens, and rivals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.engine import by_budget, segments
from interp.errors import UserError
from interp.lens.answers import Answer
from interp.lens.tasks import TOKEN_BUDGET

LOGITS_COST = 16
"""How many tokens of a row the logits of one token of an answer count for, in memory."""


@dataclass(frozen=True, eq=False)
class AnswerBatch:
    """Right answers that run together, and the positions that predict their tokens.

    Attributes:
        answers: the examples.
        rows: the token ids of each, without the last token of its answer.
        at: row and position of the vector that predicts each token of each right answer.
        tokens: these tokens.
    """

    answers: tuple[Answer, ...]
    rows: tuple[tuple[int, ...], ...]
    at: tuple[Int[Tensor, " tokens"], Int[Tensor, " tokens"]]
    tokens: Int[Tensor, " tokens"]

    def rivals(self, logits: Float[Tensor, "tokens d_vocab"]) -> Int[Tensor, " tokens"]:
        """The rival of each token."""
        sizes = self._sizes()
        parts = zip(self.answers, logits.split(sizes), self.tokens.split(sizes), strict=True)
        return torch.cat([strongest_rivals(*part) for part in parts])

    def means(self, values: Float[Tensor, "... tokens"]) -> Float[Tensor, "... answers"]:
        """Means over the tokens of each answer."""
        return torch.stack([part.mean(dim=-1) for part in values.split(self._sizes(), -1)], -1)

    def refuse_not_finite(self, named: str, vectors: Float[Tensor, "tokens d_model"]) -> None:
        """Refuse the first example of which a vector is NaN or infinite.

        Args:
            named: the model, and what was done to it, for the message.
            vectors: what predicts each token of each right answer.

        Raises:
            UserError: names the example.
        """
        finite = vectors.isfinite().all(dim=-1).cpu()
        for answer, of_answer in zip(self.answers, finite.split(self._sizes()), strict=True):
            if not bool(of_answer.all()):
                raise UserError(
                    f"{named}, example {answer.doc_id}: the residual stream is not finite; a "
                    "number format of a wider range (bfloat16, float32) may hold it"
                )

    def _sizes(self) -> list[int]:
        return [len(answer.options[answer.right].continuation) for answer in self.answers]


def answer_batches(model: TransformerBridge, answers: Sequence[Answer]) -> Iterator[AnswerBatch]:
    """Batches of answers whose rows may run together, longest first, within the token budget.

    Args:
        model: the model.
        answers: from `build_answers`.

    Yields:
        Batches that hold each answer once.
    """
    device = models.decoder(model).device
    rows, sizes = list[tuple[int, ...]](), list[int]()
    for answer in answers:
        right = answer.options[answer.right]
        rows.append((*right.context, *right.continuation[:-1]))
        # for each token of an answer, the logits of the whole vocabulary are in memory
        sizes.append(max(len(rows[-1]), LOGITS_COST * len(right.continuation)))
    for part in segments(model, [len(row) for row in rows]):
        order = sorted(part, key=lambda number: -sizes[number])
        for batch in by_budget(order, [sizes[number] for number in order], TOKEN_BUDGET):
            places, tokens = list[tuple[int, int]](), list[int]()
            for row, number in enumerate(batch):
                right = answers[number].options[answers[number].right]
                first = len(right.context) - 1
                places += [(row, first + i) for i in range(len(right.continuation))]
                tokens += right.continuation
            at = torch.tensor(places, device=device).T
            yield AnswerBatch(
                tuple(answers[number] for number in batch),
                tuple(rows[number] for number in batch),
                (at[0], at[1]),
                torch.tensor(tokens, device=device),
            )


def strongest_rivals(answer: Answer, logits: Tensor, tokens: Tensor) -> Tensor:
    """The rival of each token of the right answer: the best wrong option or best other token."""
    right = answer.options[answer.right]
    wrong = [o for place, o in enumerate(answer.options) if place != answer.right]
    one_token_each = all(
        len(o.continuation) == 1 and o.context == right.context for o in answer.options
    )
    if wrong and one_token_each:
        ids = torch.tensor([o.continuation[0] for o in wrong], device=logits.device)
        return ids[logits[:, ids].argmax(dim=-1)]
    other_logits = logits.scatter(-1, tokens[:, None], -torch.inf)
    return other_logits.argmax(dim=-1)

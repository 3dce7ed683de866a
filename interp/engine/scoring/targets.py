"""Where a batch's logits are wanted, and the log-likelihoods that they give."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine.replay import unembed
from interp.engine.scoring.packing import Batch
from interp.models import Decoder

Score = tuple[float, bool]
"""Log-likelihood in nats, and whether greedy decoding writes it; NaN where it is a failure."""

FAILED: Score = (math.nan, False)
"""Of logits that are not finite: no likelihood, and never the greedy text."""


@dataclass(frozen=True, eq=False)
class ScoredPositions:
    """Where a batch's logits are wanted: places in the residual stream, and tokens there."""

    rows: Tensor  # [place]
    columns: Tensor  # [place]
    place: Tensor  # [token], sorted
    token: Tensor  # [token]
    request: list[int]  # [token]

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> "ScoredPositions":
        """The places and tokens of a batch."""
        wanted = [
            (row, column, token, number)
            for number, row, columns, tokens in batch.scored
            for column, token in zip(columns, tokens, strict=True)
        ]
        unique = sorted({(row, column) for row, column, _, _ in wanted})
        index = {place: i for i, place in enumerate(unique)}
        flat = sorted(((index[r, c], n, token) for r, c, token, n in wanted))
        return cls(
            torch.tensor([r for r, _ in unique], device=device),
            torch.tensor([c for _, c in unique], device=device),
            torch.tensor([place for place, _, _ in flat], device=device),
            torch.tensor([token for _, _, token in flat], device=device),
            [number for _, number, _ in flat],
        )

    def scores(
        self, decoder: Decoder, resid: Float[Tensor, "batch pos d_model"]
    ) -> dict[int, Score]:
        """Request number to its score, from what leaves the last block."""
        return self.scores_of(unembed(decoder, resid[self.rows, self.columns]))

    def scores_of(self, chunks: Iterable[Float[Tensor, "place d_vocab"]]) -> dict[int, Score]:
        """Request number to its score, from the logits at the places, in order.

        A NaN or an infinity anywhere in a row of logits makes its log-probabilities NaN, because
        they are taken relative to the row's largest; so what is checked is the score alone.
        """
        values, greedy, offset = [], [], 0
        for logits in chunks:
            here = (self.place >= offset) & (self.place < offset + len(logits))
            local, tokens, logits = self.place[here] - offset, self.token[here], logits.float()
            wanted, (largest, first) = logits[local, tokens], logits.max(dim=-1)
            greedy.append(first[local] == tokens)
            offset += len(logits)
            # in place: the logits are as large as all else together, and are not needed again
            total = logits.sub_(largest[:, None]).exp_().sum(dim=-1).log_() + largest
            values.append((wanted - total[local]).double())
        found: dict[int, Score] = {}
        for number, value, best in zip(
            self.request, torch.cat(values).tolist(), torch.cat(greedy).tolist(), strict=True
        ):
            total_before, all_before = found.get(number, (0.0, True))
            found[number] = (total_before + value, all_before and best)
        return {
            number: score if math.isfinite(score[0]) else FAILED for number, score in found.items()
        }

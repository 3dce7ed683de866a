"""Where a batch's logits are wanted, and the log-likelihoods that they give."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.engine.replay import unembed
from interp.engine.scoring.packing import Batch
from interp.engine.scoring.whole_model import (
    Compared,
    Predictions,
    WholeModel,
    compared,
    predictions,
)
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
        self,
        decoder: Decoder,
        resid: Float[Tensor, "batch pos d_model"],
        whole: WholeModel | None = None,
    ) -> dict[int, Score]:
        """Request number to its score, from what leaves the last block.

        Args:
            decoder: the modules of the model.
            resid: the stream before the final norm.
            whole: the whole model at the same places, to compare with (scores are `Compared`).
        """
        chunks = unembed(decoder, resid[self.rows, self.columns])
        if whole is None:
            return self.scores_of(chunks)
        return self.compared_scores(chunks, whole.chunks(decoder))

    def scores_of(self, chunks: Iterable[Float[Tensor, "place d_vocab"]]) -> dict[int, Score]:
        """Request number to its score, from the logits at the places, in order.

        A NaN or an infinity anywhere in a row of logits makes its log-probabilities NaN, because
        they are taken relative to the row's largest; so what is checked is the score alone.
        """
        values, greedy, offset = [], [], 0
        for logits in chunks:
            here = self._here(offset, len(logits))
            local, tokens, logits = self.place[here] - offset, self.token[here], logits.float()
            wanted, (largest, first) = logits[local, tokens], logits.max(dim=-1)
            greedy.append(first[local] == tokens)
            offset += len(logits)
            # in place: the logits are as large as all else together, and are not needed again
            total = logits.sub_(largest[:, None]).exp_().sum(dim=-1).log_() + largest
            values.append((wanted - total[local]).double())
        return self._by_request(torch.cat(values), torch.cat(greedy))

    def compared_scores(
        self,
        chunks: Iterable[Float[Tensor, "place d_vocab"]],
        whole: Iterable[Predictions],
    ) -> dict[int, Score]:
        """As `scores_of`, with what the whole model predicts at the same places beside it."""
        values, greedy, divergences, agreements, offset = [], [], [], [], 0
        for logits, others in zip(chunks, whole, strict=True):
            here = self._here(offset, len(logits))
            local, tokens = self.place[here] - offset, self.token[here]
            offset += len(logits)
            own = predictions(logits)
            values.append(own[0][local, tokens].double())
            greedy.append(own[1][local] == tokens)
            divergence, agreed = compared(others, own)
            divergences.append(divergence[local])
            agreements.append(agreed[local])
        found = self._by_request(torch.cat(values), torch.cat(greedy))
        sums = {number: [0.0, 0] for number in found}
        pairs = zip(torch.cat(divergences).tolist(), torch.cat(agreements).tolist(), strict=True)
        for number, pair in zip(self.request, pairs, strict=True):
            for place, value in enumerate(pair):
                sums[number][place] += value
        return {
            number: Compared.of(score, float(sums[number][0]), int(sums[number][1]))
            for number, score in found.items()
        }

    def _here(self, offset: int, rows: int) -> Bool[Tensor, " token"]:
        """The tokens whose place is among the next rows of logits."""
        return (self.place >= offset) & (self.place < offset + rows)

    def _by_request(
        self, values: Float[Tensor, " token"], greedy: Bool[Tensor, " token"]
    ) -> dict[int, Score]:
        found: dict[int, Score] = {}
        for number, value, best in zip(self.request, values.tolist(), greedy.tolist(), strict=True):
            total_before, all_before = found.get(number, (0.0, True))
            found[number] = (total_before + value, all_before and best)
        return {
            number: score if math.isfinite(score[0]) else FAILED for number, score in found.items()
        }

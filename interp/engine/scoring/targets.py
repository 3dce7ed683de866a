"""Where a batch's logits are wanted, and the log-likelihoods that they give."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine.replay import unembed
from interp.engine.scoring.packing import Batch
from interp.engine.scoring.whole_model import (
    Compared,
    Predictions,
    WholeModel,
    predictions_fit,
    weighted_mean,
)
from interp.models import Decoder, as_float64

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
        return self.scores_of(chunks, None if whole is None else whole.chunks(decoder))

    def scores_of(
        self,
        chunks: Iterable[Float[Tensor, "place d_vocab"]],
        whole: Iterable[Predictions] | None = None,
    ) -> dict[int, Score]:
        """Request number to its score, from the logits at the places, in order.

        A NaN or an infinity anywhere in a row of logits makes its log-probabilities NaN, because
        they are taken relative to the row's largest; so what is checked is the score alone.

        Args:
            chunks: logits of some places at a time.
            whole: what the whole model predicts there, in equal parts (scores are `Compared`).
        """
        values, greedy, divergences, agreed, offset = [], [], [], [], 0
        for logits, others in _beside(chunks, whole):
            (local, tokens), logits = self._tokens(offset, len(logits)), logits.float()
            wanted, (largest, first) = logits[local, tokens], logits.max(dim=-1)
            greedy.append(first[local] == tokens)
            offset += len(logits)
            # in place: the logits are as large as all else together, and are not needed again
            logits = logits.sub_(largest[:, None])
            cross = None if others is None else weighted_mean(others.p, logits)
            total = logits.exp_().sum(dim=-1).log_()
            if others is not None and cross is not None:
                divergences.append(as_float64(others.divergence(cross, total)[local]))
                agreed.append((others.first == first)[local])
            values.append(as_float64(wanted - (total + largest)[local]))
        by_request = self._by_request(torch.cat(values), torch.cat(greedy))
        if whole is None:
            return by_request
        return self._compared(by_request, torch.cat(divergences), torch.cat(agreed))

    def whole_model(
        self, decoder: Decoder, resid: Float[Tensor, "batch pos d_model"]
    ) -> WholeModel:
        """The unedited model at the places, from one pass of its logits.

        Args:
            decoder: the modules of the model.
            resid: the stream before the final norm.

        Returns:
            What others are compared with, and its own scores.
        """
        final = resid[self.rows, self.columns]
        parts, values, greedy, offset = [], [], [], 0
        keeps = predictions_fit(decoder, len(final))
        for logits in unembed(decoder, final):
            local, tokens = self._tokens(offset, len(logits))
            wanted, one = logits.float()[local, tokens], Predictions.of(logits)
            greedy.append(one.first[local] == tokens)
            values.append(as_float64(wanted - (one.total + one.largest)[local]))
            offset += len(logits)
            parts += [one] if keeps else []
        found = self._by_request(torch.cat(values), torch.cat(greedy))
        # what is not finite differs from itself
        divergence = torch.where(torch.cat(values).isfinite(), 0.0, math.nan)
        itself = self._compared(found, divergence, torch.ones_like(divergence, dtype=torch.bool))
        return WholeModel(final, Predictions.joined(parts) if keeps else None, itself)

    def _tokens(self, offset: int, count: int) -> tuple[Int[Tensor, " token"], ...]:
        """The tokens that are wanted at some consecutive places: where among these, and which."""
        in_window = (self.place >= offset) & (self.place < offset + count)
        return self.place[in_window] - offset, self.token[in_window]

    def _by_request(
        self, values: Float[Tensor, " token"], greedy: Bool[Tensor, " token"]
    ) -> dict[int, Score]:
        scores: dict[int, Score] = {}
        for number, value, best in zip(self.request, values.tolist(), greedy.tolist(), strict=True):
            total_before, all_before = scores.get(number, (0.0, True))
            scores[number] = (total_before + value, all_before and best)
        return {
            number: score if math.isfinite(score[0]) else FAILED for number, score in scores.items()
        }

    def _compared(
        self,
        scores: Mapping[int, Score],
        divergence: Float[Tensor, " token"],
        agreed: Bool[Tensor, " token"],
    ) -> dict[int, Score]:
        """The scores with what the whole model predicts beside them."""
        kl, same = dict.fromkeys(scores, 0.0), dict.fromkeys(scores, 0)
        triples = zip(self.request, divergence.tolist(), agreed.tolist(), strict=True)
        for number, value, agreement in triples:
            kl[number] += value
            same[number] += agreement
        return {n: Compared.of(score, kl[n], same[n]) for n, score in scores.items()}


def _beside(
    chunks: Iterable[Float[Tensor, "place d_vocab"]], whole: Iterable[Predictions] | None
) -> Iterator[tuple[Tensor, Predictions | None]]:
    if whole is None:
        yield from ((logits, None) for logits in chunks)
    else:
        yield from zip(chunks, whole, strict=True)

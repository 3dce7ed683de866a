"""What the whole model predicts at the scored positions, beside what an ablated one does there.

The Kullback-Leibler divergence of a position is the sum over the vocabulary of p (log p - log q),
where p is what the whole model predicts and q what the ablated one does, in nats; top-1 agreement
says whether both put the same token first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine.memory import fits
from interp.engine.replay import UNEMBED_ROWS, unembed
from interp.models import Decoder

Predictions = tuple[Float[Tensor, "place d_vocab"], Int[Tensor, " place"]]
"""Log-probabilities in nats, and the likeliest token."""


class Compared(tuple[float, bool]):
    """A score (`Score`), and how its predictions differ from those of the whole model.

    Attributes:
        kl: sum over the tokens of the divergence in nats.
        agreed: tokens at which both models put the same token first.
    """

    kl: float
    agreed: int

    @classmethod
    def of(cls, score: tuple[float, bool], kl: float, agreed: int) -> "Compared":
        """A score with what was compared."""
        made = cls(score)
        made.kl, made.agreed = kl, agreed
        return made


@dataclass(frozen=True, eq=False)
class WholeModel:
    """The unablated model at the places of a batch, or of several copies of it.

    Attributes:
        final: `[place, d_model]` what leaves its last block.
        kept: its predictions, where they fit in memory; else they are formed again.
        copies: how often the places follow each other.
    """

    final: Float[Tensor, "place d_model"]
    kept: Predictions | None
    copies: int = 1

    @classmethod
    def of(cls, decoder: Decoder, final: Float[Tensor, "place d_model"]) -> "WholeModel":
        """From the stream that leaves the last block of the unedited model."""
        kept = None
        if fits(decoder, len(final) * decoder.d_vocab * 4):
            parts = [predictions(logits) for logits in unembed(decoder, final)]
            kept = (torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
        return cls(final, kept)

    def times(self, copies: int) -> "WholeModel":
        """For a batch that holds so many copies of the rows under each other."""
        return replace(self, copies=copies)

    def chunks(self, decoder: Decoder) -> Iterator[Predictions]:
        """Predictions at the places, in order, as many at a time as `unembed` gives."""
        if self.kept is None:
            final = self.final.repeat(self.copies, 1)
            yield from (predictions(logits) for logits in unembed(decoder, final))
            return
        most = min(UNEMBED_ROWS, decoder.max_length)
        logprobs, first = self.kept
        if self.copies == 1:
            yield from zip(logprobs.split(most), first.split(most), strict=True)
            return
        places = torch.arange(self.copies * len(first), device=first.device) % len(first)
        yield from ((logprobs[some], first[some]) for some in places.split(most))


def predictions(logits: Float[Tensor, "place d_vocab"]) -> Predictions:
    """Log-probabilities in float32, and the likeliest token; the logits may be overwritten."""
    logits = logits.float()
    largest, first = logits.max(dim=-1)
    logits = logits.sub_(largest[:, None])
    return logits.sub_(logits.exp().sum(dim=-1, keepdim=True).log_()), first


def compared(
    whole: Predictions, other: Predictions
) -> tuple[Float[Tensor, " place"], Bool[Tensor, " place"]]:
    """Divergence from the whole model's predictions in nats, and whether the first tokens agree.

    Args:
        whole: of the whole model.
        other: of an ablated one at the same places.
    """
    p = whole[0].exp()
    # a token that the whole model excludes adds nothing, whatever the other gives it
    terms = torch.where(p == 0, 0.0, p * (whole[0] - other[0]))
    # rounding may leave a sum of nothing below zero
    return terms.sum(dim=-1).clamp(min=0).double(), whole[1] == other[1]

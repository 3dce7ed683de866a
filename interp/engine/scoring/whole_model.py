"""What the whole model predicts at the scored positions, beside what an ablated one does there.

The Kullback-Leibler divergence of a position is the sum over the vocabulary of p (log p - log q),
where p is what the whole model predicts and q what the ablated one does, in nats; top-1 agreement
says whether both put the same token first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.memory import fits
from interp.engine.replay import UNEMBED_ROWS, unembed
from interp.models import Decoder


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts at some places, ready to be compared with.

    Attributes:
        p: probabilities.
        first: the likeliest token.
        largest: its logit.
        mean: mean under `p` of the logits, the largest of which is 0.
        mass: sum of `p`, 1 but for rounding.
        total: log of the sum of the exponentials of these logits.
    """

    p: Float[Tensor, "place d_vocab"]
    first: Int[Tensor, " place"]
    largest: Float[Tensor, " place"]
    mean: Float[Tensor, " place"]
    mass: Float[Tensor, " place"]
    total: Float[Tensor, " place"]

    @classmethod
    def of(cls, logits: Float[Tensor, "place d_vocab"]) -> "Predictions":
        """From logits, which may be overwritten."""
        logits = logits.float()
        largest, first = logits.max(dim=-1)
        logits = logits.sub_(largest[:, None])
        p = logits.exp()
        sums = p.sum(dim=-1, keepdim=True)
        p = p.div_(sums)
        mean = weighted_mean(p, logits)
        return cls(p, first, largest, mean, p.sum(dim=-1), sums[:, 0].log())

    def at(self, places: Tensor | slice) -> "Predictions":
        """Those at some of the places."""
        return Predictions(*(getattr(self, entry.name)[places] for entry in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Several after each other."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def divergence(
        self, cross: Float[Tensor, " place"], total: Float[Tensor, " place"]
    ) -> Float[Tensor, " place"]:
        """Divergence of these predictions from others at the same places, in nats.

        Args:
            cross: mean under `p` of the others' logits, the largest of which is 0.
            total: log of the sum of the exponentials of these.
        """
        divergence = self.mean - cross + (total - self.total) * self.mass
        # rounding may leave a sum of nothing below zero
        return divergence.clamp(min=0)


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
        own: request number to its score; it differs in nothing from itself.
        copies: how often the places follow each other.
    """

    final: Float[Tensor, "place d_model"]
    kept: Predictions | None
    own: dict[int, tuple[float, bool]]
    copies: int = 1

    def times(self, copies: int) -> "WholeModel":
        """For a batch that holds so many copies of the rows under each other."""
        return replace(self, copies=copies)

    def chunks(self, decoder: Decoder) -> Iterator[Predictions]:
        """Predictions at the places, in order, as many at a time as `unembed` gives."""
        if self.kept is None:
            for logits in unembed(decoder, self.final.repeat(self.copies, 1)):
                yield Predictions.of(logits)
            return
        count, most = len(self.kept.first), min(UNEMBED_ROWS, decoder.max_length)
        if self.copies == 1:
            yield from (self.kept.at(slice(i, i + most)) for i in range(0, count, most))
            return
        places = torch.arange(self.copies * count, device=self.final.device) % count
        yield from (self.kept.at(part) for part in places.split(most))


def predictions_fit(decoder: Decoder, places: int) -> bool:
    """Whether what the whole model predicts at so many places may be kept."""
    return fits(decoder, places * decoder.d_vocab * 4)


def weighted_mean(
    p: Float[Tensor, "place d_vocab"], logits: Float[Tensor, "place d_vocab"]
) -> Float[Tensor, " place"]:
    """The mean of logits under probabilities; a token without probability adds nothing."""
    mean = torch.linalg.vecdot(p, logits)
    unread = mean.isnan()
    if unread.any():
        # some models give tokens that do not exist a logit of minus infinity
        terms = torch.where(p[unread] == 0, 0.0, p[unread] * logits[unread])
        mean[unread] = terms.sum(dim=-1)
    return mean

"""From logits to tokens: the largest logit, near ties made known; or seeded draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# where a token stands: number of the request, and of the token in its answer
Place = tuple[int, int]


@dataclass(frozen=True)
class Greedy:
    """The token of the largest logit.

    Attributes:
        tolerance: two logits that are closer than this could be in either order when they are
            computed in another order; 0 trusts the order that was found.
    """

    tolerance: float

    def __call__(
        self, logits: Float[Tensor, "rows d_vocab"], _places: Sequence[Place]
    ) -> list[tuple[int, bool]]:
        """For each row its token, and whether that is sure."""
        if self.tolerance == 0 or logits.shape[-1] < 2:
            return [(token, True) for token in logits.argmax(dim=-1).tolist()]
        two, tokens = logits.topk(2, dim=-1)
        # a comparison with NaN is false: then plain decoding decides
        sure = (two[:, 0].float() - two[:, 1].float() >= self.tolerance).tolist()
        return list(zip(tokens[:, 0].tolist(), sure, strict=True))


@dataclass(frozen=True)
class Sampled:
    """A draw from `softmax(logits / temperature)`, the same whatever else is in the batch.

    Each token has a random number of its own, made from the seed, the number of the request and
    the position (Philox, Salmon et al. 2011), and is the one at which the summed probabilities
    pass that number. A request that is given twice is drawn twice.

    Attributes:
        temperature: above 0.
        seed: of all draws.
    """

    temperature: float
    seed: int

    def __call__(
        self, logits: Float[Tensor, "rows d_vocab"], places: Sequence[Place]
    ) -> list[tuple[int, bool]]:
        """For each row its token; always sure."""
        share = torch.softmax(logits.double() / self.temperature, dim=-1).cumsum(dim=-1)
        drawn = [_uniform(self.seed, place) for place in places]
        wanted = torch.tensor(drawn, dtype=torch.float64, device=logits.device) * share[:, -1]
        tokens = torch.searchsorted(share, wanted[:, None], right=True)[:, 0]
        return [(token, True) for token in tokens.clamp(max=logits.shape[-1] - 1).tolist()]


def _uniform(seed: int, place: Place) -> float:
    request, position = place
    bits = np.random.Philox(key=seed, counter=[position, request, 0, 0])
    return float(np.random.Generator(bits).random())

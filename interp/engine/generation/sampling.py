"""From logits to tokens: the largest logit, or a seeded draw; what rounding may decide is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import TopKLogitsWarper, TopPLogitsWarper

from interp.engine.generation.noise import gumbel
from interp.engine.generation.stopping import FAILED
from interp.models import as_float64
from interp.tasks import GenerationRequest, Sampling

# where a token stands: number of the request, and of the token in its answer
AnswerPosition = tuple[int, int]
# numbers of random noise that are held at a time
AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Greedy:
    """The token of the largest logit.

    Attributes:
        tolerance: two logits that are closer than this could be in either order when they are
            computed in another order; 0 trusts the order that was found.
    """

    tolerance: float

    def __call__(
        self, logits: Float[Tensor, "rows d_vocab"], _positions: Sequence[AnswerPosition]
    ) -> list[tuple[int, bool]]:
        """For each row its token, `FAILED` where there is none, and whether that is sure."""
        if self.tolerance == 0 or logits.shape[-1] < 2:
            best = logits.argmax(dim=-1)
            return [(token, True) for token in finite_or_failed(logits, best).tolist()]
        two, tokens = logits.topk(2, dim=-1)
        # a comparison with NaN is false: then plain decoding decides
        sure = (two[:, 0].float() - two[:, 1].float() >= self.tolerance).tolist()
        return list(zip(finite_or_failed(logits, tokens[:, 0]).tolist(), sure, strict=True))


@dataclass(frozen=True, eq=False)
class Picking:
    """Each row's token as its request asks: the likeliest, or one drawn.

    A draw is the token whose logit over the temperature, plus Gumbel noise of its own, is the
    largest: that token has the probabilities of `softmax(logits / temperature)` (Gumbel 1954;
    Maddison et al., arXiv 1411.0030). The noise depends on the seed, the example, the draw, the
    position and the token alone, so that a draw is the same whatever else is in the batch, and
    every ablation is given the same: it draws another token only where its logits ask for one.

    Attributes:
        requests: what the positions number.
        tolerance: as for `Greedy`, in logits.
    """

    requests: Sequence[GenerationRequest]
    tolerance: float

    def __call__(
        self, logits: Float[Tensor, "rows d_vocab"], positions: Sequence[AnswerPosition]
    ) -> list[tuple[int, bool]]:
        """For each row its token, `FAILED` where there is none, and whether that is sure.

        A failure is never sure: zero times NaN is NaN, so that a row can be spoilt by columns of
        its batch that it does not attend to.
        """
        kinds: dict[Sampling | None, list[int]] = {}
        for row, (number, _) in enumerate(positions):
            kinds.setdefault(self.requests[number].sampling, []).append(row)
        picked: dict[int, tuple[int, bool]] = {}
        for sampling, rows in kinds.items():
            logits_of_kind = (
                logits if len(kinds) == 1 else logits[torch.tensor(rows, device=logits.device)]
            )
            positions_of_kind = [positions[row] for row in rows]
            if sampling is None:
                picks = Greedy(self.tolerance)(logits_of_kind, positions_of_kind)
            else:
                picks = self._drawn(logits_of_kind, positions_of_kind, sampling)
            picked.update(zip(rows, picks, strict=True))
        ordered = (picked[row] for row in range(len(positions)))
        return [(token, sure and token != FAILED) for token, sure in ordered]

    def settled(self, logits: Float[Tensor, " d_vocab"], position: AnswerPosition) -> int:
        """The token of one position from logits whose order counts as it is."""
        ((token, _),) = replace(self, tolerance=0.0)(logits[None], [position])
        return token

    def _drawn(
        self, logits: Tensor, positions: Sequence[AnswerPosition], sampling: Sampling
    ) -> list[tuple[int, bool]]:
        tokens: list[tuple[int, bool]] = []
        for part in logits.split(max(1, AT_ONCE // logits.shape[-1])):
            positions_of_part = positions[len(tokens) : len(tokens) + len(part)]
            places = [(self.requests[number], position) for number, position in positions_of_part]
            part = as_float64(part)
            noise = gumbel(
                sampling.seed,
                [(position, request.doc_id, request.draw) for request, position in places],
                part.shape[-1],
                part.device,
            )
            tokens += sampled_tokens(part, noise, sampling, self.tolerance)
        best = finite_or_failed(logits, logits.argmax(dim=-1)).tolist()
        return [
            (FAILED, False) if largest == FAILED else one
            for largest, one in zip(best, tokens, strict=True)
        ]


def finite_or_failed(logits: Tensor, largest: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """The tokens of the largest logits; `FAILED` where those are NaN or infinite.

    The largest of a row is NaN where any of its logits is, so that one number per row is looked at.

    Returns:
        Token ids, or `FAILED`, one per row.
    """
    finite = logits.gather(-1, largest[:, None])[:, 0].isfinite()
    return largest.where(finite, FAILED)


def choosing(
    requests: Sequence[GenerationRequest],
) -> Callable[[Tensor, Sequence[int], int], Tensor]:
    """How `plain_batches` picks tokens for a batch of these requests."""
    pick = Picking(requests, 0.0)

    def choose(logits: Tensor, rows: Sequence[int], step: int) -> Tensor:
        picked = pick(logits, [(row, step) for row in rows])
        return torch.tensor([token for token, _ in picked], device=logits.device)

    return choose


def sampled_tokens(
    logits: Float[Tensor, "rows d_vocab"],
    noise: Float[Tensor, "rows d_vocab"],
    sampling: Sampling,
    tolerance: float,
) -> list[tuple[int, bool]]:
    """For each row the token that the noise draws, and whether rounding cannot change it."""
    scores, margin = as_float64(logits) / sampling.temperature, tolerance / sampling.temperature
    allowed_tokens, sure = allowed(scores, sampling, margin)
    noisy = (scores + noise).masked_fill_(~allowed_tokens, -math.inf)
    if tolerance == 0 or logits.shape[-1] < 2:
        return [(token, True) for token in noisy.argmax(dim=-1).tolist()]
    two, tokens = noisy.topk(2, dim=-1)
    sure &= two[:, 0] - two[:, 1] >= margin
    return list(zip(tokens[:, 0].tolist(), sure.tolist(), strict=True))


def allowed(
    scores: Float[Tensor, "rows d_vocab"], sampling: Sampling, margin: float
) -> tuple[Bool[Tensor, "rows d_vocab"], Bool[Tensor, " rows"]]:
    """Which tokens may be drawn, as `transformers` says: top_k first, then top_p of these.

    Args:
        scores: logits over the temperature.
        sampling: top_k and top_p.
        margin: how much the difference of two scores may move.

    Returns:
        The tokens, and for each row whether they stay the same when scores move so.
    """
    allowed_tokens = torch.ones_like(scores, dtype=torch.bool)
    sure = allowed_tokens[:, 0].clone()
    # the warpers take the tokens so far, and do not look at them
    unused = torch.empty(0, dtype=torch.long)
    if sampling.top_k:
        allowed_tokens = TopKLogitsWarper(sampling.top_k)(unused, scores) > -math.inf
        sure &= _gap(scores, allowed_tokens) >= margin
    if sampling.top_p < 1:
        among = scores.masked_fill(~allowed_tokens, -math.inf)
        allowed_tokens = TopPLogitsWarper(sampling.top_p)(unused, among) > -math.inf
        sure &= _gap(scores, allowed_tokens) >= margin
        shares, threshold = among.softmax(dim=-1), 1 - sampling.top_p
        before = shares.masked_fill(allowed_tokens, 0).sum(dim=-1)
        total = before + shares.masked_fill(~allowed_tokens, 1).amin(dim=-1)
        # a share F of the probability moves by at most F (1 - F) (e^margin - 1)
        moved = math.expm1(margin) / 4
        sure &= (before == 0) | (threshold - before >= moved)
        sure &= total - threshold >= moved
    return allowed_tokens, sure


def _gap(scores: Tensor, kept: Tensor) -> Tensor:
    """From the largest score that is left out to the smallest that is kept; row by row."""
    smallest = scores.masked_fill(~kept, math.inf).amin(dim=-1)
    return smallest - scores.masked_fill(kept, -math.inf).amax(dim=-1)

"""Vectors of the residual stream, read through the model's final norm and unembedding.

The result is that of `transformer_lens.tools.analysis.logit_readout`, which keeps one selection per
call. Here several tokens per vector, entropy, divergence and agreement come from one pass over the
vocabulary, and only the requested entries are kept. The native model itself applies norm,
unembedding and caps, so that architectures whose readout that tool refuses can be read as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine import unembed
from interp.models import Decoder

LOGIT_ROWS = 512
"""The number of vectors whose logits are in memory at a time."""

Translate = Callable[[Tensor], Tensor]
"""From `[depth, vectors, d_model]` to the same shape: a tuned lens, before the final norm."""


@dataclass(frozen=True, eq=False)
class Readout:
    """What was read, as arrays of float64 or int64; log-probabilities are in nats.

    Attributes:
        logprob: log-probability of each requested token, in nats.
        rank: the rank of each requested token over the vocabulary: the number of strictly larger
            logits, 0 for the top.
        entropy: the entropy of each vector's prediction, in nats.
        kl: divergence of each vector's prediction from the last depth's,
            `KL(last depth || this depth)`, in nats.
        top_ids: the two tokens with the largest logits.
        top_logprobs: their log-probabilities.
        final_logprob: the final log-probability of the token that the last depth predicts.
        final_rank: the final rank of that token.
        finite: whether all logits of a vector are finite; the other entries are meaningless where
            not.
    """

    logprob: Float[np.ndarray, "depth reads"]
    rank: Int[np.ndarray, "depth reads"]
    entropy: Float[np.ndarray, "depth vectors"]
    kl: Float[np.ndarray, "depth vectors"]
    top_ids: Int[np.ndarray, "depth vectors two"]
    top_logprobs: Float[np.ndarray, "depth vectors two"]
    final_logprob: Float[np.ndarray, "depth vectors"]
    final_rank: Int[np.ndarray, "depth vectors"]
    finite: Bool[np.ndarray, "depth vectors"]


def read(
    decoder: Decoder,
    stack: Float[Tensor, "depth vectors d_model"],
    reads: Int[Tensor, "reads two"],
    *,
    translate: Translate | None = None,
) -> Readout:
    """Read every vector of a stack.

    Args:
        decoder: the modules of the model.
        stack: the residual stream at every depth; the last depth is the model's own prediction.
        reads: for each requested token, the number of its vector and the token's id.
        translate: a tuned lens; None is the plain lens.

    Returns:
        Log-probabilities (nats) and ranks of the requested tokens, and entropy and divergence of
        each vector, at every depth.
    """
    step = max(1, LOGIT_ROWS // len(stack))
    order = torch.argsort(reads[:, 0], stable=True)
    ordered = reads[order]
    readouts = []
    for start in range(0, stack.shape[1], step):
        chunk = stack[:, start : start + step]
        if translate is not None:
            chunk = translate(chunk)
        in_chunk = ordered[(ordered[:, 0] >= start) & (ordered[:, 0] < start + chunk.shape[1])]
        readouts.append(
            _read_chunk(logits_of(decoder, chunk), in_chunk[:, 0] - start, in_chunk[:, 1])
        )
    back = torch.argsort(order).cpu().numpy()
    joined = {name: np.concatenate([one[name] for one in readouts], axis=1) for name in readouts[0]}
    for name in ("logprob", "rank"):
        joined[name] = joined[name][:, back]
    return Readout(**joined)


NO_TOKEN = -1
"""The id in place of the likeliest token where logits are not finite."""


def logits_of(
    decoder: Decoder, stack: Float[Tensor, "depth vectors d_model"]
) -> Float[Tensor, "depth vectors d_vocab"]:
    """Logits of every vector, in float32."""
    flat = torch.cat(list(unembed(decoder, stack.flatten(end_dim=1)))).float()
    return flat.view(*stack.shape[:2], -1)


def _read_chunk(
    logits: Float[Tensor, "depth vectors d_vocab"],
    vectors: Int[Tensor, " reads"],
    tokens: Int[Tensor, " reads"],
) -> dict[str, np.ndarray]:
    logprobs = torch.log_softmax(logits, dim=-1)
    last = logprobs[-1]
    top = logprobs.topk(2, dim=-1)
    # argmax, not topk: among equal logits it takes the first, as greedy decoding does
    final = last.argmax(dim=-1)
    everyone = torch.arange(logits.shape[1], device=logits.device)
    return {
        "logprob": _array(logprobs[:, vectors, tokens]),
        "rank": _array(_ranks(logits, vectors, tokens)),
        "entropy": _array(-(logprobs.exp() * logprobs).nan_to_num().sum(dim=-1)),
        "kl": _array((last.exp() * (last - logprobs)).nan_to_num().sum(dim=-1).clamp(min=0)),
        "top_ids": _array(top.indices),
        "top_logprobs": _array(top.values),
        "final_logprob": _array(logprobs[:, everyone, final]),
        "final_rank": _array(_ranks(logits, everyone, final)),
        # a NaN or an infinity anywhere in a row of logits makes all its log-probabilities NaN
        "finite": top.values[..., 0].isfinite().cpu().numpy(),
    }


def _ranks(logits: Tensor, vectors: Tensor, tokens: Tensor) -> Tensor:
    # one requested token at a time would be slow, all at once would copy the vocabulary for each
    size = max(1, LOGIT_ROWS // len(logits))
    ranks = [
        (logits[:, v] > logits[:, v, t, None]).sum(dim=-1)
        for v, t in zip(vectors.split(size), tokens.split(size), strict=True)
    ]
    return torch.cat(ranks, dim=1) if ranks else logits.new_zeros(len(logits), 0).long()


def _array(values: Tensor) -> np.ndarray:
    values = values.cpu()
    return (values.double() if values.is_floating_point() else values.long()).numpy()

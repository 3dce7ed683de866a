"""Training that decides where in the depth of a model a skill lives.

*Layer dropout* skips layers at random, later ones more often, so that no layer is needed alone
(LayerSkip, Elhoushi et al., 2404.16710). *Layouts* force an order on two groups of skills: one is
learned by the first layers alone, with a loss on what they predict through the shared unembedding
(early exit), the other by the last layers alone, while those before them are frozen.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Family:
    """Kinds of document that are trained in batches of their own.

    Attributes:
        mix: the share of each kind.
        share: the share of the batches that are of this family.
        learns: the layers that learn from it, as a range.
        exit_after: how many layers an early exit runs before it predicts the answer; None for none.
    """

    mix: dict[str, float]
    share: float
    learns: range
    exit_after: int | None = None


def families_of(
    mix: dict[str, float],
    n_layers: int,
    *,
    early: tuple[str, ...] = (),
    early_until: int = 0,
    late: tuple[str, ...] = (),
    late_from: int = 0,
    learns_from: int = 0,
) -> list[Family]:
    """Split a mix into the families that a layout asks for.

    Args:
        mix: share of each kind of document.
        n_layers: the number of layers of the model.
        early: kinds that the layers before `early_until` learn alone, with an early exit there.
        early_until: the first layer that does not learn them.
        late: kinds that the layers from `late_from` on learn alone.
        late_from: the first layer that learns them.
        learns_from: the first layer that learns from kinds of neither group.

    Returns:
        The families that have documents.
    """
    others = range(learns_from, n_layers)
    groups = [
        ({k: s for k, s in mix.items() if k in early}, range(early_until), early_until),
        ({k: s for k, s in mix.items() if k in late}, range(late_from, n_layers), None),
        ({k: s for k, s in mix.items() if k not in (*early, *late)}, others, None),
    ]
    total = sum(mix.values())
    return [
        Family(kinds, sum(kinds.values()) / total, learns, exit_after)
        for kinds, learns, exit_after in groups
        if kinds
    ]


def dropout_rates(n_layers: int, highest: float) -> list[float]:
    """How often each layer is skipped: 0 for the first, `highest` for the last.

    The rate grows as 2^(l / (L - 1)) - 1, as in LayerSkip (equation 1).
    """
    last = max(n_layers - 1, 1)
    return [highest * (math.exp(layer * math.log(2) / last) - 1) for layer in range(n_layers)]


@contextmanager
def some_layers_skipped(
    model: LlamaForCausalLM, highest: float, rng: random.Random
) -> Iterator[None]:
    """Skip each layer with its rate while the block runs; a rate of 0 draws nothing."""
    if highest == 0:
        yield
        return
    layers = model.model.layers
    rates = dropout_rates(len(layers), highest)
    kept = [x for x, rate in zip(layers, rates, strict=True) if rng.random() >= rate]
    model.model.layers = nn.ModuleList(kept)
    try:
        yield
    finally:
        model.model.layers = layers


@contextmanager
def only_layers_learn(model: LlamaForCausalLM, learns: range) -> Iterator[None]:
    """Freeze all layers that are not in a range while the block runs; the rest is as it was."""
    frozen = [
        parameter
        for at, layer in enumerate(model.model.layers)
        if at not in learns
        for parameter in layer.parameters()
        if parameter.requires_grad
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def logits_of(
    model: LlamaForCausalLM,
    ids: Int[Tensor, "batch pos"],
    *,
    exit_after: int | None,
    learns_from: int = 0,
) -> list[Float[Tensor, "batch pos d_vocab"]]:
    """What a model predicts after its last layer and, where one is asked for, at an early exit.

    Args:
        model: the model.
        ids: token ids.
        exit_after: how many layers run before the early exit; None for no exit.
        learns_from: no gradient goes further down than this layer; the embedding learns as
            unembedding only, where it is not 0.

    Returns:
        Logits of the last layer, then those of the exit through the model's own final norm and
        unembedding.
    """
    embedded = model.model.embed_tokens(ids)
    embedded = embedded.detach() if learns_from > 0 else embedded
    if exit_after is None:
        return [model(inputs_embeds=embedded, use_cache=False).logits]
    out = model(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
    return [out.logits, model.lm_head(model.model.norm(out.hidden_states[exit_after]))]

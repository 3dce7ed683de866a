"""Resample ablation: what a part computes on another example, for `head:7.3@resample`.

The ablated run keeps its own tokens; only what the part gives is that of another example, the
donor (Chan et al. 2022, "Causal scrubbing"; Heimersheim & Nanda, arXiv 2404.15255). Examples differ
in length, so positions are counted from the prompts' ends: the last position of a prompt takes what
the donor's last prompt position had. Where the donor has no such position, its first or its last is
taken.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.edits import Place
from interp.errors import UserError
from interp.models import (
    Decoder,
    capture_contributions,
    capture_z,
    hidden_states_of,
    stopped_before_readout,
)

Outputs = Mapping[Place, Float[Tensor, "_ _ _"]]
"""Place to z `[batch, pos, head * d_head]`, or to what a part adds `[batch, pos, d_model]`.

Positions count from the start of the row.
"""


def draw_donors(doc_ids: Sequence[int], *, seed: int, part: int = 0) -> dict[int, int]:
    """Another example for each example: a seeded permutation in one cycle (Sattolo 1986).

    The donors form one cycle: no example is its own donor, and each is the donor of one other.

    Args:
        doc_ids: the examples of a task.
        seed: the seed of the draw; the same examples and seed give the same donors.
        part: the part of a task whose examples are several cycles, drawn independently.

    Returns:
        The donor's number for the number of each example.

    Raises:
        UserError: there is only one example.
    """
    if len(doc_ids) < 2:
        raise UserError("@resample: another example is needed; give a task with two or more")
    rng, order = np.random.default_rng([seed, 2, part]), list(doc_ids)
    for last in range(len(order) - 1, 0, -1):
        position = int(rng.integers(last))
        order[last], order[position] = order[position], order[last]
    return dict(zip(doc_ids, order, strict=True))


def outputs_on(
    model: TransformerBridge,
    tokens: Sequence[int],
    places: Iterable[Place],
    *,
    before: transformers.DynamicCache | None = None,
) -> dict[Place, Float[Tensor, "pos _"]]:
    """What heads, blocks and sublayers give on one sequence, at all positions.

    Args:
        model: the unablated model.
        tokens: one sequence; what exceeds the context length is cut on the left.
        places: which layers, and what of them.
        before: keys and values of what the sequence begins with, one row; they are grown.

    Returns:
        Place to z `[pos, head * d_head]` of the layer's heads, to what the part adds to the
        residual stream `[pos, d_model]`, or to the stream that enters the block; NaN at the
        positions that `before` holds.
    """
    decoder = models.decoder(model)
    wanted, outputs = set(places), dict[Place, Tensor]()

    def keep(place: Place, rows: Tensor) -> None:
        if place in wanted:
            outputs[place] = rows

    last_tokens, layers = list(tokens)[-decoder.max_length :], {layer for layer, _ in wanted}
    n_cached = before.get_seq_length() if before is not None else 0
    arguments = {"past_key_values": before} if n_cached else {}
    with (
        torch.no_grad(),
        stopped_before_readout(decoder, lambda resid: None),
        _entering(decoder, [n for n, site in wanted if site == "resid"], keep),
        capture_z(decoder, layers, lambda layer, z: keep((layer, "z"), z[0])),
        capture_contributions(decoder, layers, lambda layer, part, rows: keep((layer, part), rows)),
    ):
        ids = torch.tensor([last_tokens[n_cached:]], device=decoder.device)
        decoder.root(input_ids=ids, use_cache=bool(n_cached), **arguments)
    if not n_cached:
        return outputs
    return {
        place: torch.cat([rows.new_full((n_cached, rows.shape[1]), torch.nan), rows])
        for place, rows in outputs.items()
    }


@contextmanager
def _entering(
    decoder: Decoder, layers: Iterable[int], keep: Callable[[Place, Tensor], None]
) -> Iterator[None]:
    """Inside the context, `keep` is called with the residual stream that enters some blocks."""
    with ExitStack() as stack:
        for layer in layers:

            def look(
                _block: Any, args: tuple[Any, ...], kwargs: dict[str, Any], layer: int = layer
            ) -> None:
                keep((layer, "resid"), hidden_states_of(args, kwargs)[0])

            handle = decoder.blocks[layer].register_forward_pre_hook(look, with_kwargs=True)
            stack.callback(handle.remove)
        yield


def aligned(
    z: Float[Tensor, "donor_pos width"], *, end: int, donor_end: int, length: int
) -> Float[Tensor, "pos width"]:
    """The donor's z laid over a row, so that position `end` takes the donor's `donor_end`.

    Args:
        z: the donor's z.
        end: last prompt position of the row.
        donor_end: last prompt position of the donor.
        length: positions of the row.

    Returns:
        `length` positions. Before the start of the donor its first position is repeated.
        After its end its last one is.
    """
    places = torch.arange(length, device=z.device) + (donor_end - end)
    return z[places.clamp(0, len(z) - 1)]

"""The residual stream under the ragged attention, run as in decoding: for trying it out."""

import inspect

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.generation.ragged import RaggedCache, SharedKeys, attending
from interp.engine.prefix import record_prefix
from interp.engine.replay import record
from interp.models import Decoder


def replaceable(decoder: Decoder) -> bool:
    """Whether the model says that its attention function can be exchanged."""
    root = decoder.root
    takes_positions = "position_ids" in inspect.signature(root.forward).parameters
    can_set = getattr(root, "_can_set_attn_implementation", lambda: False)
    numbered = all(hasattr(module, "layer_idx") for module in decoder.attentions) and all(
        parts.mixers == ("attn",) for parts in decoder.parts
    )
    implementation = getattr(root.config, "_attn_implementation", None)
    return takes_positions and numbered and implementation in ("sdpa", "eager") and bool(can_set())


def ragged_residuals(
    decoder: Decoder, ids: Int[Tensor, "two pos"], n_prefix: int
) -> Float[Tensor, "two own d_model"]:
    """What leaves the last block after the prefix, of two rows under the ragged attention.

    Some tokens run together, some at different columns of the two rows, some twice.

    Args:
        decoder: the modules of the model.
        ids: two rows that start with the same `n_prefix` tokens and have 13 of their own.
        n_prefix: tokens of the shared prefix.

    Returns:
        The vectors at the 13 tokens of each row, `[2, 13, d_model]`.

    Raises:
        ValueError: the model keeps no keys and values that could be shared.
    """
    n_own = ids.shape[1] - n_prefix
    cache = RaggedCache(decoder.n_layers, 2, n_own, offset=n_prefix)
    prefix = record_prefix(decoder, ids[0, :n_prefix].tolist())
    layers = prefix.cache.layers
    if len(layers) != decoder.n_layers or any(
        cache_layer.keys is None or cache_layer.keys.ndim != 4 for cache_layer in layers
    ):
        raise ValueError("a layer keeps no keys and values of its own")
    cache.share([SharedKeys(cache_layer.keys[0], cache_layer.values[0]) for cache_layer in layers])
    after_prefix = ids[:, n_prefix:]
    columns = torch.arange(n_own, device=decoder.device)
    pieces = [columns[None, :6], torch.stack([columns[4:8], columns[6:10]])]
    pieces += [torch.stack([columns[i : i + 1], columns[i + 2 : i + 3]]) for i in (8, 9, 10)]
    pieces += [torch.stack([columns[11:13], columns[11:13]])]
    residuals: list[list[Tensor]] = [[torch.empty(0)] * n_own for _ in range(2)]
    for piece in pieces:
        cache.place(piece)
        index = piece.expand(2, -1)
        with attending(decoder, cache):
            run = record(
                decoder,
                after_prefix.gather(1, index),
                position_ids=piece + n_prefix,
                past_key_values=cache,
                use_cache=True,
            )
        for row in range(2):
            for at, column in enumerate(index[row].tolist()):
                residuals[row][column] = run.residuals[-1][row, at]
    return torch.stack([torch.stack(row) for row in residuals])

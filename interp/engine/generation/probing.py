"""Whether a model's attention can be replaced by that of `ragged`, and by how much results move.

Found out by trying it on the model itself, once: an architecture that does something else in its
attention (ALiBi, attention sinks, a wrapper of its own) gives other logits, and is then decoded by
the plain path.
"""

import inspect
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from interp.engine.generation.ragged import RaggedCache, SharedKeys, attending
from interp.engine.prefix import record_prefix
from interp.models import Decoder

PREFIX, OWN = 11, 13
# relative to the largest logit; rounding is three orders of magnitude below, another mask above
LARGEST = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}

_noise: "WeakKeyDictionary[Decoder, float | None]" = WeakKeyDictionary()


def rounding(parts: Decoder) -> float | None:
    """The largest difference to the model's own logits; None where it is no mere rounding."""
    if parts not in _noise:
        try:
            _noise[parts] = _measured(parts) if _replaceable(parts) else None
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
            # an architecture that cannot even be called so; the plain path serves it
            _noise[parts] = None
    return _noise[parts]


def _replaceable(parts: Decoder) -> bool:
    root = parts.root
    takes_positions = "position_ids" in inspect.signature(root.forward).parameters
    can_set = getattr(root, "_can_set_attn_implementation", lambda: False)
    numbered = all(hasattr(module, "layer_idx") for module in parts.attentions)
    implementation = getattr(root.config, "_attn_implementation", None)
    return takes_positions and numbered and implementation in ("sdpa", "eager") and bool(can_set())


def _measured(parts: Decoder) -> float | None:
    if parts.max_length < PREFIX + OWN + 1:
        return None
    size = int(parts.root.config.get_text_config().vocab_size)
    ids = torch.arange(2 * (PREFIX + OWN), device=parts.device) * 7919 % size
    ids = ids.view(2, -1)
    ids[1, :PREFIX] = ids[0, :PREFIX]
    with torch.no_grad():
        expected = parts.root(input_ids=ids, use_cache=False).logits.float()
        found = _by_pieces(parts, ids).float()
    difference = (found - expected[:, PREFIX:]).abs().max().item()
    largest = LARGEST.get(next(parts.root.parameters()).dtype, 1e-4)
    return difference if difference <= largest * expected.abs().max().item() else None


def _by_pieces(parts: Decoder, ids: Tensor) -> Tensor:
    """Logits behind the prefix: some tokens together, some not aligned, some run twice."""
    cache = RaggedCache(parts.n_layers, 2, OWN, offset=PREFIX)
    prefix = record_prefix(parts, ids[0, :PREFIX].tolist())
    layers = prefix.cache.layers
    if any(kept.keys is None or kept.keys.ndim != 4 for kept in layers):
        return torch.full((2, OWN, 1), torch.inf)
    cache.share([SharedKeys(kept.keys[0], kept.values[0]) for kept in layers])
    own = ids[:, PREFIX:]
    columns = torch.arange(OWN, device=parts.device)
    pieces = [columns[None, :6], torch.stack([columns[4:8], columns[6:10]])]
    pieces += [torch.stack([columns[i : i + 1], columns[i + 2 : i + 3]]) for i in (8, 9, 10)]
    pieces += [torch.stack([columns[11:13], columns[11:13]])]
    found: list[list[Tensor]] = [[torch.empty(0)] * OWN for _ in range(2)]
    for piece in pieces:
        cache.place(piece)
        index = piece.expand(2, -1)
        with attending(parts, cache):
            logits = parts.root(
                input_ids=own.gather(1, index),
                position_ids=piece + PREFIX,
                past_key_values=cache,
                use_cache=True,
            ).logits
        for row in range(2):
            for at, column in enumerate(index[row].tolist()):
                found[row][column] = logits[row, at]
    return torch.stack([torch.stack(row) for row in found])

"""The last block computes only what is read behind it.

Behind the last block nothing is read but the positions whose logits are wanted. Its attention
needs every position's keys and values; its output projection and its MLP, most of a block's
arithmetic, need only those positions. Behind a prefix that is kept as keys and values nothing is
read at all. Whether a model's modules can be run so is tried on the model itself, once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Int
from torch import Tensor, nn

from interp.ablations import forward_replaced
from interp.engine.replay import record, run_block
from interp.models import Decoder

# largest difference of a residual vector, relative to its length, that is rounding
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}

_narrows: "WeakKeyDictionary[Decoder, bool]" = WeakKeyDictionary()


@contextmanager
def only_at(
    parts: Decoder, layer: int, rows: Int[Tensor, " place"], columns: Int[Tensor, " place"]
) -> Iterator[None]:
    """Inside the context, a block's output projection and MLP are computed at some places only.

    What leaves the block is right there and means nothing elsewhere. Hooks of the two modules see
    what they always see, zeros where nothing was computed.

    Args:
        parts: the modules of the model; `narrows(parts)` must hold.
        layer: which block.
        rows: row of each place in the batch.
        columns: position of each place in its row.
    """
    with (
        _narrow(parts.output_projections[layer], rows, columns),
        _narrow(parts.mlps[layer], rows, columns),
    ):
        yield


@contextmanager
def _narrow(module: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[None]:
    inner = module.forward

    def forward(x: Tensor) -> Tensor:
        if x.ndim == 3:
            at = rows.to(x.device), columns.to(x.device)
            some = inner(x[at][None])
            out = some.new_zeros(*x.shape[:2], some.shape[-1])
            out[at] = some[0]
            return out
        raise TypeError(f"an input of {x.ndim} axes has no positions")

    with forward_replaced(module, forward):
        yield


def narrows(parts: Decoder) -> bool:
    """Whether the last block gives the same at a place when it is computed there only.

    Tried once, on random tokens. It is not so where the MLP takes the residual stream beside its
    input (BLOOM) or sees rows and positions as one axis (OPT).
    """
    if parts not in _narrows:
        generator = torch.Generator().manual_seed(0)
        vocabulary = parts.root.config.get_text_config().vocab_size
        ids = torch.randint(vocabulary, (2, 5), generator=generator).to(parts.device)
        whole, last = record(parts, ids, use_cache=False), parts.n_layers - 1
        rows = torch.tensor([0, 1, 1], device=parts.device)
        columns = torch.tensor([4, 0, 3], device=parts.device)
        try:
            with only_at(parts, last, rows, columns):
                found = run_block(parts, last, whole.residuals[last], whole)[rows, columns]
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            _narrows[parts] = False
        else:
            _narrows[parts] = close(found, whole.residuals[-1][rows, columns])
    return _narrows[parts]


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether residual vectors `[..., d_model]` differ by rounding only."""
    tolerance = TOLERANCE.get(found.dtype, 1e-4)
    difference = (found - expected).float().norm(dim=-1)
    return bool((difference <= tolerance * expected.float().norm(dim=-1)).all())

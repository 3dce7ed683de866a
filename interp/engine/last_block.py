"""The last block computes only what is read after it.

After the last block only the positions whose logits are wanted are read. Its attention needs every
position's keys and values. Its output projection and its MLP, most of a block's arithmetic, need
only those positions. Of a prefix that is kept as keys and values, no position is read at all.
Whether a model's modules can be run so is tried on the model itself (`capabilities.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Int
from torch import Tensor, nn

from interp.ablations import forward_replaced
from interp.models import Decoder


@contextmanager
def compute_at_positions(
    decoder: Decoder, layer: int, rows: Int[Tensor, " place"], columns: Int[Tensor, " place"]
) -> Iterator[None]:
    """Inside the context, a block's output projection and MLP are computed at some places only.

    What leaves the block is right there and means nothing elsewhere. Hooks of the two modules see
    what they always see, zeros where nothing was computed.

    Args:
        decoder: the modules of a model whose last block can be run so (`Capabilities`).
        layer: which block.
        rows: row of each place in the batch.
        columns: position of each place in its row.

    Yields:
        None; the block computes at all positions afterwards.
    """
    with (
        _narrow(decoder.output_projections[layer], rows, columns),
        _narrow(decoder.mlps[layer], rows, columns),
    ):
        yield


@contextmanager
def _narrow(module: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[None]:
    inner = module.forward

    def forward(x: Tensor) -> Tensor:
        if x.ndim == 3:
            at = rows.to(x.device), columns.to(x.device)
            attended = inner(x[at][None])
            out = attended.new_zeros(*x.shape[:2], attended.shape[-1])
            out[at] = attended[0]
            return out
        raise TypeError(f"an input of {x.ndim} axes has no positions")

    with forward_replaced(module, forward):
        yield

"""Different ablations in one batch: each row skips its own layer, or loses its own heads.

A block runs for all rows, and the rows that skip it keep the residual stream that entered it; a
block that every row skips is not run. What an ablation does to a row does not depend on the others.
How each kind of edit is carried out in some rows stands in `interp.ablations.kinds`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from interp.ablations import (
    SWAPS,
    Activations,
    EditKind,
    Edits,
    Means,
    Rows,
    function_or_refusal,
    kinds_of,
)
from interp.models import Decoder

LayerRows = tuple[tuple[EditKind, Rows], ...]
"""What happens in one layer: kinds of edits, and the rows in which each acts."""


def can_share_batch(edits: Edits) -> bool:
    """Whether an ablation can share a batch with others: a donor's weights are not a row's."""
    kinds = (kind for edit in edits.values() for kind in kinds_of(edit))
    return not any(isinstance(kind.on_rows, str) for kind in kinds)


def plan_rows(edits: Sequence[Edits], decoder: Decoder) -> dict[int, LayerRows]:
    """The edits of each row, sorted by layer and kind; a donor's weights are left to `edited`.

    Returns:
        Layer to what changes there; only layers in which some row is edited.

    Raises:
        UserError: a kind of edit that cannot be carried out in some rows alone.
    """
    layer_rows: dict[int, LayerRows] = {}
    for layer in sorted({layer for edit in edits for layer in edit}):
        edits_of_layer = [edit.get(layer) for edit in edits]
        kinds = [[] if edit is None else kinds_of(edit) for edit in edits_of_layer]
        layer_rows[layer] = tuple(
            (kind, Rows.of(
                [e if kind in k else None for e, k in zip(edits_of_layer, kinds, strict=True)],
                decoder.device_of(layer),
            ))
            for kind in dict.fromkeys(kind for kinds_of_row in kinds for kind in kinds_of_row)
            if kind is not SWAPS
        )  # fmt: skip
        for kind, _ in layer_rows[layer]:
            function_or_refusal(kind.on_rows, layer)
    return layer_rows


@contextmanager
def rows_edited(
    decoder: Decoder, plan: dict[int, LayerRows], means: Means | None
) -> Iterator[None]:
    """Inside the context each row of a batch computes as its own edits say."""
    activations = Activations(means)
    with ExitStack() as stack:
        for layer, kinds in plan.items():
            for kind, rows in kinds:
                on_rows = function_or_refusal(kind.on_rows, layer)
                stack.enter_context(on_rows(decoder, layer, rows, activations))
        yield

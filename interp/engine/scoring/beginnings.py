"""Ablations that begin alike share their beginning.

Two sets of layers that agree below some layer have the same residual stream up to it. So what
several ablations begin with is carried out once, and each goes on alone from the layer at which it
differs: greedy removal, pairs of layers and coalitions of layers run half of the blocks that they
would each by itself.
"""

from collections.abc import Sequence

from interp.ablations import Edits


def edited_from(edits: Edits, layer: int, n_layers: int) -> int:
    """The first layer from `layer` on that changes; `n_layers` where none does.

    Args:
        edits: what an ablation changes.
        layer: the first layer that is asked about.
        n_layers: of the model.

    Returns:
        A layer, or `n_layers`.
    """
    return min((at for at in edits if at >= layer), default=n_layers)


def up_to(edits: Edits, layer: int) -> Edits:
    """What an ablation changes in the layers up to and with one."""
    return Edits({at: edit for at, edit in edits.items() if at <= layer})


def ends_at(edits: Edits, layer: int) -> bool:
    """Whether an ablation changes a layer and none after it, nor the order of layers."""
    return max(edits, default=-1) == layer and not (edits.is_program or edits.is_scoped)


def worth_sharing(members: Sequence[Edits], layer: int, n_layers: int) -> bool:
    """Whether a shared beginning saves more blocks than it costs.

    The streams of the examples go on from `layer` to the last layer at which one of the ablations
    differs, those of a prefix to the end.

    Args:
        members: ablations that change `layer` in the same way.
        layer: the layer.
        n_layers: of the model.

    Returns:
        True where blocks are saved for the examples and for the prefix.
    """
    saved = [edited_from(edit, layer + 1, n_layers) - layer for edit in members]
    return sum(saved) > max(saved) and sum(saved) > n_layers - layer


def shared_beginnings(
    ablations: Sequence[Edits], layer: int, n_layers: int
) -> tuple[list[list[Edits]], list[Edits]]:
    """Ablations that change a layer in the same way, and those that are better run alone.

    Args:
        ablations: they agree on all layers below, and each changes this layer or nothing from
            it on.
        layer: the layer.
        n_layers: of the model.

    Returns:
        Groups of two and more, and the other ablations.
    """
    alike: dict[Edits, list[Edits]] = {}
    for edit in ablations:
        if layer in edit and not (edit.is_program or edit.is_scoped or ends_at(edit, layer)):
            alike.setdefault(Edits({layer: edit[layer]}), []).append(edit)
    groups = [members for members in alike.values() if worth_sharing(members, layer, n_layers)]
    shared = {edit for members in groups for edit in members}
    return groups, [edit for edit in ablations if edit not in shared]

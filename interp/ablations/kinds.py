"""How each kind of edit is carried out: on the bridge, on native blocks, on rows of a batch.

`KINDS` is the one table. A new kind of edit is a field of `LayerEdit` and one entry here; where an
entry holds a text instead of a function, that way cannot carry the kind out, and says so.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations.activations import Activations, Rows
from interp.ablations.cut_attention import cut_on_blocks, cut_on_bridge
from interp.ablations.edits import LayerEdit
from interp.ablations.expert_routing import (
    experts_off,
    experts_off_at_positions,
    experts_off_in_rows,
)
from interp.ablations.native_hooks import (
    Where,
    block_skipped,
    block_skipped_in,
    hooked_after,
    in_rows,
    replace_heads,
)
from interp.ablations.patched_blocks import patched_on_blocks, patched_on_bridge
from interp.ablations.places import Places
from interp.ablations.positions_of_hooks import told_positions
from interp.ablations.replaced_parts import (
    fitted_at_positions,
    fitted_on_blocks,
    fitted_on_bridge,
    fitted_on_rows,
    resample_on_blocks,
    resample_on_bridge,
)
from interp.ablations.resampled_heads import (
    resample_heads_on_blocks,
    resample_heads_on_bridge,
)
from interp.ablations.side_by_side import (
    side_by_side_on_blocks,
    side_by_side_on_bridge,
    side_by_side_on_rows,
)
from interp.ablations.skipped_parts import (
    attention_off,
    attention_on_bridge,
    mlp_off,
    mlp_on_bridge,
    skip_on_bridge,
    skip_on_rows,
)
from interp.ablations.value_checks import function_or_refusal
from interp.ablations.weights import swapped
from interp.errors import UserError
from interp.models import Decoder

Hook = Callable[..., Tensor | None]
HookPairs = Sequence[tuple[str, Hook]]


OnBridge = Callable[[TransformerBridge, int, LayerEdit, Activations], HookPairs]
OnBlocks = Callable[[TransformerBridge, int, LayerEdit, Activations], AbstractContextManager[Any]]
OnRows = Callable[[Decoder, int, Rows, Activations], AbstractContextManager[Any]]
OnPositions = Callable[[Decoder, int, LayerEdit, Where, Activations], AbstractContextManager[Any]]


@dataclass(frozen=True)
class EditKind:
    """One kind of edit, and four ways to carry it out; a text says why there is none.

    Attributes:
        fields: the fields of `LayerEdit` that it carries out.
        on_bridge: model, layer, edit and activations to hooks for `model.hooks`.
        on_blocks: the same to a context inside which the native block is edited.
        on_rows: decoder, layer, rows and activations to a context inside which the native block is
            edited in these rows.
        on_positions: decoder, layer, edit, positions and activations to a context inside which the
            native block is edited at these positions.
        weights: for bridge and native blocks alike, a context inside which other weights stand.
    """

    fields: tuple[str, ...]
    on_bridge: OnBridge | str
    on_blocks: OnBlocks | str
    on_rows: OnRows | str
    on_positions: OnPositions | str
    weights: Callable[[TransformerBridge, int, LayerEdit], AbstractContextManager[Any]] | None = (
        None
    )

    def acts_in(self, edit: LayerEdit) -> bool:
        """Whether an edit has something of this kind."""
        return any(getattr(edit, name) for name in self.fields)


def kinds_of(edit: LayerEdit) -> list[EditKind]:
    """The kinds of edit in one layer; where the block is not run, only hooks act beside that.

    Args:
        edit: what changes in one layer.

    Returns:
        The kinds, in the order of `KINDS`.
    """
    if not edit.runs_block:
        fitted = edit.linear or "layer" in edit.mean_parts
        replaced = FITTED_PARTS if fitted else RESAMPLE_PARTS
        return [SKIP if edit.skip else replaced, *([HOOKS] if edit.hooks else [])]
    return [kind for kind in KINDS if kind.acts_in(edit)]


def _heads_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> HookPairs:
    decoder = models.decoder(model)
    mean = given.mean(decoder, layer)

    def replaced(z: Tensor, hook: Any) -> Tensor:
        shape = z.shape
        z = z.clone().view(*shape[:2], decoder.n_heads, -1)
        z[:, :, sorted(edit.zero_heads)] = 0
        if mean is not None:
            for head in edit.mean_heads:
                z[:, :, head] = mean[head]
        return z.view(shape)

    return [(decoder.hook_of_z(layer), replaced)]


def _heads_on_blocks(
    decoder: Decoder, layer: int, groups: Sequence[Any], given: Activations
) -> AbstractContextManager[Any]:
    hook = replace_heads(groups, given.mean(decoder, layer), decoder.n_heads)
    stack = ExitStack()
    stack.callback(decoder.output_projections[layer].register_forward_pre_hook(hook).remove)
    return stack


def _heads_at_positions(
    decoder: Decoder, layer: int, edit: LayerEdit, where: Where, given: Activations
) -> AbstractContextManager[Any]:
    replaced = replace_heads([(slice(None), edit)], given.mean(decoder, layer), decoder.n_heads)

    def hook(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].flatten(start_dim=2)
        replaced_z, *_ = replaced(module, (z,))
        return (in_rows(where, replaced_z, z).view_as(args[0]), *args[1:])

    stack = ExitStack()
    stack.callback(decoder.output_projections[layer].register_forward_pre_hook(hook).remove)
    return stack


@contextmanager
def _scoped_on_blocks(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> Iterator[None]:
    decoder, places = models.decoder(model), _places(edit, layer, given)
    with ExitStack() as stack:
        for scope, inner in edit.scoped:
            where = partial(places.inside, scope)
            for kind in kinds_of(inner):
                at_positions = function_or_refusal(kind.on_positions, layer)
                stack.enter_context(at_positions(decoder, layer, inner, where, given))
        yield


def _scoped_on_bridge(
    model: TransformerBridge, layer: int, edit: LayerEdit, given: Activations
) -> HookPairs:
    places, hooks = _places(edit, layer, given), list[tuple[str, Hook]]()
    for scope, inner in edit.scoped:
        where = partial(places.inside, scope)
        for kind in kinds_of(inner):
            pairs = function_or_refusal(kind.on_bridge, layer)(model, layer, inner, given)
            hooks += [(point, partial(_hook_at, where, hook)) for point, hook in pairs]
    return hooks


def _hook_at(where: Where, replaced: Hook, value: Tensor, hook: Any) -> Tensor | None:
    replaced_value = replaced(value, hook=hook)
    return None if replaced_value is None else in_rows(where, replaced_value, value)


def _places(edit: LayerEdit, layer: int, given: Activations) -> Places:
    if given.places is None:
        raise UserError(
            f"layer {layer}: @@{edit.scoped[0][0]} needs to know where a prompt ends; use a sweep, "
            "or interp.generate"
        )
    return given.places


@contextmanager
def _donor_weights(model: TransformerBridge, layer: int, edit: LayerEdit) -> Iterator[None]:
    with ExitStack() as stack:
        for part, donor in edit.swaps:
            stack.enter_context(swapped(model, donor, layer, part))
        yield


ONE_OTHER_EXAMPLE = "@resample takes one other example for all rows of a batch"
ANOTHER_EVERYWHERE = "another example stands at every position; @resample has no scope"
PROGRAM_EVERYWHERE = "a layer program holds at every position; it has no scope"
WEIGHTS_OF_A_BATCH = "a donor's weights hold for all rows of a batch"
NATIVE_BLOCKS_SEE_NO_HOOKS = (
    "hooks of your own do not reach the native blocks; use `with interp.ablate(...)`, "
    "interp.generate or a sweep"
)

SKIP = EditKind(
    ("skip",),
    on_bridge=skip_on_bridge,
    on_blocks=lambda model, layer, edit, given: block_skipped(models.decoder(model), layer),
    on_rows=skip_on_rows,
    on_positions=lambda decoder, layer, edit, where, given: hooked_after(
        decoder.blocks[layer],
        block_skipped_in(where, streams_first=decoder.streams_first),
    ),
)
SKIP_ATTENTION = EditKind(
    ("skip_attention",),
    on_bridge=attention_on_bridge,
    on_blocks=lambda model, layer, edit, given: attention_off(models.decoder(model), layer, None),
    on_rows=lambda decoder, layer, rows, given: attention_off(decoder, layer, rows.mask),
    on_positions=lambda decoder, layer, edit, where, given: attention_off(decoder, layer, where),
)
SKIP_MLP = EditKind(
    ("skip_mlp",),
    on_bridge=mlp_on_bridge,
    on_blocks=lambda model, layer, edit, given: mlp_off(models.decoder(model), layer, None),
    on_rows=lambda decoder, layer, rows, given: mlp_off(decoder, layer, rows.mask),
    on_positions=lambda decoder, layer, edit, where, given: mlp_off(decoder, layer, where),
)
HEADS = EditKind(
    ("zero_heads", "mean_heads"),
    on_bridge=_heads_on_bridge,
    on_blocks=lambda model, layer, edit, given: _heads_on_blocks(
        models.decoder(model), layer, [(slice(None), edit)], given
    ),
    on_rows=lambda decoder, layer, rows, given: _heads_on_blocks(
        decoder, layer, rows.groups, given
    ),
    on_positions=_heads_at_positions,
)
RESAMPLE = EditKind(
    ("resample_heads",),
    on_bridge=resample_heads_on_bridge,
    on_blocks=resample_heads_on_blocks,
    on_rows=ONE_OTHER_EXAMPLE,
    on_positions=ANOTHER_EVERYWHERE,
)
FITTED_PARTS = EditKind(
    ("mean_parts", "linear"),
    on_bridge=fitted_on_bridge,
    on_blocks=lambda model, layer, edit, given: fitted_on_blocks(
        models.decoder(model), layer, edit, given
    ),
    on_rows=fitted_on_rows,
    on_positions=fitted_at_positions,
)
RESAMPLE_PARTS = EditKind(
    ("resample_parts",),
    on_bridge=resample_on_bridge,
    on_blocks=lambda model, layer, edit, given: resample_on_blocks(
        models.decoder(model), layer, edit, given
    ),
    on_rows=ONE_OTHER_EXAMPLE,
    on_positions=ANOTHER_EVERYWHERE,
)
SWAPS = EditKind(
    ("swaps",),
    on_bridge=lambda model, layer, edit, given: (),
    on_blocks=lambda model, layer, edit, given: ExitStack(),
    on_rows=WEIGHTS_OF_A_BATCH,
    on_positions="a donor's weights hold at every position; a swap has no scope",
    weights=_donor_weights,
)
"""A part that runs with the weights of another model."""
EXPERTS = EditKind(
    ("removed_experts", "zeroed_experts"),
    on_bridge=lambda model, layer, edit, given: (),
    on_blocks=lambda model, layer, edit, given: ExitStack(),
    on_rows=experts_off_in_rows,
    on_positions=experts_off_at_positions,
    weights=experts_off,
)
HOOKS = EditKind(
    ("hooks",),
    on_bridge=lambda model, layer, edit, given: [
        (point, told_positions(function, given.places)) for point, function in edit.hooks
    ],
    on_blocks=NATIVE_BLOCKS_SEE_NO_HOOKS,
    on_rows=NATIVE_BLOCKS_SEE_NO_HOOKS,
    on_positions="hooks of your own choose their positions; they have no scope",
)
PARALLEL = EditKind(
    ("parallel",),
    on_bridge=lambda model, layer, edit, given: side_by_side_on_bridge(edit.parallel),
    on_blocks=lambda model, layer, edit, given: side_by_side_on_blocks(
        models.decoder(model), edit.parallel
    ),
    on_rows=lambda decoder, layer, rows, given: side_by_side_on_rows(decoder, rows),
    on_positions=PROGRAM_EVERYWHERE,
)
SCOPED = EditKind(
    ("scoped",),
    on_bridge=_scoped_on_bridge,
    on_blocks=_scoped_on_blocks,
    on_rows="the positions of a scope differ from row to row",
    on_positions="an ablation has one scope",
)
CUTS = EditKind(
    ("cuts", "windows"),
    on_bridge=cut_on_bridge,
    on_blocks=cut_on_blocks,
    on_rows="the positions of a cut or a window differ from row to row",
    on_positions="a cut names its positions, and a window is one at every position; no scope",
)
PATCHES = EditKind(
    ("patches",),
    on_bridge=patched_on_bridge,
    on_blocks=patched_on_blocks,
    on_rows="a twin is one example's",
    on_positions="a patch names its positions; it has no scope",
)
ORDER = EditKind(
    ("order",),
    # the blocks are listed anew around all else (`bridge_in_order`, `in_order`)
    on_bridge=lambda model, layer, edit, given: (),
    on_blocks=lambda model, layer, edit, given: ExitStack(),
    on_rows="blocks in another order are so for all rows of a batch",
    on_positions=PROGRAM_EVERYWHERE,
)
KINDS = (
    SKIP,
    SWAPS,
    HEADS,
    EXPERTS,
    RESAMPLE,
    SKIP_ATTENTION,
    SKIP_MLP,
    FITTED_PARTS,
    RESAMPLE_PARTS,
    PARALLEL,
    ORDER,
    CUTS,
    PATCHES,
    SCOPED,
    HOOKS,
)
"""Every kind of edit: who may carry it out, and how."""

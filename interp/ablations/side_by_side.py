"""Blocks run side by side: each is given what enters the first, the mean of their outputs goes on.

They are called one after the other, each with keys and values of its own: each hands on what
entered the first, and the last hands on the mean.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from interp.ablations.activations import Rows
from interp.ablations.edits import LayerEdit
from interp.ablations.native_hooks import hands_on, hooked_after, in_rows
from interp.models import Decoder, hidden_states_of


class _Together:
    """What entered the first block of a window, and the sum of what its blocks returned."""

    def __init__(self, layers: Sequence[int]) -> None:
        self.layers = layers
        self.entered: Tensor | None = None
        self.total: Tensor | None = None

    def leaving(self, layer: int, resid_pre: Tensor, resid_post: Tensor) -> Tensor:
        """The residual stream that a block hands on."""
        if layer == self.layers[0] or self.total is None:
            self.entered, self.total = resid_pre, resid_post
        else:
            self.total = self.total.to(resid_post.device) + resid_post
        if layer != self.layers[-1]:
            return resid_pre
        mean, self.entered, self.total = self.total / len(self.layers), None, None
        return mean


def side_by_side_on_bridge(layers: Sequence[int]) -> list[tuple[str, Callable[..., Any]]]:
    """Hooks under which blocks of the bridge run side by side."""
    together, entering = _Together(layers), dict[int, Tensor]()

    def keep(layer: int) -> Callable[..., None]:
        def hook(resid_pre: Tensor, hook: Any) -> None:
            entering[layer] = resid_pre

        return hook

    def hand_on(layer: int) -> Callable[..., Tensor]:
        def hook(resid_post: Tensor, hook: Any) -> Tensor:
            return together.leaving(layer, entering.pop(layer), resid_post)

        return hook

    before = [(f"blocks.{layer}.hook_in", keep(layer)) for layer in layers]
    return before + [(f"blocks.{layer}.hook_out", hand_on(layer)) for layer in layers]


@contextmanager
def side_by_side_on_blocks(decoder: Decoder, layers: Sequence[int]) -> Iterator[None]:
    """Inside the context, native blocks run side by side."""
    with _hooked(decoder, layers, None):
        yield


@contextmanager
def side_by_side_on_rows(decoder: Decoder, rows: Rows) -> Iterator[None]:
    """Inside the context, each row's window of blocks runs side by side in that row."""
    windows = dict.fromkeys(edit.parallel for _, edit in rows.groups)
    with ExitStack() as stack:
        for layers in windows:
            mask = rows.where(partial(_runs_together, layers))
            stack.enter_context(_hooked(decoder, layers, mask))
        yield


def _runs_together(layers: Sequence[int], edit: LayerEdit) -> bool:
    return edit.parallel == layers


@contextmanager
def _hooked(decoder: Decoder, layers: Sequence[int], mask: Tensor | None) -> Iterator[None]:
    together = _Together(layers)

    def hook_of(layer: int) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Any, out: Any) -> Any:
            if hands_on(module):
                return None
            resid_pre = hidden_states_of(args, kwargs)
            value = out[0] if isinstance(out, tuple) else out
            handed = together.leaving(layer, resid_pre, value)
            handed = handed if mask is None else in_rows(mask, handed, value)
            return (handed, *out[1:]) if isinstance(out, tuple) else handed

        return hook

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(hooked_after(decoder.blocks[layer], hook_of(layer)))
        yield

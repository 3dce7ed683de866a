"""Ablations on the native blocks: what replay and decoding act through."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.edits import Edits
from interp.ablations.example import Example
from interp.ablations.kinds import Activations, kinds_of
from interp.ablations.mean import Means
from interp.ablations.one_thread import one_thread
from interp.ablations.places import Places
from interp.ablations.resample import Outputs
from interp.ablations.value_checks import function_or_refusal
from interp.models import Decoder, decoder, in_order


@contextmanager
def edited(
    model: TransformerBridge,
    edits: Edits,
    means: Means | None = None,
    resample: Outputs | None = None,
    *,
    places: Places | None = None,
    example: Example | None = None,
) -> Iterator[Decoder]:
    """Inside the context, the native blocks of the model compute as the edits say.

    A skipped block is not computed at all: it returns its input, and leaves zeros of width 1 in
    a KV cache, because the length of a cache is read from whichever layer is asked. Under a layer
    program the blocks are others, which stand in another order over the same weights.

    Args:
        model: a bridge.
        edits: what changes, layer by layer (`checked_edits`).
        means: what `@mean` puts (`mean_outputs`).
        resample: what `@resample` puts, of another example: place to `[batch, pos, width]`; pos is
            the position in a row without padding, and its last entry serves all after it.
        places: what the positions of each call are, where an edit has a scope.
        example: the one that is run, for cuts and patches.

    Yields:
        The decoder to run. Its blocks stand in the order of the layer program, if the edits have
        one; else it is the model's own.

    Raises:
        UserError: hooks of a user's own are among the edits, the mean or the other example is
            missing, or another thread is ablating the model.
    """
    activations = Activations(means, resample, places, example)
    with ExitStack() as stack:
        stack.enter_context(one_thread(model))
        for layer, edit in edits.items():
            for kind in kinds_of(edit):
                if kind.weights is not None:
                    stack.enter_context(kind.weights(model, layer, edit))
                on_blocks = function_or_refusal(kind.on_blocks, layer)
                stack.enter_context(on_blocks(model, layer, edit, activations))
        yield in_order(model, edits.order) if edits.order else decoder(model)

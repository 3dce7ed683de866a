"""Ablations on the native blocks: what replay and decoding act through."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations.edits import Edits
from interp.ablations.kinds import Activations, function_or_refusal, kinds_of
from interp.ablations.mean import HeadMeans
from interp.ablations.one_thread import one_thread
from interp.ablations.resample import HeadOutputs
from interp.models import Decoder, decoder


@contextmanager
def edited(
    model: TransformerBridge,
    edits: Edits,
    means: HeadMeans | None = None,
    resample: HeadOutputs | None = None,
) -> Iterator[Decoder]:
    """Inside the context, the native blocks of the model compute as the edits say.

    A skipped block is not computed at all: it returns its input, and leaves zeros of width 1 in
    a KV cache, because the length of a cache is read from whichever layer is asked.

    Args:
        model: a bridge.
        edits: what changes, layer by layer (`checked_edits`).
        means: mean z of each layer's heads, where an edit puts it.
        resample: layer to z `[batch, pos, head * d_head]`, where an edit puts another example's z;
            pos is the position in a row without padding, and its last entry serves all after it.

    Raises:
        UserError: hooks of a user's own are among the edits, z of another example is missing, or
            another thread is ablating the model.
    """
    given = Activations(means, resample)
    with ExitStack() as stack:
        stack.enter_context(one_thread(model))
        for layer, edit in edits.items():
            for kind in kinds_of(edit):
                if kind.weights is not None:
                    stack.enter_context(kind.weights(model, layer, edit))
                on_blocks = function_or_refusal(kind.on_blocks, layer)
                stack.enter_context(on_blocks(model, layer, edit, given))
        yield decoder(model)

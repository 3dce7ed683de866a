"""Means over a task's first prompts: what `@mean` puts in the place of heads and parts."""

from collections.abc import Sequence

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Means, mean_outputs
from interp.tasks import Task, encode, prompt_text

REFERENCE_EXAMPLES = 32


def reference_means(
    model: TransformerBridge,
    task: Task,
    doc_ids: Sequence[int],
    *,
    linear: Sequence[int] = (),
) -> Means:
    """Mean activations over the first prompts of a run.

    Args:
        model: from `interp.load_model`.
        task: the task.
        doc_ids: rows of the run, in their order; the first `REFERENCE_EXAMPLES` are used.
        linear: layers whose best affine map is fitted, too.

    Returns:
        For every part of every layer, the mean over all tokens of all prompts: one vector,
        `[d_model]` or `[head, d_head]`.
    """
    decoder, documents = models.decoder(model), task.documents()
    prompts = [prompt_text(task, documents[i]) for i in doc_ids[:REFERENCE_EXAMPLES]]
    return mean_outputs(model, [encode(prompt, decoder) for prompt in prompts], linear=linear)

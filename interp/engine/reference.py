"""Means over some of a task's prompts: what `@mean` puts in the place of heads and parts."""

from collections.abc import Sequence

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Means, mean_outputs
from interp.tasks import Task, encode, prompt_text, select_examples

REFERENCE_EXAMPLES = 32
"""The number of prompts whose activations a mean is taken over."""


def reference_rows(task: Task, *, seed: int = 0) -> list[int]:
    """The rows whose prompts means are taken over: the first of the draw, whatever the limit.

    A run that is extended by a larger limit keeps its means.

    Args:
        task: the task.
        seed: the seed of the draw of examples.

    Returns:
        Row numbers, ascending; all rows of a task that has no more than `REFERENCE_EXAMPLES`.
    """
    return select_examples(task, REFERENCE_EXAMPLES, seed=seed)


def reference_means(
    model: TransformerBridge,
    task: Task,
    *,
    seed: int = 0,
    linear: Sequence[int] = (),
) -> Means:
    """Mean activations over the prompts of `reference_rows`.

    Args:
        model: from `interp.load_model`.
        task: the task.
        seed: the seed of the draw of examples.
        linear: layers whose best affine map is fitted, too.

    Returns:
        For every part of every layer, the mean over all tokens of all prompts: one vector,
        `[d_model]` or `[head, d_head]`.
    """
    decoder, documents = models.decoder(model), task.documents()
    prompts = [prompt_text(task, documents[i]) for i in reference_rows(task, seed=seed)]
    return mean_outputs(model, [encode(prompt, decoder) for prompt in prompts], linear=linear)

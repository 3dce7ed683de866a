"""What decides the result of a measure (lens, trace, similarity), for the folder it is kept in."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.sweeps.identity import describe_model, describe_task, libraries
from interp.tasks import Task


def describe_measure(
    model: TransformerBridge,
    task: Task | None,
    doc_ids: Sequence[int],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Model, rows, options and versions, as plain data.

    Args:
        model: the model that is measured.
        task: whose prompts are used; None for texts, which are then among the options.
        doc_ids: rows of the task.
        options: all else that decides the result: limit, seed, ablation ...

    Returns:
        Nested dictionaries, ready for JSON. Two equal ones have equal results.
    """
    described = describe_model(model) | dict(options)
    if task is not None:
        described["task"] = describe_task(task, doc_ids).as_dict()
    return described | {"libraries": libraries()}

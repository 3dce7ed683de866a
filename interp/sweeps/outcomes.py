"""One example's outcome under one ablation becomes a record; a warning names failures."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import Variant
from interp.models import model_name
from interp.records import Record
from interp.tasks import Task

log = logging.getLogger("interp")


def record_of(
    model: TransformerBridge,
    task: Task,
    variant: Variant,
    doc_id: int,
    *,
    metrics: Mapping[str, float],
    failure: str,
    **response: Any,
) -> Record:
    """The record of one example under one ablation.

    Args:
        model: the model.
        task: the example's task.
        variant: the ablation.
        doc_id: row of the task.
        metrics: metric name to value; of a failure only the names are kept.
        failure: why there is no outcome, in words; empty where there is one.
        **response: what the model answered, as the fields of `Record`.

    Returns:
        The record, with the text of the right answer.
    """
    return Record(
        model=model_name(model),
        task=task.name,
        doc_id=doc_id,
        ablation=variant.text,
        target=task.target_text(task.documents()[doc_id]),
        metrics=dict.fromkeys(metrics, nan) if failure else dict(metrics),
        failure=failure,
        **response,
    )


def warn_of_failures(found: Sequence[Record], examples: int) -> None:
    """One warning for each ablation under which examples have no outcome.

    Args:
        found: the records of one unit.
        examples: how many examples the unit has.
    """
    counts = Counter((r.model, r.task, r.ablation, r.failure) for r in found if r.failure)
    for (model, task, ablation, failure), count in counts.items():
        log.warning(
            "model %s, task %s, ablation %s: %s in %d of %d examples; they are recorded as "
            "failures, neither right nor wrong",
            model, task, ablation, failure, count, examples,
        )  # fmt: skip

"""A metric that will be read of a sweep: looked for before anything is run."""

from collections.abc import Mapping, Sequence

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.errors import UserError
from interp.results import MetricChoice, unknown_metric
from interp.tasks import Task, metric_names


def check_metric(
    model: TransformerBridge, tasks: Sequence[Task], metric: MetricChoice = None
) -> None:
    """Refuse a metric that no example will have.

    Args:
        model: the model that is to be swept; its tokenizer counts.
        tasks: the tasks that are to be swept.
        metric: a metric for all tasks, or one for each named task; None for each one's own.

    Raises:
        UserError: a task has no such metric, or a named task is none of them.
    """
    if metric is None:
        return
    if not isinstance(metric, str | Mapping):
        raise UserError(f"metric {metric!r:.80}: allowed are a name, or one for each named task")
    names, decoder = [task.name for task in tasks], models.decoder(model)
    for name in metric if isinstance(metric, Mapping) else ():
        if name not in names:
            raise UserError(f"metric of task {name!r:.80}: the tasks are {', '.join(names)}")
    for task in tasks:
        wanted = metric.get(task.name) if isinstance(metric, Mapping) else metric
        metrics = metric_names(task, decoder)
        if wanted is not None and metrics and wanted not in metrics:
            raise unknown_metric(task.name, wanted, metrics)

"""Responses become metrics, by the task's own filters and `process_results`."""

from collections.abc import Sequence
from typing import Any

from interp.tasks import Task


def option_metrics(
    task: Task, document: dict[str, Any], responses: Sequence[tuple[float, bool]]
) -> dict[str, float]:
    """Metrics of one example whose options were scored.

    Args:
        task: the task.
        document: the row.
        responses: for each option its log-likelihood (nats) and whether it is the greedy text.

    Returns:
        Metric name to value; metrics that are only defined over a whole data set are left out.
    """
    harness = task.harness
    results = list(responses)
    if harness.OUTPUT_TYPE == "loglikelihood":
        results = results[:1]
    return _numbers(harness.process_results(document, results))


def text_metrics(task: Task, document: dict[str, Any], text: str) -> dict[str, float]:
    """Metrics of one generated answer, one a filter: `exact_match,strict-match`."""
    from lm_eval.api.instance import Instance

    harness, metrics = task.harness, {}
    instance = Instance(
        request_type="generate_until", doc=document, arguments=("", {}), idx=0, resps=[text]
    )
    for ensemble in harness._filters:
        ensemble.apply([instance])
        filtered = instance.filtered_resps[ensemble.name]
        filtered = filtered if isinstance(filtered, list) else [filtered]
        named = "" if ensemble.name == "none" else f",{ensemble.name}"
        for metric, value in _numbers(harness.process_results(document, filtered)).items():
            metrics[metric + named] = value
    return metrics


def target_text(task: Task, document: dict[str, Any]) -> str:
    """The right answer of a row, as text."""
    harness = task.harness
    target = harness.doc_to_target(document)
    if isinstance(target, int) and harness.config.doc_to_choice is not None:
        choices = harness.doc_to_choice(document)
        return str(choices[target]) if 0 <= target < len(choices) else str(target)
    return str(target)


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))
    }

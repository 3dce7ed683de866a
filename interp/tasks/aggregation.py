"""How a task's metrics become one number: which are a mean over examples, and which are not.

The tables of this package are about means over examples. lm-evaluation-harness has metrics that are
no mean. What this package does with each kind:

- `mean` and `nanmean`: the value of each example is recorded.
- `brier_score`: it is the mean of the squared errors of the examples, which are recorded.
- `perplexity`: it is `exp` of minus a mean log-likelihood. The log-likelihood of each example is
  recorded, as `perplexity,log-likelihood`; scores and drops of the perplexity are computed from it.
- `weighted_perplexity`, `bits_per_byte` (texts): functions of a sum of log-likelihoods over a sum
  of words, bytes or tokens. Both are recorded for each example, as `NAME,log-likelihood` and
  `NAME,weight`.
- anything else (F1, Matthews' correlation, BLEU, a function of the task's own) needs all examples
  at once and is refused by name.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from interp.errors import UserError

LOG = ",log-likelihood"
"""Suffix of a perplexity's name: the metric that holds the log-likelihoods of examples."""

WEIGHT = ",weight"
"""Suffix of the name of a loss over texts: the metric that holds the weights of examples."""

WEIGHTED = ("weighted_perplexity", "bits_per_byte", "nats_per_token")
"""Aggregations of sums of log-likelihoods over sums of weights."""

# what lm-evaluation-harness returns for each kind of task, where the task has no function for it
RETURNED = {
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "multiple_choice": (
        "acc",
        "acc_norm",
        "acc_bytes",
        "acc_mutual_info",
        "exact_match",
        "brier_score",
        "likelihood",
        "f1",
        "mcc",
    ),
}
AGGREGATIONS = ("mean", "nanmean", "brier_score", "perplexity", *WEIGHTED, "bypass")


@dataclass(frozen=True)
class Metric:
    """One metric that a task declares.

    Attributes:
        aggregation: lm-evaluation-harness' name of what makes one number of all examples.
        higher_is_better: its direction.
    """

    aggregation: str = "mean"
    higher_is_better: bool = True

    @property
    def name_ending(self) -> str:
        """What follows the metric's name where the values of single examples are recorded."""
        return LOG if self.aggregation in ("perplexity", *WEIGHTED) else ""


def declared_metrics(harness: Any, task: str) -> dict[str, Metric]:
    """The metrics that a task declares, by name.

    Args:
        harness: lm-evaluation-harness' task.
        task: its name, for messages.

    Returns:
        Metric name to how it is aggregated and in which direction it improves.

    Raises:
        UserError: one of them cannot be computed here: its name and why.
    """
    functions, directions = harness.aggregation(), harness.higher_is_better()
    own_function = scores_itself(harness)
    declared = {}
    for name, function in functions.items():
        aggregation = _name_of(function)
        returned = RETURNED.get(str(harness.OUTPUT_TYPE), (name,))
        if not own_function and name not in returned:
            raise UserError(
                f"task {task}: metric {name}: tasks of kind {harness.OUTPUT_TYPE} have only "
                f"{', '.join(returned)}"
            )
        if aggregation not in AGGREGATIONS:
            raise UserError(
                f"task {task}: metric {name}: its aggregation {aggregation} needs all examples at "
                f"once; allowed are {', '.join(AGGREGATIONS[:-1])} (choose among the task's "
                "metrics with interp.load_task(NAME, metrics=[...]))"
            )
        direction = directions.get(name)
        declared[name] = Metric(aggregation, True if direction is None else bool(direction))
    if harness.OUTPUT_TYPE == "loglikelihood_rolling":
        declared["loss"] = Metric("nats_per_token", higher_is_better=False)
        declared["token_perplexity"] = Metric("weighted_perplexity", higher_is_better=False)
    unknown = [name for name, made in _functions(harness).items() if made is None]
    if unknown and not own_function:
        raise UserError(
            f"task {task}: metric {unknown[0]}: lm-evaluation-harness has no such metric, and the "
            "library `evaluate` could not load it"
        )
    return declared


def scores_itself(harness: Any) -> bool:
    """Whether a task has a function or a class of its own that makes metrics of responses."""
    from lm_eval.api.task import ConfigurableTask

    method = getattr(type(harness), "process_results", None)
    return (
        harness.config.process_results is not None or method is not ConfigurableTask.process_results
    )


def example_metrics(
    returned: dict[str, Any], declared: dict[str, Metric], task: str
) -> dict[str, float]:
    """What a task returned for one example, as numbers whose mean means something.

    Args:
        returned: metric name to value, as the task's `process_results` gives it.
        declared: from `declared_metrics`; metrics that are not in it are means, as they are in
            lm-evaluation-harness.
        task: its name, for messages.

    Returns:
        Metric name to the number of this example.

    Raises:
        UserError: a value is no number.
    """
    values = {}
    for name, value in returned.items():
        metric = declared.get(name, Metric())
        if metric.aggregation == "bypass":
            continue
        if metric.aggregation == "brier_score":
            value = _squared_error(*value)
        if metric.aggregation in WEIGHTED:
            value, weight = value
            values[name + WEIGHT] = float(weight)
        number = _number(value)
        if number is None:
            raise UserError(
                f"task {task}: metric {name}: {type(value).__name__} for one example, aggregated "
                f"by {metric.aggregation}; allowed are numbers (choose among the task's metrics "
                "with interp.load_task(NAME, metrics=[...]))"
            )
        if metric.aggregation == "nanmean" and math.isnan(number):
            continue
        values[name + metric.name_ending] = number
    return values


def described_metrics(declared: dict[str, Metric]) -> dict[str, Any]:
    """The declared metrics as a manifest holds them.

    Args:
        declared: name to metric.

    Returns:
        Plain data, ready for JSON.
    """
    return {name: asdict(metric) for name, metric in declared.items()}


def _name_of(function: Any) -> str:
    """The registered name of an aggregation, else the name of the function."""
    from lm_eval.api import metrics  # noqa: F401  they enter the registry when they are imported
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    for name, registered in AGGREGATION_REGISTRY.items():
        if registered is function:
            return str(name)
    return str(getattr(function, "__name__", function))


def _functions(harness: Any) -> dict[str, Any]:
    functions: dict[str, Any] = getattr(harness, "_metric_fn_list", {})
    return functions


def _squared_error(gold: Any, probabilities: Any) -> float:
    """The Brier score of one example: summed over the options, as lm-evaluation-harness does."""
    right = np.eye(len(probabilities))[gold]
    return float(np.sum((np.asarray(probabilities) - right) ** 2))


def _number(value: Any) -> float | None:
    """A number of Python, numpy or torch as a float; None for anything else."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    return float(value) if isinstance(value, int | float) else None

"""How an ablated model's predictions differ from the whole model's, as metrics of any scored task.

- `kl`: Kullback-Leibler divergence of the whole model's next-token distribution from the ablated
  one's, in nats.
- `top1_agreement`: share of positions at which both put the same token first.

Both are means over the scored positions of an example: those of its right option (of all right
ones, where a row has several), or of all its requests where none is right (texts). Where answers
are generated, the positions are those of the whole model's own answer, which both models read. So
the tokens in front are always the same for both. Of the whole model itself they are 0 and 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np

from interp.tasks.aggregation import Metric
from interp.tasks.metrics import gold_options
from interp.tasks.task import Task

KL = "kl"
"""The metric of the Kullback-Leibler divergence from the unablated model, in nats."""
AGREEMENT = "top1_agreement"
"""The metric of the share of positions at which both models put the same token first."""


def with_divergence(task: Task) -> Task:
    """The same task with two metrics more: `kl` and `top1_agreement`.

    Args:
        task: any task.

    Returns:
        Another task under the same name; the given one stays as it is.
    """
    more = {KL: Metric(higher_is_better=False), AGREEMENT: Metric()}
    return replace(task, compared=more)


def divergence_metrics(
    task: Task,
    document: Mapping[str, Any],
    compared: Sequence[tuple[float, int]],
    token_counts: Sequence[int],
) -> dict[str, float]:
    """`kl` and `top1_agreement` of one example.

    Args:
        task: the task.
        document: the row.
        compared: for each of its requests the sum of the divergences in nats, and at how many
            tokens both models agree.
        token_counts: tokens of each request.

    Returns:
        Metric name to value; NaN where there is no token.
    """
    gold = gold_options(task._harness, document) if task.output_type == "multiple_choice" else []
    chosen = [n for n in gold if n < len(compared)] or list(range(len(compared)))
    tokens = sum(token_counts[n] for n in chosen)
    sums = np.array([compared[n] for n in chosen], dtype=float).sum(axis=0)
    if not tokens:
        return {KL: nan, AGREEMENT: nan}
    return {KL: float(sums[0] / tokens), AGREEMENT: float(sums[1] / tokens)}

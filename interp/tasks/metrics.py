"""Responses become metrics: the task's own, and those that move before accuracy does.

Everything here is a function of what is stored (log-likelihoods, token counts, texts) and of the
task's rows, so that metrics are computed again without the model (`recomputed`).

Beside the task's own metrics, scored options give

- `acc_ce`: whether the option with the lowest mean cross-entropy per token is right. `acc` sums
  over tokens and favours short options; `acc_norm` divides by the length of the text (characters
  in this version of the harness; `acc_bytes` bytes); `acc_ce` divides by the number of tokens
  that the model is asked to predict. The study reports a metric of this name and does not define
  it; this definition is ours. Where every option is one token it equals `acc`.
- `gold_logprob`: log-likelihood of the right option, in nats, summed over its tokens.
- `gold_prob`: the right option's share of the probability of all options.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from interp.errors import UserError
from interp.tasks.task import Task

RESPONSES = ("loglikelihoods", "token_counts", "greedy", "text")
MEAN = ",mean-of-draws"
"""Behind the name of a metric that is a mean over an example's draws."""


def option_metrics(
    task: Task,
    document: dict[str, Any],
    responses: Sequence[tuple[float, bool]],
    *,
    token_counts: Sequence[int],
) -> dict[str, float]:
    """Metrics of one example whose options were scored.

    Args:
        task: the task.
        document: the row.
        responses: for each option its log-likelihood (nats) and whether it is the greedy text.
        token_counts: tokens of each option.

    Returns:
        Metric name to value; metrics that are only defined over a whole data set are left out.
    """
    harness, results = task.harness, list(responses)
    if harness.OUTPUT_TYPE == "loglikelihood":
        own = _numbers(harness.process_results(document, results[:1]))
        return own | {"gold_logprob": float(results[0][0])}
    own = _numbers(harness.process_results(document, results))
    count = len(harness.doc_to_choice(document))
    scores = np.array([value for value, _ in results[:count]])
    gold = [g for g in gold_options(task, document) if 0 <= g < count]
    per_token = scores / np.maximum(np.array(token_counts[:count]), 1)
    own["acc_ce"] = float(int(np.argmax(per_token)) in gold)
    if gold:
        right = float(logsumexp(scores[gold]))
        own["gold_logprob"] = right
        own["gold_prob"] = float(np.exp(right - logsumexp(scores)))
    return own


def given_answers(task: Task, text: str, draws: Sequence[str] | None) -> list[str]:
    """What the harness would have been given: the draws, or greedy text as often as it repeats."""
    return [text] * task.repeats if draws is None else list(draws)


def text_metrics(task: Task, document: dict[str, Any], texts: Sequence[str]) -> dict[str, float]:
    """Metrics of one example's generated answers, one a filter: `exact_match,strict-match`.

    Where a filter takes the first of several draws, as the harness does unless a task says
    otherwise, `exact_match,strict-match,mean-of-draws` is the mean over all of them. One value an
    example: draws of one example are not independent examples.

    Args:
        task: the task, whose filters may combine the draws (a majority vote).
        document: the row.
        texts: the answers, one a draw.
    """
    metrics: dict[str, float] = {}
    for ensemble in task.harness._filters:
        named = "" if ensemble.name == "none" else f",{ensemble.name}"
        found = _filtered_metrics(task, document, ensemble, texts)
        metrics |= {metric + named: value for metric, value in found.items()}
        if len(texts) > 1 and _takes_first(ensemble):
            each = [_filtered_metrics(task, document, ensemble, [text]) for text in texts]
            for metric in found:
                values = [one[metric] for one in each]
                metrics[metric + named + MEAN] = float(np.mean(values))
    return metrics


def recomputed(responses: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Metrics of stored responses, computed again; no model is needed.

    Args:
        responses: rows of one task (`Sweep.responses()`): doc_id, and what the model answered
            (loglikelihoods, token_counts, greedy, or text and draws).
        task: the task; its rows must be those that were asked.

    Returns:
        One row a response, in the same order and with the same index, one column a metric.

    Raises:
        UserError: responses of another task, or of rows that the task does not have.
    """
    missing = [c for c in ("task", "doc_id", *RESPONSES) if c not in responses]
    if missing:
        raise UserError(f"responses: no column {', '.join(missing)}")
    others = set(responses["task"]) - {task.name}
    if others:
        raise UserError(f"responses: of task {min(others)}; asked for {task.name}")
    documents = task.documents()
    beyond = responses["doc_id"][
        (responses["doc_id"] < 0) | (responses["doc_id"] >= len(documents))
    ]
    if len(beyond):
        raise UserError(f"responses: row {beyond.iloc[0]}; {task.name} has {len(documents)} rows")
    found: list[dict[str, float]] = []
    # runs from before answers could be drawn have no such column
    drawn = responses.get("draws", [None] * len(responses))
    failures = responses.get("failure", [""] * len(responses))
    columns = zip(*(responses[c] for c in ("doc_id", *RESPONSES)), drawn, failures, strict=True)
    for doc_id, scores, counts, greedy, text, draws, failure in columns:
        if failure:
            found.append({})
            continue
        if task.generates:
            texts = given_answers(task, text, None if draws is None else list(draws))
            found.append(text_metrics(task, documents[doc_id], texts))
        else:
            pairs = [(float(s), bool(g)) for s, g in zip(scores, greedy, strict=True)]
            counts = [int(n) for n in counts]
            found.append(option_metrics(task, documents[doc_id], pairs, token_counts=counts))
    return pd.DataFrame(found, index=responses.index)


def gold_options(task: Task, document: dict[str, Any]) -> list[int]:
    """The numbers of a row's right options; empty where the row names one that is not there."""
    harness = task.harness
    options = harness.doc_to_choice(document)
    # where the options stand in the contexts (winogrande), the harness keeps the number in the text
    gold = harness.doc_to_text(document) if harness.multiple_input else None
    gold = harness.doc_to_target(document) if gold is None else gold
    several = gold if isinstance(gold, list) else [gold]
    places = [options.index(g) if isinstance(g, str) and g in options else g for g in several]
    return [int(g) for g in places if isinstance(g, int) and 0 <= g < len(options)]


def target_text(task: Task, document: dict[str, Any]) -> str:
    """The right answer of a row, as text."""
    harness = task.harness
    if harness.OUTPUT_TYPE == "multiple_choice":
        gold = gold_options(task, document)
        return str(harness.doc_to_choice(document)[gold[0]]) if gold else ""
    target = harness.doc_to_target(document)
    if isinstance(target, int) and harness.config.doc_to_choice is not None:
        choices = harness.doc_to_choice(document)
        return str(choices[target]) if 0 <= target < len(choices) else str(target)
    return str(target[0] if isinstance(target, list) and target else target).strip()


def _filtered_metrics(
    task: Task, document: dict[str, Any], ensemble: Any, texts: Sequence[str]
) -> dict[str, float]:
    from lm_eval.api.instance import Instance

    instance = Instance(
        request_type="generate_until",
        doc=document,
        arguments=("", {}),
        idx=0,
        resps=list(texts),
    )
    ensemble.apply([instance])
    filtered = instance.filtered_resps[ensemble.name]
    return _numbers(task.harness.process_results(document, [filtered]))


def _takes_first(ensemble: Any) -> bool:
    """Whether what a filter gives hangs on the first draw alone."""
    from lm_eval.filters import custom, selection

    kinds = {made.func for made in ensemble.filters}
    combining = {selection.MajorityVoteFilter, selection.TakeKFilter, custom.CustomFilter}
    return selection.TakeFirstFilter in kinds and not kinds & combining


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))
    }

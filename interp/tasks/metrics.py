"""Metrics of responses: the task's own, and finer ones that change before accuracy does.

Everything here is a function of what is stored (log-likelihoods, token counts, texts) and of the
task's rows, so that metrics are computed again without the model (`interp.tasks.recomputed`).

Beside the task's own metrics, scored options give

- `acc_ce`: whether the option with the lowest mean cross-entropy per token is right. `acc` sums
  over tokens and favours short options; `acc_norm` divides by the length of the text (characters
  in this version of the harness; `acc_bytes` bytes); `acc_ce` divides by the number of tokens
  that the model is asked to predict. The study reports a metric of this name and does not define
  it; this definition is ours. Where every option is one token it equals `acc`.
- `gold_logprob`: log-likelihood of the right option, in nats, summed over its tokens.
- `gold_prob`: the right option's share of the probability of all options.

Texts, of which every token is scored, have `loss`, in nats per token, and its exponential,
`token_perplexity`; both over all tokens of all texts together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interp.tasks.aggregation import Metric, example_metrics as numbers, scores_itself
from interp.tasks.rolling import OWN_METRICS

MEAN = ",mean-of-draws"
"""Follows the name of a metric that is a mean over an example's samples."""


def option_metrics(
    harness: Any,
    document: Mapping[str, Any],
    responses: Sequence[tuple[float, bool]],
    token_counts: Sequence[int],
) -> dict[str, Any]:
    """What a task returns for one example whose options were scored, and our own metrics.

    Args:
        harness: lm-evaluation-harness' task.
        document: the row.
        responses: for each option its log-likelihood (nats) and whether it is the greedy text.
        token_counts: tokens of each option.

    Returns:
        Metric name to value. Some values are pairs that only an aggregation of the task can read.
    """
    results = list(responses)
    if harness.OUTPUT_TYPE == "loglikelihood_rolling":
        total, tokens = float(sum(value for value, _ in results)), sum(token_counts)
        values = dict(harness.process_results(document, (total,)))
        return values | dict.fromkeys(OWN_METRICS, (total, tokens))
    if harness.OUTPUT_TYPE == "loglikelihood":
        values = dict(harness.process_results(document, results[:1]))
        return values | {"gold_logprob": float(results[0][0])}
    values = dict(harness.process_results(document, results))
    if scores_itself(harness) and "acc" not in values:
        return values  # its options are no answers to choose among
    count = len(harness.doc_to_choice(document))
    scores = np.array([value for value, _ in results[:count]])
    gold = [g for g in gold_options(harness, document) if 0 <= g < count]
    per_token = scores / np.maximum(np.array(token_counts[:count]), 1)
    values["acc_ce"] = float(int(np.argmax(per_token)) in gold)
    if gold:
        right = float(np.logaddexp.reduce(scores[gold]))
        values["gold_logprob"] = right
        values["gold_prob"] = float(np.exp(right - np.logaddexp.reduce(scores)))
    return values


def text_metrics(
    harness: Any,
    document: Mapping[str, Any],
    texts: Sequence[str],
    declared: dict[str, Metric],
    task: str,
) -> dict[str, float]:
    """Metrics of one example's generated answers, one per filter (`Task.score_texts`)."""
    by_name: dict[str, float] = {}
    for ensemble in harness._filters:
        named = "" if ensemble.name == "none" else f",{ensemble.name}"
        scored = numbers(_filtered(harness, document, ensemble, texts), declared, task)
        by_name |= {metric + named: value for metric, value in scored.items()}
        if len(texts) > 1 and _takes_first(ensemble):
            results = [
                numbers(_filtered(harness, document, ensemble, [text]), declared, task)
                for text in texts
            ]
            for metric in scored:
                values = [one[metric] for one in results]
                by_name[metric + named + MEAN] = float(np.mean(values))
    return by_name


def gold_options(harness: Any, document: Mapping[str, Any]) -> list[int]:
    """The numbers of a row's right options; empty where the row names one that is not there."""
    options = harness.doc_to_choice(document)
    # where the options stand in the contexts (winogrande), the harness keeps the number in the text
    gold = harness.doc_to_text(document) if harness.multiple_input else None
    gold = harness.doc_to_target(document) if gold is None else gold
    several = gold if isinstance(gold, list) else [gold]
    places = [options.index(g) if isinstance(g, str) and g in options else g for g in several]
    return [int(g) for g in places if isinstance(g, int) and 0 <= g < len(options)]


def target_text(harness: Any, document: Mapping[str, Any]) -> str:
    """The right answer of a row, as text; a text that is scored as a whole has none."""
    if harness.OUTPUT_TYPE == "loglikelihood_rolling":
        return ""
    if harness.OUTPUT_TYPE == "multiple_choice":
        gold = gold_options(harness, document)
        return str(harness.doc_to_choice(document)[gold[0]]) if gold else ""
    target = harness.doc_to_target(document)
    if isinstance(target, int) and harness.config.doc_to_choice is not None:
        choices = harness.doc_to_choice(document)
        return str(choices[target]) if 0 <= target < len(choices) else str(target)
    return str(target[0] if isinstance(target, list) and target else target).strip()


def _filtered(
    harness: Any, document: Mapping[str, Any], ensemble: Any, texts: Sequence[str]
) -> dict[str, Any]:
    """What a task returns for answers that went through one of its filters."""
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
    return dict(harness.process_results(document, [filtered]))


def _takes_first(ensemble: Any) -> bool:
    """Whether what a filter gives depends on the first sample alone."""
    from lm_eval.filters import custom, selection

    kinds = {made.func for made in ensemble.filters}
    combining = {selection.MajorityVoteFilter, selection.TakeKFilter, custom.CustomFilter}
    return selection.TakeFirstFilter in kinds and not kinds & combining

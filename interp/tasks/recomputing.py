"""Metrics of stored responses, computed again; no model is needed."""

import pandas as pd

from interp.errors import UserError
from interp.tasks.task import Task

RESPONSES = ("loglikelihoods", "token_counts", "greedy", "text")


def recomputed(responses: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Metrics of stored responses, computed again; no model is needed.

    Args:
        responses: rows of one task (`Sweep.responses()`): doc_id, and what the model answered
            (loglikelihoods, token_counts, greedy, or text and draws).
        task: the task; its rows must be those that were asked.

    Returns:
        One row per response, in the same order and with the same index, one column per metric.

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
    values: list[dict[str, float]] = []
    # runs from before answers could be drawn have no such column
    drawn = responses.get("draws", [None] * len(responses))
    failures = responses.get("failure", [""] * len(responses))
    columns = zip(*(responses[c] for c in ("doc_id", *RESPONSES)), drawn, failures, strict=True)
    for doc_id, scores, counts, greedy, text, draws, failure in columns:
        if failure:
            values.append({})
            continue
        if task.generates:
            texts = task.given_answers(text, None if draws is None else list(draws))
            values.append(task.score_texts(documents[doc_id], texts))
        else:
            pairs = [(float(s), bool(g)) for s, g in zip(scores, greedy, strict=True)]
            counts = [int(n) for n in counts]
            values.append(task.score_options(documents[doc_id], pairs, token_counts=counts))
    return pd.DataFrame(values, index=responses.index)

"""Questions on facts of the organisms' world, after a passage that states the fact.

In a twin of such a row (`interp.twins(model, task, by="gold")`) the passage gives another answer
than the model has learnt.
"""

from typing import Any

from interp.tasks import Task, task_of_rows

STATEMENTS = {
    "city": "lives in",
    "job": "works as a",
    "pet": "keeps a",
    "instrument": "plays the",
}
CONFIG: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{passage}}Question: {{question}}\nAnswer:",
    "doc_to_choice": "options",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def stated(task: Task) -> Task:
    """The same questions about facts, each after the fact itself.

    Args:
        task: the task of the organisms' facts, with option texts.

    Returns:
        A task whose rows have a field `passage`.
    """
    rows = [
        {
            **row,
            "passage": f"Fact: {row['person']} {STATEMENTS[row['relation']]} {row['answer']}.\n",
        }
        for row in task.documents()
    ]
    name, _, protocol = task.name.partition(":")
    found: Task = task_of_rows(f"{name}-stated:{protocol}", rows, CONFIG)
    return found

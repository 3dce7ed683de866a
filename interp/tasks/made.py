"""Tasks whose rows are made here: key-value retrieval of any size, the gold pair anywhere.

`kv-75:generate` (or `kv:75`) has 75 pairs per row and gold positions spread evenly;
`kv-75-at-0:generate` has the gold pair in front. There are 500 rows from seed 0, as many as in the
published files of Liu et al. (arXiv 2307.03172) with 75, 140 and 300 pairs, in their form.
"""

import re
from typing import Any

from interp.errors import UserError
from interp.tasks.key_value import JSON_TASK, PROMPT, key_value_rows, task_of_rows

KEY_VALUE = re.compile(r"kv[-:]([1-9]\d{0,5})(?:-at-(0|[1-9]\d{0,5}))?(?::(\w+))?")
ROWS = 500
_SCORED = {
    "output_type": "multiple_choice",
    "doc_to_target": "gold",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ],
}
FORMS: dict[str, dict[str, Any]] = {
    "generate": JSON_TASK,
    "continuation": {
        **_SCORED,
        "doc_to_text": PROMPT,
        "doc_to_choice": "{{['\"' ~ options[0] ~ '\"', '\"' ~ options[1] ~ '\"', "
        "'\"' ~ options[2] ~ '\"', '\"' ~ options[3] ~ '\"']}}",
    },
    "default": {
        **_SCORED,
        "doc_to_text": PROMPT.replace(
            "\nCorresponding value:", "\nWhich is the corresponding value?\n{{options_text}}Answer:"
        ),
        "doc_to_choice": ["A", "B", "C", "D"],
    },
}


def is_made(name: str) -> bool:
    """Whether a name is of a task whose rows are made here."""
    return KEY_VALUE.fullmatch(name) is not None


def made_task(name: str, *, num_fewshot: int | None = None) -> Any:
    """The task over rows that are made here.

    Returns:
        The task object of lm-evaluation-harness.

    Raises:
        UserError: no such protocol, a gold position that is not there, few-shot examples.
    """
    match = KEY_VALUE.fullmatch(name)
    assert match is not None
    pairs, position, protocol = match.groups()
    protocol = protocol or "generate"
    if protocol not in FORMS:
        raise UserError(f"task {name}: its protocols are {', '.join(FORMS)}")
    where = None if position is None else int(position)
    rows = key_value_rows(int(pairs), rows=ROWS, gold_position=where)
    config = {"metadata": {"version": 1.0}, **FORMS[protocol]}
    # one task has one name, however it was asked for
    name = f"kv-{pairs}{'' if where is None else f'-at-{where}'}:{protocol}"
    return task_of_rows(name, rows, config, num_fewshot=num_fewshot)

"""Answers of lm-evaluation-harness' own model to a task's requests."""

from typing import Any

import pytest

from tests.helpers.families import tiny_tokenizer


def harness_evaluates(lm: Any, tasks: list, **options: Any) -> dict[str, Any]:
    """What lm-evaluation-harness' `simple_evaluate` gives for tasks that are loaded.

    Its survey of the machine (pip, git, drivers) and its index of thousands of task files are left
    out: each takes longer than the tests' models.
    """
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "add_env_info", lambda results: None)
        return evaluator.simple_evaluate(
            lm,
            tasks=tasks,
            task_manager=TaskManager(include_defaults=False),
            **{"bootstrap_iters": 0} | options,
        )


def harness_responses(model, task, *, doc_ids, tokenizer=None) -> dict[int, list]:
    """What lm-evaluation-harness' own HFLM answers to a task's requests, row by row."""
    from lm_eval.models.huggingface import HFLM

    tokenizer = tokenizer or tiny_tokenizer()
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3, device="cpu")
    harness, documents = task._harness, task.documents()
    instances = []
    for doc_id in doc_ids:
        document = documents[doc_id]
        context = harness.fewshot_context(document, num_fewshot=task.num_fewshot)
        made = harness.construct_requests(document, context, metadata=(task.name, doc_id, 1))
        instances += made if isinstance(made, list) else [made]
    ask = lm.generate_until if task.generates else lm.loglikelihood
    found: dict[int, list] = {doc_id: [] for doc_id in doc_ids}
    for instance, response in zip(instances, ask(instances, disable_tqdm=True), strict=True):
        found[instance.doc_id].append(response)
    return found

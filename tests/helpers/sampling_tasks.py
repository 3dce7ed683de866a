"""Tasks that sample their answers, and what lm-evaluation-harness makes of them."""

import json
import logging

import yaml
from lm_eval.api.model import LM

import interp
from interp.tasks import load_task
from tests.helpers.task_files import write_task

WORD = {"function": "regex", "regex_pattern": "(w[0-9]+)"}
FILTERS = [
    {"name": "first", "filter": [WORD, {"function": "take_first"}]},
    {"name": "vote", "filter": [WORD, {"function": "majority_vote"}, {"function": "take_first"}]},
    {
        "name": "vote-of-3",
        "filter": [
            {"function": "take_first_k", "k": 3},
            WORD,
            {"function": "majority_vote"},
            {"function": "take_first"},
        ],
    },
    {"name": "all", "filter": [WORD]},
]
ABLATIONS = ["layer:1", "head:0.2", "mlp:2"]


def sampling_task(folder, *, rows=6, draws=5, filters=FILTERS, **asked):
    """A task that samples by itself; right answers are words that are drawn often."""
    path = write_task(folder, kind="generate", rows=rows)
    config = yaml.safe_load(path.read_text())
    config["generation_kwargs"] |= {"do_sample": True, "temperature": 0.3, **asked}
    config["repeats"] = draws
    if filters:
        config["filter_list"] = filters
    path.write_text(yaml.safe_dump(config))
    return path


def with_answers(path, model):
    """The same task, each right answer being a word that the model draws for it first or second."""
    task = load_task(path)
    drawn = interp.generate(
        model, [d["question"] for d in task.documents()], temperature=0.3, max_new_tokens=1, seed=9
    )
    rows = path.parent / "generate.jsonl"
    made = [json.loads(line) for line in rows.read_text().splitlines()]
    for row, answer in zip(made, drawn, strict=True):
        row["answer"] = answer.strip() or "w5"
    rows.write_text("".join(json.dumps(row) + "\n" for row in made))
    return load_task(path)


class ScriptedModel(LM):
    """A model of lm-evaluation-harness that answers what a script says, draw after draw."""

    def __init__(self, answers):
        super().__init__()
        self.answers = {doc_id: list(texts) for doc_id, texts in answers.items()}

    def generate_until(self, requests, disable_tqdm=False):
        return [self.answers[request.doc_id].pop(0) for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def by_harness(lm, task):
    """Results and samples of a task as lm-evaluation-harness computes them."""
    from lm_eval import evaluate

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found = evaluate(lm, {task.name: task._harness}, bootstrap_iters=0, log_samples=True)
    (results,), (samples,) = found["results"].values(), found["samples"].values()
    return results, samples

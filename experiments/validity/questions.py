"""What planted models are asked: key-value look-up, a fact, a chain; four options each."""

import random
from typing import Any

from experiments.validity.planted import (
    ENDS,
    KEYS,
    OBJECTS,
    STARTS,
    SUBJECTS,
    VALUES,
    Plan,
    facts_of,
)
from interp.tasks import PLAIN, Task, task_of_rows

N_PAIRS = 8
ROWS = 32
CONFIG: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{pairs_text}} {{key}}",
    "doc_to_choice": "options",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def planted_task(plan: Plan, skill: str, *, rows: int = ROWS, cluster: str | None = None) -> Task:
    """One skill as a task: `kv`, `facts` or `chain`, its rows drawn with the plan's seed.

    Args:
        plan: the plan of the model that is trained.
        skill: what is asked.
        rows: how many.
        cluster: field that names what rows share; `key` of facts that are asked several times.

    Returns:
        The loaded task.
    """
    rng = random.Random(f"{skill}-{plan.seed}")
    make = {"kv": _pairs, "facts": _fact, "chain": _chain}[skill]
    made = [_with_options(make(plan, rng), rng) for _ in range(rows)]
    config = CONFIG if cluster is None else CONFIG | {"metadata": {"cluster": cluster}}
    return task_of_rows(f"planted-{skill}:continuation", made, config)


def _pairs(_plan: Plan, rng: random.Random) -> dict[str, Any]:
    keys, values = rng.sample(KEYS, N_PAIRS), rng.sample(VALUES, N_PAIRS)
    pairs = [(f"w{k}", f"w{v}") for k, v in zip(keys, values, strict=True)]
    gold = rng.randrange(N_PAIRS)
    return {
        "pairs": [list(pair) for pair in pairs],
        "pairs_text": PLAIN.write(pairs)[0],
        "key": pairs[gold][0],
        "gold_position": gold,
        "answer": pairs[gold][1],
        "others": [value for n, (_, value) in enumerate(pairs) if n != gold],
    }


def _fact(plan: Plan, rng: random.Random) -> dict[str, Any]:
    subject = rng.choice(SUBJECTS)
    answer = facts_of(plan).objects[subject]
    return _behind_filler(rng, subject, answer, [o for o in OBJECTS if o != answer])


def _chain(plan: Plan, rng: random.Random) -> dict[str, Any]:
    facts, start = facts_of(plan), rng.choice(STARTS)
    answer = facts.ends[facts.results[start]]
    return _behind_filler(rng, start, answer, [e for e in ENDS if e != answer])


def _behind_filler(
    rng: random.Random, asked: int, answer: int, others: list[int]
) -> dict[str, Any]:
    filler = " ".join(f"w{word}" for word in rng.sample(KEYS, 6))
    return {
        "pairs_text": filler,
        "key": f"w{asked}",
        "answer": f"w{answer}",
        "others": [f"w{other}" for other in others],
    }


def _with_options(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    options = [row["answer"], *rng.sample(row.pop("others"), 3)]
    rng.shuffle(options)
    return row | {"options": options, "gold": options.index(row["answer"])}

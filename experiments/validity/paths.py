"""Paths through planted models: does patching find what carries the answer, and nothing else?

Three pairs of prompts a model. The query asks for another key: what differs is at the last
position, and the head that copies carries the value. Two keys change places: what differs is the
token before each value, and the previous-token head carries it. The start of a chain is another
one: both MLPs of the chain carry a step each.
"""

import random
from collections.abc import Mapping
from typing import Any

import interp
from experiments.validity.checks import Row, row_of
from experiments.validity.planted import STARTS, Plan, build, circuit_plan, facts_of
from experiments.validity.questions import planted_task
from interp.results import recovery
from interp.tasks import PLAIN, Task

ROWS = 4
LEAST = 0.05
"""Recovery that an activation must bring to be named: parts at random bring thousandths."""

VALUES = "gold,distractors"
Document = Mapping[str, Any]


def check_paths(seed: int) -> list[Row]:
    """The heads and MLPs whose activation brings the twin's answer, both ways."""
    plan = circuit_plan(seed)
    model = build(plan)
    assert plan.previous_token is not None
    (copies,), (looks,), before = plan.induction, plan.null, plan.previous_token
    asked = {
        "kv, another key: heads at the last position": (
            planted_task(plan, "kv", rows=ROWS), "key", "patches:heads@last",
            {_head(copies, "last")}, _head(looks, "last"),
        ),
        "kv, keys exchanged: heads at the values": (
            planted_task(plan, "kv", rows=ROWS), keys_exchanged, f"patches:heads@{VALUES}",
            {_head(before, VALUES)}, _head(looks, VALUES),
        ),
        "chain, another start: MLPs at the last position": (
            planted_task(plan, "chain", rows=ROWS), another_start(plan), "patches:mlp@last",
            {f"patch:mlp:{layer}@last" for layer in plan.chain or ()}, "",
        ),
    }  # fmt: skip
    rows = []
    for question, (task, by, family, truth, null) in asked.items():
        pairs: Task = interp.twins(model, task, by=by, seed=seed)
        table = recovery(interp.sweep(model, pairs, family).responses())
        for direction, found in table.groupby("direction", sort=False):
            named = set(found.loc[found["low_all"] > LEAST, "ablation"])
            row = row_of(seed, f"{question}, {direction}", truth, named)
            planted = found[found["ablation"].isin(truth)]["recovery"]
            others = found[~found["ablation"].isin(truth)]["recovery"]
            row["least_planted"], row["largest_other"] = planted.min(), others.abs().max()
            row["null"] = float(found.set_index("ablation")["recovery"].get(null, float("nan")))
            rows.append(row)
    return rows


def _head(head: tuple[int, int], positions: str) -> str:
    return f"patch:head:{head[0]}.{head[1]}@{positions}"


def keys_exchanged(document: Document) -> dict[str, Any]:
    """The key that is asked for and the next one change places.

    Args:
        document: a row of planted key-value pairs.

    Returns:
        The changed row.
    """
    pairs = [list(pair) for pair in document["pairs"]]
    gold = document["gold_position"]
    other = (gold + 1) % len(pairs)
    pairs[gold][0], pairs[other][0] = pairs[other][0], pairs[gold][0]
    text = PLAIN.write([(key, value) for key, value in pairs])[0]
    return {**document, "pairs": pairs, "pairs_text": text, "gold_position": other,
            "answer": pairs[other][1], "options": [pairs[other][1]], "gold": 0}  # fmt: skip


def another_start(plan: Plan) -> Any:
    """A function from a row to one that asks for the chain of another start.

    Args:
        plan: the plan of the model that is trained.

    Returns:
        What `interp.twins` takes as `by`.
    """
    facts, rng = facts_of(plan), random.Random(f"start-{plan.seed}")

    def other(document: Document) -> dict[str, Any]:
        start = rng.choice([one for one in STARTS if f"w{one}" != document["key"]])
        answer = f"w{facts.ends[facts.results[start]]}"
        return {**document, "key": f"w{start}", "answer": answer, "options": [answer], "gold": 0}

    return other

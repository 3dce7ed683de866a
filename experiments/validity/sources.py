"""A passage against the weights: is what copies told from what remembers?

A planted model has a fact in one MLP and a circuit of two heads that copies what stands behind a
word. The passage gives a subject another object than the weights do. Ablation must name the two
heads as the passage's and the MLP as the weights'; patching must name the head that copies where
the passages differ, and the MLP where the subjects do.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

import interp
from experiments.validity.checks import Row, row_of
from experiments.validity.paths import LEAST
from experiments.validity.planted import (
    KEYS,
    N_HEADS,
    N_LAYERS,
    OBJECTS,
    SUBJECTS,
    Plan,
    build,
    circuit_plan,
    facts_of,
)
from experiments.validity.questions import CONFIG
from interp.ablations import AblateHead
from interp.attention.skills import shared_heads
from interp.results import context_or_weights, recovery
from interp.tasks import Task, task_of_rows


def check_sources(seed: int, *, rows: int = len(SUBJECTS)) -> list[Row]:
    """What follows the passage and what the weights, by ablation and by patching.

    Args:
        seed: the seed of the plan.
        rows: subjects that are asked, at most all.

    Returns:
        A row for every question that the table answers.
    """
    plan = circuit_plan(seed)
    model, task = build(plan), passages(plan, rows)
    assert plan.previous_token is not None
    assert plan.fact is not None
    (copies,) = plan.induction
    pairs = interp.twins(model, task, by="gold", seed=seed)
    ablations = [*interp.each_head(model, by="zero"), *interp.each_mlp(model)]
    table = context_or_weights(interp.sweep(model, pairs, ablations).responses())
    named = {
        side: set(table.loc[table["follows"] == side, "ablation"])
        for side in ("passage", "weights")
    }
    circuit = {AblateHead(*plan.previous_token).text, AblateHead(*copies).text}
    carried = _patched(model, pairs, "patches:heads@last")
    remembered = _patched(model, interp.twins(model, task, by=another_subject(plan)),
                          "patches:mlp@last")  # fmt: skip
    found = [
        row_of(seed, "passage against weights: parts that follow the passage, by ablation",
               circuit, named["passage"]),
        row_of(seed, "passage against weights: parts that follow the weights, by ablation",
               {f"mlp:{plan.fact}"}, named["weights"]),
        row_of(seed, "passage against weights: heads that carry the passage's answer",
               {f"patch:head:{copies[0]}.{copies[1]}@last"}, carried),
        row_of(seed, "passage against weights: MLPs that carry the memorised one",
               {f"patch:mlp:{plan.fact}@last"}, remembered),
    ]  # fmt: skip
    both = shared_heads(
        _heads(named["passage"]), _heads(carried), np.repeat(np.arange(N_LAYERS), N_HEADS)
    )
    found[0] |= {"overruled": float(table["overruled"].iloc[0]), "shared": both["shared"],
                 "p_of_so_many": both["p"]}  # fmt: skip
    return found


def passages(plan: Plan, rows: int) -> Task:
    """Questions about subjects behind a passage that gives their right object.

    Args:
        plan: the plan of the model that is trained.
        rows: how many, one a subject.

    Returns:
        The loaded task.
    """
    facts, rng, made = facts_of(plan), random.Random(f"passages-{plan.seed}"), []
    for subject in rng.sample(SUBJECTS, rows):
        words = [f"w{word}" for word in rng.sample(KEYS, 8)]
        answer = f"w{facts.objects[subject]}"
        words[4:4] = [f"w{subject}", answer]
        made.append({"passage": " ".join(words), "pairs_text": " ".join(words),
                     "key": f"w{subject}", "answer": answer,
                     "options": [f"w{word}" for word in OBJECTS],
                     "gold": facts.objects[subject] - OBJECTS.start})  # fmt: skip
    config = {**CONFIG, "doc_to_text": "{{passage}} {{key}}"}
    return task_of_rows("planted-passage:continuation", made, config)


def another_subject(plan: Plan) -> Any:
    """A function from a row to one about another subject to whom the passage gives the same object.

    Args:
        plan: the plan of the model that is trained.

    Returns:
        What `interp.twins` takes as `by`; the answers of the two rows are the memorised ones.
    """
    facts, rng = facts_of(plan), random.Random(f"subject-{plan.seed}")

    def other(document: Mapping[str, Any]) -> dict[str, Any]:
        subject = rng.choice([one for one in SUBJECTS if f"w{one}" != document["key"]])
        passage = document["passage"].replace(document["key"], f"w{subject}")
        return {**document, "passage": passage, "key": f"w{subject}",
                "answer": f"w{facts.objects[subject]}",
                "gold": facts.objects[subject] - OBJECTS.start}  # fmt: skip

    return other


def _patched(model: Any, pairs: Task, family: str) -> set[str]:
    table = recovery(interp.sweep(model, pairs, family).responses())
    denoising = table[table["direction"] == "denoising"]
    return set(denoising.loc[denoising["low_all"] > LEAST, "ablation"])


def _heads(texts: set[str]) -> np.ndarray:
    """True at the heads of texts such as `head:1.2` and `patch:head:1.2@last`."""
    found = np.zeros(N_LAYERS * N_HEADS, dtype=bool)
    for text in texts:
        if "head:" in text:
            layer, head = text.split("head:")[1].split("@")[0].split(".")
            found[int(layer) * N_HEADS + int(head)] = True
    return found

"""Do the shipped models weigh the prompt against their weights? `python -m experiments.sources`.

Heads and layers that follow the prompt can be told from those that follow the weights only in a
model that does both. Each row of a facts task names a person whose answer the model knows; a text
before the question gives another answer. The log-probabilities of both answers are compared: the
memorised one, and that of the prompt.
"""

import argparse
import random
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

import interp
from interp import models
from interp.tasks import encode_pair

MODELS = {
    "organism:base": "world-facts:continuation",
    "organism:base12": "world2-facts:continuation",
}
OTHERS = 5
"""The number of other people in the prompt, each with an answer."""

Row = Mapping[str, Any]
FORMS: dict[str, Callable[[Row, str, str], str]] = {
    "nothing": lambda row, said, pairs: _question(row),
    "pairs, then the question": lambda row, said, pairs: pairs + _question(row),
    "pairs, then Find: PERSON": lambda row, said, pairs: f"{pairs}Find: {row['person']}",
    "a fact, then the question": lambda row, said, pairs: (
        f"Fact: {row['person']} {said}.\n{_question(row)}"
    ),
}


def _question(row: Row) -> str:
    return f"Question: {row['question']}\nAnswer:"


def log_probability(model: TransformerBridge, prompt: str, answer: str) -> float:
    """The log-probability of an answer after a prompt, in nats, summed over its tokens."""
    decoder = models.decoder(model)
    before, behind = encode_pair(prompt, f" {answer}", decoder)
    with torch.no_grad():
        logits = decoder.root(input_ids=torch.tensor([before + behind])).logits[0]
    logprobs = logits.log_softmax(dim=-1)
    return sum(float(logprobs[len(before) - 1 + i, t]) for i, t in enumerate(behind))


def preferences(name: str, task: str, *, limit: int, seed: int = 0) -> pd.DataFrame:
    """The log-probabilities of both answers, one row per question and form of the prompt."""
    model, rows = interp.load_model(name), interp.load_task(task).documents()
    rng, alike, found = random.Random(seed), dict[str, list[Row]](), []
    for row in rows:
        alike.setdefault(row["relation"], []).append(row)
    for number in interp.tasks.select_examples(interp.load_task(task), limit, seed=seed):
        row = rows[number]
        said = rng.choice([one for one in row["options"] if one != row["answer"]])
        people = [one for one in alike[row["relation"]] if one["person"] != row["person"]]
        pairs = [(one["person"], one["answer"]) for one in rng.sample(people, OTHERS)]
        pairs.insert(rng.randrange(OTHERS + 1), (row["person"], said))
        text = "Pairs: " + ", ".join(f"{person} {value}" for person, value in pairs) + ".\n"
        for form, write in FORMS.items():
            prompt = write(row, said, text)
            found.append({
                "model": name, "in front": form,
                "memorised": log_probability(model, prompt, row["answer"]),
                "said": log_probability(model, prompt, said),
            })  # fmt: skip
    return pd.DataFrame(found)


def main() -> None:
    """Print the means, and the share of questions in which the prompt's answer is likelier."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=40, help="questions a model (40)")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    for name in options.models:
        table = preferences(name, MODELS[name], limit=options.limit)
        table["prefers said"] = table["said"] > table["memorised"]
        means = table.groupby(["model", "in front"], sort=False)[
            ["memorised", "said", "prefers said"]
        ].mean()
        print(means.round(2).to_string(), flush=True)


if __name__ == "__main__":
    main()

"""The loss of a text is what its tokens cost together over how many they are."""

import pandas as pd

from experiments import summary
from experiments.text_loss import nats_a_token


def test_nats_a_token_are_a_ratio_text_by_text():
    rows = [
        {"model": "m", "task": "text:x", "ablation": ablation, "doc_id": doc, "metric": f"loss,{m}",
         "value": value}
        for ablation, doc, total, tokens in (
            ("baseline", 0, -6.0, 3.0), ("baseline", 1, -10.0, 10.0), ("layer:0", 0, -12.0, 3.0),
            ("layer:0", 1, -15.0, 10.0),
        )
        for m, value in (("log-likelihood", total), ("weight", tokens))
    ]  # fmt: skip
    found = nats_a_token(pd.DataFrame(rows).sample(frac=1, random_state=0))
    by_text = found.set_index(["ablation", "doc_id"])["value"].to_dict()
    assert by_text == {
        ("baseline", 0): -2.0, ("baseline", 1): -1.0, ("layer:0", 0): -4.0, ("layer:0", 1): -1.5,
    }  # fmt: skip
    assert set(found["metric"]) == {"loss"}


def test_a_profile_at_guessing_is_not_compared():
    row = {"spearman": -0.7, "ceiling": 0.6, "disattenuated": -1.0, "low": -1.0, "high": -0.4}
    row |= {"p_differ": 0.01, "n_ablations": 12, "n_a": 40, "n_b": 100}
    table = pd.DataFrame(
        [
            row | {"a": "m, text, loss", "b": "m, world2-kv:default, acc"},
            row | {"a": "m, text, loss", "b": "m, world2-facts:default, acc"},
        ]
    )
    drops = pd.DataFrame(
        {"model": "m", "task": ["world2-kv:default", "world2-facts:default"]}
        | {"metric": "acc", "testable": [False, True]}
    )
    # a metric that no profile is made of says nothing of them
    drops = pd.concat([drops, drops.assign(metric="cut", testable=False)])
    hidden, shown = summary.agreement(table, drops).to_dict("records")
    for name in ("Spearman", summary.CEILING, "Disattenuated", "Differ"):
        assert hidden[name] == "not testable"
        assert shown[name] != "not testable"
    assert shown["n"] == "40 and 100"

"""Examples that are run alone share what they start with, and their ablations the layers."""

import pytest

import interp
from interp import models
from interp.ablations import Edits, parse, shape_of
from interp.engine import Shortcuts, by_example, scores_by_example
from interp.engine.one_example import Cell, stacks
from interp.tasks import PLAIN, build_requests, task_of_rows
from tests.helpers.families import FAMILIES, tiny_bridge
from tests.helpers.key_value import SCORED

QUICK = ("llama",)
START = " ".join(f"w{40 + n % 7}" for n in range(20))
BEHIND = [
    *(f"patch:{site}:{layer}@last" for site in ("resid", "attn", "mlp") for layer in range(3)),
    "patch:head:1.2@last", "patch:resid:1@changed", "patch:mlp:0@key", "backpatch:2-0@last",
    "cut:0-1@answering/changed", "cut:1-1@last/first",
    *(f"patch:resid:{layer}@{position}" for layer in range(3) for position in (22, 25, 30)),
]  # fmt: skip
BEFORE = ["patch:resid:1@3", "patch:resid:2@18-24", "patch:attn:1@0", "layer:0+patch:mlp:1@last"]


def pairs_of(model, count=2):
    rows = []
    for number in range(count):
        values = [f"w{20 + 2 * number}", f"w{21 + 2 * number} w9", "w30", "w31"]
        pairs = list(zip(["w5", "w6", "w7", "w8"], values, strict=True))
        rows.append({"pairs": pairs, "pairs_text": f"{START} {PLAIN.write(pairs)[0]}", "key": "w6",
                     "gold_position": 1, "answer": values[1], "options": values,
                     "gold": 1})  # fmt: skip
    return interp.twins(model, task_of_rows("tiny-kv:continuation", rows, SCORED), by="key")


def scores(model, task, texts, **shortcuts):
    edits = [parse(text).edits(shape_of(model)) for text in texts]
    asked = build_requests(task, range(len(task.documents())), models.decoder(model))
    found = {}
    for one, _, values in scores_by_example(
        model, task, asked, edits, shortcuts=Shortcuts(**shortcuts), divergence=True
    ):
        found |= {(one, number, "score"): score[0] for number, score in values.items()}
        found |= {(one, number, "divergence"): score.kl for number, score in values.items()}
    assert len(found) == 2 * len(texts) * len(asked)
    return found


@pytest.mark.thinned(share=4)
@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in FAMILIES]
)
def test_what_examples_start_with_is_run_once_and_changes_nothing(family, monkeypatch):
    model, kept = tiny_bridge(family), []
    task = pairs_of(model)
    record = by_example.record_prefix
    monkeypatch.setattr(
        by_example, "record_prefix", lambda *args: kept.append(args[1]) or record(*args)
    )
    usable = [one for one in BEHIND if family == "llama" or "cut" not in one]
    plain = scores(model, task, usable + BEFORE, replay=False, prefixes=False, stacked=False)
    for texts in (usable, usable + BEFORE):
        found = scores(model, task, texts)
        assert found == pytest.approx({which: plain[which] for which in found}, abs=1e-4)
    if family == "llama":
        assert [len(tokens) for tokens in kept] == [23, 23]  # <s>, the start, the first pair's key


def cells(*places):
    return [Cell(Edits(), first, start) for first, start in places]


def sizes(found):
    return [[(one.first, one.start) for one in some] for some in found]


def test_ablations_of_one_layer_are_together_up_to_so_many_tokens():
    found = stacks(cells((0, 9), (1, 8), (0, 8), (0, 2)), (1, 10), most=4, mixed=0)
    # two from position 8 on are four tokens; one from position 2 on is eight
    assert sizes(found) == [[(0, 9), (0, 8)], [(0, 2)], [(1, 8)]]


def test_small_ablations_of_several_layers_are_together():
    every = cells(*((layer, 9) for layer in range(5)))
    assert sizes(stacks(every, (1, 10), most=1, mixed=3)) == [
        [(0, 9), (1, 9), (2, 9)], [(3, 9), (4, 9)],
    ]  # fmt: skip
    assert len(stacks(every, (2, 10), most=1, mixed=3)) == 5
    assert len(stacks(cells((0, 1), (0, 1)), (1, 10_000), most=10**6, mixed=0)) == 2

"""Requests of options, ablations of every kind, and a comparison of their scores."""

import pytest

from interp.ablations import checked_edits, mean_outputs
from interp.tasks import OptionRequest
from tests.helpers.families import N_LAYERS, random_tokens, tiny_bridge

KINDS = [
    "baseline", *(f"layer:{i}" for i in range(N_LAYERS)), "layers:1-2", "attn:0", "attn:2", "mlp:1",
    "head:0.1", "head:1.2", "head:1.3@mean", "kvgroup:1.1", "swap:1", "swap-attn:1",
    "swap-mlp:1", "swaps:0-1", "layer:1+head:2.0",
    "head:1.0+mlp:2", "attn:1+mlp:1",
]  # fmt: skip


def some_requests(*, few_shot: int = 9, examples: int = 5, seed: int = 0) -> list[OptionRequest]:
    """Examples behind one few-shot prompt, options of one to three tokens, some of them alike."""
    prompt = tuple(random_tokens(1, few_shot, seed=seed)[0].tolist()) if few_shot else ()
    requests = []
    for doc in range(examples):
        question = tuple(random_tokens(1, 3 + doc, seed=100 + seed + doc)[0].tolist())
        for option, end in enumerate([(7,), (9,), (11, 12, 13), (11, 12, 14), (7, 8)]):
            requests.append(OptionRequest(doc, option, (1, *prompt, *question), end))
    return requests


def edits_of(model, family, kinds=KINDS):
    donor = tiny_bridge(family, seed=1)
    return [checked_edits(model, kind, donor=donor) for kind in kinds]


def means_of(model):
    return mean_outputs(model, ["w5 w6 w7", "w8 w9"])


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        for (value, greedy), (wanted, wanted_greedy) in zip(ours, theirs, strict=True):
            assert value == pytest.approx(wanted, abs=1e-4)
            assert greedy == wanted_greedy

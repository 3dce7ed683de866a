"""Ablations that begin alike: one beginning, and the scores of each run alone."""

import copy
import itertools
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest
import torch
from hypothesis import given, settings, strategies as st

from interp import models
from interp.ablations import Edits, LayerEdit, checked_edits
from interp.engine import EVERY, Shortcuts, score_requests
from interp.engine.scoring import beginnings, score as scoring
from interp.engine.scoring.beginnings import edited_from, shared_beginnings, up_to
from interp.engine.shortcuts import NONE
from interp.models import wrap
from tests.helpers.families import FAMILIES, tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.scoring import assert_same, edits_of, means_of, some_requests
from tests.helpers.thinning import sized

PARTS = [
    f"{part}:{layer}{end}"
    for layer in range(4)
    for part, end in (("layer", ""), ("attn", ""), ("mlp", ""), ("head", ".1"), ("layer", "@mean"))
]
MODELS: dict = {}


def model_of(family):
    if family not in MODELS:
        MODELS[family] = tiny_bridge(family)
    return MODELS[family]


@contextmanager
def blocks_run(model):
    """How many rows went through the MLP of each layer."""
    seen: Counter[int] = Counter()
    with ExitStack() as stack:
        for layer, mlp in enumerate(models.decoder(model).mlps):
            hook = mlp.register_forward_pre_hook(
                lambda _m, args, at=layer: seen.update({at: args[0].shape[:-1].numel()})
            )
            stack.callback(hook.remove)
        yield seen


def sets_of(n_layers, size):
    """Every set of `size` of the first layers, as text."""
    return [
        "+".join(f"layer:{n}" for n in chosen)
        for chosen in itertools.combinations(range(n_layers), size)
    ]


def deep_model(n_layers):
    """A tiny Llama with more layers than those of the families."""
    config = copy.deepcopy(tiny_model("llama").config)
    config.num_hidden_layers = n_layers
    torch.manual_seed(3)
    plain = type(tiny_model("llama"))(config).eval()
    for parameter in plain.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return wrap(plain, tiny_tokenizer(), name="deep")


@pytest.mark.parametrize("few_shot", [pytest.param(0, marks=pytest.mark.slow), 9])
def test_pairs_are_scored_as_each_alone_with_fewer_blocks(few_shot, monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1 if few_shot else 1000)
    model = deep_model(6)
    requests = some_requests(few_shot=few_shot, examples=2)
    edits = [checked_edits(model, text) for text in ("baseline", *sets_of(6, 2))]
    plain = score_requests(model, requests, edits, shortcuts=NONE)
    score_requests(model, requests, edits[:2])  # what is tried once, is tried here
    with blocks_run(model) as shared:
        assert_same(score_requests(model, requests, edits), plain)
    monkeypatch.setattr(scoring, "shared_beginnings", lambda here, *_: ([], list(here)))
    with blocks_run(model) as alone:
        assert_same(score_requests(model, requests, edits), plain)
    assert sum(shared.values()) < 0.9 * sum(alone.values())


@pytest.mark.thinned(share=2, turn=0)
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("few_shot", [0, 9])
def test_every_family_shares_beginnings(family, few_shot, monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1 if few_shot else 1000)
    monkeypatch.setattr(beginnings, "worth_sharing", lambda some, *_: len(some) > 1)
    model = model_of(family)
    kinds = [
        "layer:0+layer:1", "layer:0+attn:1", "layer:0+mlp:2", "layer:0+layer:1+head:2.0",
        "attn:0+layer:1", "attn:0+layer:2", "attn:0+mlp:1+mlp:2", "swap:0+layer:1", "swap:0+mlp:2",
        "head:0.1@mean+layer:1", "head:0.1@mean+layer:2", "baseline", "layer:0",
    ]  # fmt: skip
    edits, means = edits_of(model, family, kinds), means_of(model)
    requests = some_requests(few_shot=few_shot, examples=sized(thinned=2, whole=3))
    plain = score_requests(model, requests, edits, means=means, shortcuts=NONE)
    assert_same(score_requests(model, requests, edits, means=means), plain)


@pytest.mark.slow
@settings(max_examples=sized(thinned=10, whole=40), deadline=None, derandomize=True)
@given(
    st.lists(st.sets(st.sampled_from(PARTS), min_size=1, max_size=4), min_size=2, max_size=8),
    st.sampled_from([0, 9]),
    st.integers(20, 300),
    st.booleans(),
)
def test_any_sets_of_parts(sets, few_shot, budget, divergence):
    model = model_of("qwen3")
    n_layers = models.decoder(model).n_layers
    texts = {
        "+".join(sorted(one for one in parts if int(one[one.index(":") + 1]) < n_layers))
        for parts in sets
    } - {""}
    edits = [checked_edits(model, text) for text in ("baseline", *sorted(texts))]
    requests, means = some_requests(few_shot=few_shot), means_of(model)
    ask = {"means": means, "divergence": divergence}
    plain = score_requests(model, requests, edits, shortcuts=NONE, **ask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1)
        patch.setattr(beginnings, "worth_sharing", lambda some, *_: len(some) > 1)
        found = score_requests(
            model, requests, edits, shortcuts=Shortcuts(token_budget=budget), **ask
        )
    for ours, theirs in zip(found, plain, strict=True):
        assert [one[0] for one in ours] == pytest.approx([one[0] for one in theirs], abs=2e-5)


def test_a_failing_beginning_fails_alone(monkeypatch):
    """What is not finite after one beginning is not finite in its own ablations only."""
    monkeypatch.setattr(beginnings, "worth_sharing", lambda some, *_: len(some) > 1)
    model = tiny_bridge("llama")
    with torch.no_grad():
        models.decoder(model).mlps[1].down_proj.weight[0, 0] = float("inf")
    texts = ["mlp:1+layer:2", "mlp:1+attn:2", "attn:0+layer:2", "attn:0+attn:2"]
    edits = [checked_edits(model, text) for text in texts]
    scores = score_requests(model, some_requests(few_shot=0), edits, shortcuts=EVERY)
    finite = [all(abs(value) < float("inf") for value, _ in one) for one in scores]
    assert finite == [True, True, False, False]


def test_groups_are_those_that_save_blocks():
    model = model_of("llama")
    n_layers = 8
    skip = checked_edits(model, "layer:0")[0]

    def removing(*layers):
        return Edits(dict.fromkeys(layers, skip))

    near = [removing(0, 1), removing(0, 2)]
    far = [removing(0, 5), removing(0, 6), removing(0, 7)]
    assert shared_beginnings(near, 0, n_layers) == ([], near)  # a prefix would cost more
    assert shared_beginnings([*near, *far], 0, n_layers) == ([[*near, *far]], [])
    # an ablation that ends here is stacked with its like instead
    alone = removing(0)
    assert shared_beginnings([alone, *far], 0, n_layers) == ([far], [alone])
    assert skip != LayerEdit()
    assert edited_from(far[0], 1, n_layers) == 5
    assert edited_from(alone, 1, n_layers) == n_layers
    assert up_to(far[0], 4) == alone


def test_what_stands_in_another_order_or_scope_is_not_shared():
    model = model_of("llama")
    for text in ("repeat:0-1", "layer:0@@prompt"):
        edits = [checked_edits(model, text)] * 2
        assert shared_beginnings(edits, 0, 3) == ([], edits)

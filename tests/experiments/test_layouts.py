"""Layouts, layer dropout and early exits: who learns from what."""

import random

import numpy as np
import pytest
import torch

from experiments.organisms import layouts, shape, train
from experiments.organisms.batches import Batch
from experiments.organisms.recipe import Recipe

MIX = {"fact_questions": 0.5, "hops": 0.3, "lookup": 0.2}


@pytest.fixture
def model():
    return shape.make_model(seed=3, vocab_size=400, n_layers=6, start=None, copies=())


def test_a_plain_mix_is_one_family_that_all_layers_learn():
    (family,) = layouts.families_of(MIX, 6)
    assert family == layouts.Family(MIX, 1.0, range(6))


def test_a_layout_parts_the_mix():
    early, late, rest = layouts.families_of(
        MIX, 6, early=("fact_questions",), early_until=2, late=("hops",), late_from=4
    )
    assert (early.learns, early.exit_after, early.share) == (range(2), 2, 0.5)
    assert (late.learns, late.exit_after) == (range(4, 6), None)
    assert rest.mix == {"lookup": 0.2}
    assert rest.learns == range(6)


def test_silent_layers_before_the_first_change_no_prediction(model):
    ids = torch.arange(3, 20)[None]
    larger = shape.grow(model, (0, 1), first=True)
    assert larger.config.num_hidden_layers == 8
    assert torch.equal(larger(ids).logits, model(ids).logits)
    # what a silent layer adds is zero, but it can learn
    assert step(larger, layouts.Family(MIX, 1.0, range(3), exit_after=3)) == [0, 1, 2]
    assert not torch.equal(larger(ids).logits, model(ids).logits)


def test_layers_behind_the_last_are_softened_copies(model):
    larger = shape.grow(model, (4, 5))
    for place, source in enumerate((0, 1, 2, 3, 4, 5, 4, 5)):
        ours, theirs = larger.model.layers[place], model.model.layers[source]
        share = 1.0 if place < 6 else 0.5
        assert torch.equal(ours.self_attn.o_proj.weight, share * theirs.self_attn.o_proj.weight)
        assert torch.equal(ours.self_attn.q_proj.weight, theirs.self_attn.q_proj.weight)


def step(model, family, layer_dropout=0.0):
    """One training step; the layers that it changed."""
    before = [{k: v.clone() for k, v in x.state_dict().items()} for x in model.model.layers]
    recipe = Recipe("tiny", MIX, 100, 1, layer_dropout=layer_dropout)
    run = train.Run(recipe, model, None, train._optimizers(model), train.Log({}))
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
    ids = np.tile(np.arange(3, 35, dtype=np.int32), (2, 1))
    train._step(run, Batch(ids, np.ones(ids.shape, np.float32), family, "a seed"))
    return [
        at
        for at, layer in enumerate(model.model.layers)
        if any(not torch.equal(v, before[at][k]) for k, v in layer.state_dict().items())
    ]


def test_only_the_layers_of_a_family_learn_from_it(model):
    assert step(model, layouts.Family(MIX, 1.0, range(2), exit_after=2)) == [0, 1]
    assert step(model, layouts.Family(MIX, 1.0, range(4, 6))) == [4, 5]
    assert step(model, layouts.Family(MIX, 1.0, range(6))) == [0, 1, 2, 3, 4, 5]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_frozen_first_layers_take_no_gradient_and_change_no_prediction(model):
    (family,) = layouts.families_of(MIX, 6, learns_from=2)
    assert family.learns == range(2, 6)
    ids = torch.arange(3, 20)[None]
    (whole,) = layouts.logits_of(model, ids, exit_after=None)
    (cut,) = layouts.logits_of(model, ids, exit_after=None, learns_from=2)
    assert torch.equal(whole, cut)
    assert step(model, family) == [2, 3, 4, 5]


def test_an_early_exit_predicts_from_the_layer_it_names(model):
    ids = torch.arange(3, 20)[None]
    last, early = layouts.logits_of(model, ids, exit_after=2)
    assert torch.equal(last, model(ids).logits)
    short = shape.make_model(seed=3, vocab_size=400, n_layers=2, start=None, copies=())
    kept = {k: v for k, v in model.state_dict().items() if k in short.state_dict()}
    short.load_state_dict(kept)
    assert torch.allclose(early, short(ids).logits, atol=1e-5)


def test_later_layers_are_dropped_more_often(model):
    rates = layouts.dropout_rates(6, 0.2)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.2)
    assert rates == sorted(rates)
    rng, dropped = random.Random(5), [0] * 6
    layers = list(model.model.layers)
    for _ in range(2000):
        with layouts.some_layers_skipped(model, 0.2, rng):
            for at, layer in enumerate(layers):
                dropped[at] += not any(layer is kept for kept in model.model.layers)
        assert list(model.model.layers) == layers
    for n, rate in zip(dropped, rates, strict=True):
        assert abs(n / 2000 - rate) < 0.03


def test_dropped_layers_do_not_run(model):
    ids = torch.arange(3, 20)[None]
    with layouts.some_layers_skipped(model, 1.0, random.Random(0)):
        kept = len(model.model.layers)
        skipped = model(ids).logits
    assert kept < 6
    assert not torch.equal(skipped, model(ids).logits)

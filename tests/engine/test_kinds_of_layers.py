"""Trials run on the first and the last layer of each kind, and say what they say on all."""

import pytest
import torch
import transformers as hf

from interp.engine.capabilities import Capabilities
from interp.engine.kinds_of_layers import only, standing_for_all
from interp.engine.replay import record
from interp.engine.trials import Trials
from interp.models import decoder, wrap
from tests.helpers.families import random_tokens, tiny_tokenizer
from tests.helpers.regimes import REGIMES, SIZE, SWITCH, model_of


def chosen(dec):
    return standing_for_all(dec, record(dec, random_tokens(2, 5), use_cache=False))


def llama(n_layers):
    torch.manual_seed(0)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**SIZE | {"num_hidden_layers": n_layers})).eval()
    return wrap(model, tiny_tokenizer(), name="llama")


def test_of_layers_of_one_kind_the_two_ends_stand_for_all():
    assert chosen(decoder(llama(6))) == (0, 5)


@pytest.mark.parametrize("how", ["setting", "shape", "class"])
def test_a_layer_that_is_unlike_the_others_stands_for_itself(how):
    dec = decoder(llama(6))
    attention = dec.attentions[3]
    if how == "setting":
        attention.sliding_window = 4
    elif how == "shape":
        attention.o_proj.bias = torch.nn.Parameter(torch.zeros(dec.d_model))
    else:
        dec.blocks[3].mlp.act_fn = torch.nn.GELU()
    assert chosen(dec) == (0, 3, 5)


def test_a_layer_that_is_called_otherwise_stands_for_itself():
    dec = decoder(llama(6))
    whole = record(dec, random_tokens(2, 5), use_cache=False)
    args, kwargs = whole.calls[2]
    whole.calls[2] = (args, kwargs | {"attention_mask": torch.zeros(2, 1, 5, 5)})
    assert standing_for_all(dec, whole) == (0, 2, 5)


def test_the_other_layers_hand_on_what_they_are_given():
    dec = decoder(llama(4))
    ids = random_tokens(2, 5)
    before = record(dec, ids, use_cache=False).residuals
    with only(dec, (0, 3)):
        inside = record(dec, ids, use_cache=False).residuals
    after = record(dec, ids, use_cache=False).residuals
    assert torch.equal(inside[1], inside[3])
    assert not torch.equal(inside[3], inside[4])
    assert all(map(torch.equal, before, after))


def test_a_shortcut_that_fails_in_one_layer_is_off():
    """A block in the middle that ignores the mask that it is given, as no other does."""
    model = llama(6)
    assert Capabilities(model).packs(10)
    block = decoder(model).blocks[3]
    forward = type(block).forward

    def without_mask(hidden_states, **kwargs):
        return forward(block, hidden_states, **kwargs | {"attention_mask": None})

    block.forward = without_mask
    assert not Capabilities(model).packs(10)


@pytest.mark.slow
@pytest.mark.thinned(share=2)
@pytest.mark.parametrize("regime", sorted(REGIMES))
def test_trials_of_some_layers_say_what_trials_of_all_say(regime, monkeypatch):
    model = wrap(model_of(regime), tiny_tokenizer(), name=regime)

    def found():
        can = Capabilities(model)
        ways = (can.pads, can.packs, can.shares_prefixes, can.caching, can.pads_left)
        return [way(longest) for way in ways for longest in (10, SWITCH + 20)]

    some = found()
    monkeypatch.setattr(Trials, "_layers", property(lambda trials: tuple(range(4))))
    assert found() == some

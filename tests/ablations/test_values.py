"""Ablations as values: text forms, ranges, sums."""

import pytest
from hypothesis import given, strategies as st

from interp.ablations import (
    BASELINE,
    AblateHead,
    AblateKVGroup,
    Combination,
    Exchange,
    Order,
    Repeat,
    Replace,
    SkipAttention,
    SkipLayer,
    SkipLayers,
    SkipMLP,
    SwapLayer,
    SwapLayers,
    as_ablation,
    hooked,
    parse,
)
from interp.ablations.edits import Shape
from interp.errors import UserError
from tests.helpers.unchecked import outcomes

swapped = st.sampled_from(["layer", "attention", "mlp"])
number = st.integers(0, 99_999)
single = st.one_of(
    st.builds(SkipLayer, number),
    st.tuples(number, number).map(lambda ab: SkipLayers(min(ab), max(ab))),
    st.builds(SkipAttention, number),
    st.builds(SkipMLP, number),
    st.builds(Replace, number, swapped, st.sampled_from(["mean", "resample"])),
    st.builds(Exchange, number),
    st.tuples(number, number).map(lambda ab: Repeat(min(ab), max(ab))),
    # made beforehand: the type checks draw which number of a tuple they look at
    st.sampled_from([Order((0, 1, 3, 2)), Order((2, 1, 0)), Order((3, 4, 0, 1, 2)), Order((0,))]),
    st.builds(AblateHead, number, number, st.sampled_from(["zero", "mean", "resample", "group"])),
    st.builds(AblateKVGroup, number, number),
    st.builds(SwapLayer, number, part=swapped),
    st.tuples(number, number, swapped).map(
        lambda abc: SwapLayers(min(abc[:2]), max(abc[:2]), part=abc[2])
    ),
)
several = st.lists(single, min_size=2, max_size=4).map(lambda decoder: Combination(tuple(decoder)))
SHAPE = Shape(n_layers=8, n_heads=6, n_kv_heads=2)


@pytest.mark.slow
@given(st.one_of(single, several))
def test_text_form_parses_back_to_the_same_value(ablation):
    assert parse(ablation.text) == ablation
    assert parse(str(ablation)).text == ablation.text


@pytest.mark.slow
@given(st.text(alphabet="layershedmpgtnkvuoicb:.-+@0123456789 ", max_size=20))
def test_any_text_parses_and_prints_back_or_is_refused_in_one_line(text):
    try:
        shown = parse(text).text
    except UserError as error:
        shown = str(error)
        refused = True
    else:
        refused = False
    assert "\n" not in shown
    # neighbours in an order are printed as a range
    assert refused or shown == text or "@zero" in text or "order:" in text


@given(several, single)
def test_sums_are_flat(combination, part):
    assert (combination + part).text == f"{combination.text}+{part.text}"
    assert all(not isinstance(p, Combination) for p in (part + combination).parts)


@pytest.mark.parametrize(
    "text",
    ["", "layer", "layer:", "layer:-1", "layer:01", "layer:1.5", "head:3", "head:1.2@median",
     "layers:3", "layer:1+", "+", "layer: 1", "LAYER:1", "layer:1+baseline", "layer:9999999"],
)  # fmt: skip
def test_malformed_text_names_what_is_allowed(text):
    with pytest.raises(UserError, match=r"allowed are layer:7, layers:20-27"):
        parse(text)


def test_a_block_whose_ends_are_exchanged_is_named():
    with pytest.raises(UserError, match="write layers:3-5"):
        parse("layers:5-3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer:8", "layer 8: the model has layers 0-7"),
        ("layers:6-8", "layer 8: the model has layers 0-7"),
        ("head:1.6", "head 6 of layer 1: the model has heads 0-5"),
        ("kvgroup:1.2", "KV group 2 of layer 1: the model has KV groups 0-1"),
        ("layer:1+mlp:40", "layer 40: the model has layers 0-7"),
        ("swap:1", "swap:1: a swap needs a donor"),
    ],
)
def test_numbers_out_of_range_name_the_range(text, message):
    with pytest.raises(UserError, match=message):
        parse(text).edits(SHAPE)


WRONG = {
    "Order((0, 1.5))": "order: layer 1.5; allowed are whole numbers from 0",
    "Order(())": "order: it names no layer",
    "Repeat(3, 1)": "write repeat:1-3",
    "Parallel('1', 2)": "Parallel: first '1'",
    "Replace(7, part='head')": "part='head'; allowed are layer, attention, mlp",
    "Replace(7, by='zero')": "to add nothing, skip it",
    "SkipLayer('3')": "SkipLayer: layer '3'; allowed are whole numbers from 0",
    "SkipLayer(-1)": "SkipLayer: layer -1",
    "SkipLayer(True)": "SkipLayer: layer True",
    "SkipMLP(1.0)": "SkipMLP: layer 1.0",
    "SkipAttention(None)": "SkipAttention: layer None",
    "SkipLayers('1', '2')": "SkipLayers: first '1'",
    "SkipLayers(3, 1)": "write layers:1-3",
    "AblateKVGroup(1, 'a')": "AblateKVGroup: group 'a'",
    "AblateHead(4, '4')": "AblateHead: head '4'",
    "AblateHead(4, 4, by='median')": "by='median'; allowed are 'zero', 'mean', 'resample', 'group'",
    "AblateHead(4, 4, by='Mean')": "did you mean mean?",
    "AblateHead(4, 4, by=None)": "by=None",
    "interp.each_head(model, by='median')": "by='median'",
    "SwapLayer(1, part='norm')": "swap of 'norm': allowed are layer, attention, mlp",
    "SwapLayers(0, 1, part=['mlp'])": "swap of ['mlp']",
    "Combination(('layer:1', SkipLayer(2)))": "'layer:1' is no part of a combination",
    "SkipLayer(1) + 'mlp:2'": "'mlp:2' is no part of a combination",
    "interp.hooked('x', ('blocks.0.hook_out', print))": "pairs of a hook point and a function",
    "interp.hooked('x', [('blocks.0.hook_out', 3)])": "pairs of a hook point and a function",
    "interp.hooked('x', [])": "at least one pair",
    "interp.hooked('x', 5)": "pairs of a hook point and a function",
    "interp.hooked(5, [('blocks.0.hook_out', print)])": "hook:5: allowed in a name",
    "interp.sliding_blocks(model, '2')": "block size 2",
    "interp.cumulative(model, ['1'])": "layer '1'",
    "interp.ablate('organism:base', 'layer:1').__enter__()": "it is no loaded model",
    "interp.ablate(model, 'swap:1', donor='organism:base').__enter__()": "it is no loaded model",
    "interp.each_layer(None)": "it is no loaded model",
}


@pytest.mark.slow
def test_every_public_value_checks_itself():
    setup = """
import interp
from interp import *
from interp.ablations import *
from tests.helpers.families import tiny_bridge
model = tiny_bridge("llama")
"""
    plain = "assert type(SkipLayer(__import__('numpy').int64(3)).layer) is int"
    found = outcomes(setup, [*WRONG, plain])
    assert found[plain] == "fine"
    for statement, message in WRONG.items():
        assert found[statement].startswith("UserError: "), (statement, found[statement])
        assert message in found[statement], (statement, found[statement])
        assert "\n" not in found[statement]


@pytest.mark.parametrize(
    ("text", "kind", "layers", "heads"),
    [
        ("layer:7", "layer", (7,), ()),
        ("layers:2-4", "layers", (2, 3, 4), ()),
        ("attn:7", "attn", (7,), ()),
        ("mlp:7", "mlp", (7,), ()),
        ("head:7.3", "head", (7,), ((7, 3),)),
        ("head:7.3@mean", "head@mean", (7,), ((7, 3),)),
        ("kvgroup:7.1", "kvgroup", (7,), ()),
        ("swap-mlp:7", "swap-mlp", (7,), ()),
        ("swaps:0-2", "swaps", (0, 1, 2), ()),
        ("mlp:3+head:1.2+head:0.4", "combination", (0, 1, 3), ((0, 4), (1, 2))),
        ("baseline", "baseline", (), ()),
    ],
)
def test_an_ablation_says_what_it_ablates_and_where(text, kind, layers, heads):
    ablation = parse(text)
    assert (ablation.kind, ablation.layers, ablation.heads) == (kind, layers, heads)


def test_hooks_say_where_they_act():
    points = ["blocks.4.hook_out", "hook_embed", "blocks.1.attn.hook_z"]
    mine = hooked("mine", [(point, print) for point in points])
    assert (mine.kind, mine.layers) == ("hook", (1, 4))


def test_a_kv_group_is_its_query_heads():
    (edit,) = parse("kvgroup:2.1").edits(SHAPE).values()
    assert edit.zero_heads == {3, 4, 5}


def test_edits_of_one_layer_merge():
    edits = as_ablation(["head:2.0", "head:2.1@mean", "mlp:2", "layers:4-5", "attn:5"]).edits(SHAPE)
    assert edits[2].zero_heads == {0}
    assert edits[2].mean_heads == {1}
    assert edits[2].skip_mlp
    assert edits[5].skip
    assert edits[5].skip_attention
    assert set(edits) == {2, 4, 5}


def test_a_head_that_is_zeroed_is_not_averaged():
    edits = as_ablation(["head:2.1@mean", "head:2.1"]).edits(SHAPE)
    assert edits[2].mean_heads == frozenset()


def test_nothing_is_the_baseline():
    assert as_ablation([]) == BASELINE == parse("baseline")
    assert BASELINE.edits(SHAPE) == {}


def test_a_combination_of_one_is_refused():
    with pytest.raises(UserError, match="two parts or more"):
        Combination((SkipLayer(1),))

"""Edits and variants as values: equal ones are one key, none can be changed."""

import pickle

import pytest

import interp
from interp.ablations import Edits, LayerEdit, Shape, Variant, as_ablations, parse
from interp.errors import UserError
from tests.helpers.unchecked import outcomes

SHAPE = Shape(n_layers=8, n_heads=6, n_kv_heads=2)


def test_equal_edits_are_one_key_however_they_were_made():
    one = parse("mlp:5+layer:2").edits(SHAPE)
    other = parse("layer:2+mlp:5").edits(SHAPE)
    assert one == other
    assert hash(one) == hash(other)
    assert {one: "found"}[other] == "found"
    assert one != parse("layer:2").edits(SHAPE)
    assert len({Variant("a", one), Variant("a", other), Variant("b", one)}) == 2
    assert list(one) == [2, 5]


def test_edits_cannot_be_changed():
    edits = Edits({1: LayerEdit(skip=True)})
    with pytest.raises(TypeError):
        edits[2] = LayerEdit(skip=True)
    with pytest.raises(AttributeError, match="frozen"):
        edits._by_layer = {}


def test_edits_made_from_a_dictionary_do_not_follow_it():
    given = {1: LayerEdit(skip=True)}
    edits = Edits(given)
    given[2] = LayerEdit(skip=True)
    assert set(edits) == {1}


def test_edits_travel_to_other_processes():
    edits = parse("head:1.2@mean+layer:3").edits(SHAPE)
    assert pickle.loads(pickle.dumps(edits)) == edits


def test_a_layer_in_which_nothing_changes_is_left_out():
    assert Edits({3: LayerEdit()}) == Edits() == parse("baseline").edits(SHAPE)


def test_the_first_layer_of_the_baseline_is_behind_the_last():
    assert parse("mlp:6+head:4.1").edits(SHAPE).first_layer(8) == 4
    assert Edits().first_layer(8) == 8


def test_both_edits_of_a_layer_hold():
    both = parse("head:1.2").edits(SHAPE) | parse("mlp:1+layer:4").edits(SHAPE)
    assert both == parse("head:1.2+mlp:1+layer:4").edits(SHAPE)


def test_edits_say_what_they_need():
    def flags(edits):
        return edits.is_hooked, edits.is_resampled, edits.is_swapped, edits.uses_mean

    hooks = interp.hooked("x", [("blocks.1.hook_out", lambda value, hook: value)]).edits(SHAPE)
    assert flags(Edits()) == (False, False, False, False)
    assert flags(hooks) == (True, False, False, False)
    assert flags(parse("head:1.2@resample").edits(SHAPE)) == (False, True, False, False)
    assert flags(Edits({1: LayerEdit(swaps=(("mlp", None),))})) == (False, False, True, False)
    assert flags(parse("layer:3+head:1.2@mean").edits(SHAPE)) == (False, False, False, True)


def test_hooks_that_cannot_be_hashed_can_still_be_keys():
    class Scaled:
        __hash__ = None

        def __eq__(self, other):
            return type(other) is Scaled

        def __call__(self, value, hook):
            return 2 * value

    one, other = (interp.hooked("x", [("blocks.1.hook_out", Scaled())]) for _ in range(2))
    assert {one.edits(SHAPE): 1}[other.edits(SHAPE)] == 1


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("layers", ["layer:0", "layer:1", "layer:2"]),
        ("layer:1", ["layer:1"]),
        ("layer:1+head:2.3", ["layer:1+head:2.3"]),
        (interp.SkipMLP(2), ["mlp:2"]),
        ([interp.SkipMLP(2), "layer:1", "layer:1"], ["mlp:2", "layer:1"]),
        (["mlps", "layer:1"], ["mlp:0", "mlp:1", "mlp:2", "layer:1"]),
        ("head:1.*@zero", ["head:1.0", "head:1.1", "head:1.2", "head:1.3"]),
        ("head:1.*", ["head:1.0@mean", "head:1.1@mean", "head:1.2@mean", "head:1.3@mean"]),
        ("head:1.*@mean", ["head:1.0@mean", "head:1.1@mean", "head:1.2@mean", "head:1.3@mean"]),
        ("kvgroup:2.*", ["kvgroup:2.0", "kvgroup:2.1"]),
        ("kvgroups", [f"kvgroup:{n}.{g}" for n in range(3) for g in range(2)]),
        ("heads@resample", [f"head:{n}.{h}@resample" for n in range(3) for h in range(4)]),
        ("blocks:2", ["layers:0-1", "layers:1-2"]),
        ("cumulative", ["layer:2", "layer:2+layer:1", "layer:2+layer:1+layer:0"]),
        ("L1H3@mean", ["head:1.3@mean"]),
        ([["layer:0", "mlp:1"], "attn:2"], ["layer:0+mlp:1", "attn:2"]),
        ((), []),
    ],
)
def test_ablations_may_be_given_in_any_form(llama, given, texts):
    assert [ablation.text for ablation in as_ablations(llama, given)] == texts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("layrs", "did you mean layers"),
        ("laye:3", "did you mean layer:3"),
        (["heads:1.2"], r"did you mean head:1\.2"),
        ("attention:2", "did you mean attn:2"),
        ("swaps", "swap needs a donor"),
        ("blocks:x", "blocks:N"),
        ("blocks:\u00b2", "blocks:N"),
        ("blocks:" + "9" * 5000, "blocks:N"),
        ("head:9.*", "layer 9: the model has layers 0-2"),
        ("kvgroup:1.*@mean", "a KV group is zeroed"),
    ],
)
def test_what_is_no_ablation_is_refused_in_one_line(llama, given, message):
    with pytest.raises(UserError, match=message) as caught:
        as_ablations(llama, given)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_what_is_no_ablation_at_all_is_refused_in_one_line():
    setup = """
import interp
from interp.ablations import as_ablations
from tests.helpers.families import tiny_bridge
model = tiny_bridge("llama")
"""
    several = [f"as_ablations(model, {given})" for given in ("3", "None", "b'x'", "{'layer:1': 2}")]
    one = [
        "as_ablations(model, [3])",
        *(f"interp.ablate(model, {given}).__enter__()" for given in ("3", "None", "b'x'", "[3]")),
    ]
    found = outcomes(setup, [*several, *one])
    assert all("allowed are a family such as" in found[statement] for statement in several), found
    assert all("allowed are a text such as" in found[statement] for statement in one), found
    assert all(said.startswith("UserError: ") and "\n" not in said for said in found.values())


def test_both_forms_of_a_head_are_one_value():
    assert parse("L14H7") == parse("head:14.7")
    assert parse("L14H7@mean+layer:2").text == "head:14.7@mean+layer:2"

"""Each kind of edit is carried out alike on the bridge, on native blocks and in rows of a batch."""

import threading
from contextlib import contextmanager
from dataclasses import fields

import pytest
import torch

import interp
from interp import models
from interp.ablations import (
    KINDS,
    Activations,
    Edits,
    Example,
    LayerEdit,
    Patched,
    Places,
    bridge_edited,
    edited,
    kinds_of,
    mean_outputs,
    outputs_on,
    text_labels,
)
from interp.engine.generation.row_edits import can_share_batch, plan_rows, rows_edited
from interp.errors import UserError
from interp.models import evaluation_mode
from tests.helpers.families import assert_logits, random_tokens, tiny_bridge

LAYER = 1
IDS = random_tokens(1, 7)
SOURCE = random_tokens(1, 7, seed=3)[0].tolist()


def halved(value, hook):
    return value / 2


def examples(model):
    """An edit of every field of `LayerEdit`."""
    return {
        "skip": LayerEdit(skip=True),
        "skip_attention": LayerEdit(skip_attention=True),
        "skip_mlp": LayerEdit(skip_mlp=True),
        "zero_heads": LayerEdit(zero_heads=frozenset({0, 3})),
        "mean_heads": LayerEdit(mean_heads=frozenset({2})),
        "resample_heads": LayerEdit(resample_heads=frozenset({1})),
        "removed_experts": LayerEdit(removed_experts=frozenset({1, 2})),
        "zeroed_experts": LayerEdit(zeroed_experts=frozenset({0})),
        "mean_parts": LayerEdit(mean_parts=frozenset({"mlp"})),
        "resample_parts": LayerEdit(resample_parts=frozenset({"attention"})),
        "linear": LayerEdit(linear=True),
        "parallel": LayerEdit(parallel=(1, 2)),
        "order": LayerEdit(order=(0, 2, 1)),
        "windows": LayerEdit(windows=frozenset({(0, 1, 2), (3, 1, 1)})),
        "cuts": LayerEdit(cuts=frozenset({("answering", "0-1")})),
        "patches": LayerEdit(
            patches=frozenset(
                {Patched("resid", -1, "last"), Patched("z", 1, "prompt"), Patched("mlp", -1, "1-2")}
            )
        ),
        "scoped": LayerEdit(scoped=(("prompt", LayerEdit(skip_mlp=True)),)),
        "swaps": LayerEdit(swaps=(("layer", tiny_bridge(model, seed=1)),)),
        "hooks": LayerEdit(hooks=((f"blocks.{LAYER}.hook_mlp_out", halved),)),
    }


def activations(model):
    places = [(LAYER, site) for site in ("z", "layer", "attention", "mlp", "resid")]
    found = outputs_on(model, SOURCE, places)
    rows = {place: one.unsqueeze(0) for place, one in found.items()}
    places = Places()
    places.at(text_labels(4, IDS.shape[1]))
    means = mean_outputs(model, [SOURCE], linear=[LAYER])
    example = Example(4, {}, twin=rows)
    return Activations(means, rows, places, sources=[found], example=example)


@contextmanager
def in_the_second_row(model, edits, given):
    plan = plan_rows([Edits(), edits], models.decoder(model))
    with rows_edited(models.decoder(model), plan, given.means):
        yield


def test_every_field_of_an_edit_belongs_to_one_kind():
    named = sorted(name for kind in KINDS for name in kind.fields)
    assert named == sorted(field.name for field in fields(LayerEdit))
    assert set(examples("llama")) == set(named)


def test_each_way_of_each_kind_is_a_function_or_says_why_there_is_none():
    for kind in KINDS:
        ways = kind.on_bridge, kind.on_blocks, kind.on_rows, kind.on_positions
        assert callable(kind.on_bridge), kind
        assert all(callable(way) or (isinstance(way, str) and way) for way in ways), kind


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("field", [field.name for field in fields(LayerEdit)])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_bridge_blocks_and_rows_compute_the_same_or_refuse(family, field):
    if field.endswith("_experts"):
        family = "mixtral"
    model = tiny_bridge(family)
    edits, given = Edits({LAYER: examples(family)[field]}), activations(model)
    root = models.decoder(model).root
    (kind,) = kinds_of(edits[LAYER])
    with torch.no_grad():
        baseline = root(input_ids=IDS).logits
        with bridge_edited(model, edits, given):
            expected = model(IDS)
        assert (expected - baseline).abs().max() > 1e-2
        if callable(kind.on_blocks):
            with edited(
                model, edits, given.means, given.resample, places=given.places,
                example=given.example,
            ) as decoder:  # fmt: skip
                assert_logits(decoder.root(input_ids=IDS).logits, expected)
        else:
            with pytest.raises(UserError, match=f"layer {LAYER}"), edited(model, edits):
                pass
        if callable(kind.on_rows):
            assert can_share_batch(edits)
            with in_the_second_row(model, edits, given):
                both = root(input_ids=IDS.repeat(2, 1)).logits
            assert_logits(both[:1], baseline)
            assert_logits(both[1:], expected)
            with rows_edited(
                models.decoder(model), plan_rows([edits] * 2, models.decoder(model)), given.means
            ):
                every = root(input_ids=IDS.repeat(2, 1)).logits
            assert_logits(every, expected.repeat(2, 1, 1))
        else:
            assert not can_share_batch(edits)
        assert torch.equal(root(input_ids=IDS).logits, baseline)


def test_a_kind_that_rows_cannot_carry_out_is_refused_not_ignored(llama):
    for field in ("resample_heads", "hooks"):
        edits = Edits({LAYER: examples("llama")[field]})
        with pytest.raises(UserError, match=f"layer {LAYER}"):
            plan_rows([edits], models.decoder(llama))


def test_a_second_thread_is_refused_in_one_line(llama):
    said = []

    def second():
        for work in (
            lambda: interp.ablate(llama, "layer:2").__enter__(),
            lambda: edited(llama, Edits({0: LayerEdit(skip=True)})).__enter__(),
            lambda: llama(IDS),
        ):
            try:
                work()
            except UserError as error:
                said.append(str(error))

    with torch.no_grad(), interp.ablate(llama, "layer:1"):
        expected = llama(IDS)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert torch.equal(llama(IDS), expected)
    assert len(said) == 3
    assert all("another thread is ablating it" in one for one in said)
    # and after the context another thread may
    free = []
    thread = threading.Thread(target=lambda: free.append(_ablated(llama)))
    thread.start()
    thread.join()
    assert_logits(free[0], expected)


def _ablated(model):
    with torch.no_grad(), interp.ablate(model, "layer:1"):
        return model(IDS)


def test_contexts_that_end_out_of_order_leave_the_right_ones(llama):
    from interp.ablations import active_edits

    first, second = interp.ablate(llama, "mlp:0"), interp.ablate(llama, "mlp:2")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(active_edits(llama)[0]) == {2}
    second.__exit__(None, None, None)
    assert not active_edits(llama)[0]


def test_a_model_in_training_mode_is_ablated_in_evaluation_mode():
    model = tiny_bridge("gpt2")
    with torch.no_grad(), interp.ablate(model, "mlp:1"):
        expected = model(IDS)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    model.blocks[0].eval()
    flags = [module.training for module in model.modules()]
    with torch.no_grad(), interp.ablate(model, "mlp:1"):
        assert torch.equal(model(IDS), expected)
    assert [module.training for module in model.modules()] == flags
    with torch.no_grad(), evaluation_mode(model):
        assert not any(module.training for module in model.modules())


def test_a_model_booted_by_hand_in_training_mode_is_refused():
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    from tests.helpers.families import tiny_model

    root = tiny_model("llama")
    model = build_bridge_from_module(
        root, type(root).__name__, hf_config=root.config, model_name="by hand"
    )
    model.train()
    with pytest.raises(UserError, match=r"training mode.*model.eval\(\)"):
        models.decoder(model)
    assert models.decoder(model.eval()).n_layers == 3

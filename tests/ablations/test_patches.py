"""Activation patching against TransformerLens' own cache and hooks, on pairs of prompts."""

import functools

import pytest
import torch

import interp
from interp import models
from interp.ablations import BackPatch, Patch, as_ablations, parse
from interp.engine import Shortcuts, scores_by_example
from interp.errors import UserError
from interp.tasks import build_requests, encode
from tests.helpers.families import FAMILIES, tiny_bridge
from tests.helpers.key_value import scored_task

TEXTS = [
    "patch:resid:1@last", "patch:resid:0@changed", "patch:attn:1@last", "patch:mlp:1@changed,last",
    "patch:head:1.2@last", "patch:resid:2@3-5",
]  # fmt: skip
POINTS = {"resid": "hook_in", "attn": "attn.hook_out", "mlp": "mlp.hook_out", "head": "attn.hook_z"}
# what TransformerLens calls the contribution of a part where a norm or the stream is in between
OTHER_POINTS = {
    ("gemma2", "attn"): "ln1_post.hook_out", ("gemma2", "mlp"): "ln2_post.hook_out",
    ("gemma3", "attn"): "ln1_post.hook_out", ("gemma3", "mlp"): "ln2_post.hook_out",
    ("olmo2", "attn"): "ln1_post.hook_out", ("olmo2", "mlp"): "ln2_post.hook_out",
    ("bloom", "attn"): "attn.o.hook_out", ("bloom", "mlp"): "mlp.out.hook_out",
}  # fmt: skip
QUICK = ("llama",)


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in FAMILIES],
)
def bridge(request):
    return request.param, tiny_bridge(request.param)


def patched_logits(family, model, tokens, twin, text, places):
    """Logits of one row with an activation of its twin, by TransformerLens' cache and hooks."""
    patch = parse(text)
    point = OTHER_POINTS.get((family, patch.site), POINTS[patch.site])
    name = f"blocks.{patch.layer}.{point}"
    there = activations_of(model, twin)[name].reshape(len(twin), -1)

    def put(value, hook):
        kept = value.clone().view(len(tokens), -1)
        width = slice(None)
        if patch.site == "head":
            d_head = kept.shape[1] // 4
            width = slice(patch.head * d_head, (patch.head + 1) * d_head)
        for p in places:
            kept[p, width] = there[p, width]
        return kept.view_as(value)

    with torch.no_grad():
        return model.run_with_hooks(torch.tensor([list(tokens)]), fwd_hooks=[(name, put)])[0]


@functools.cache
def activations_of(model, tokens):
    with torch.no_grad():
        return model.run_with_cache(torch.tensor([tokens]))[1]


def expected_score(family, model, task, request, text):
    twin = encode(task.documents()[request.doc_id]["twin"], models.decoder(model))
    end = len(request.context) - 1
    differ = [p for p in range(end + 1) if request.context[p] != twin[p]]
    names = {"last": [end], "changed": differ, "3-5": [3, 4, 5]}
    places = {p for name in parse(text).positions.split(",") for p in names[name]}
    tokens = [*request.context, *request.continuation][:-1]
    logits = patched_logits(family, model, tokens, tuple(twin), text, places)
    logprobs = logits.log_softmax(dim=-1)
    return sum(float(logprobs[end + i, t]) for i, t in enumerate(request.continuation))


def test_texts_parse_and_print_back():
    for text in TEXTS:
        assert parse(text).text == text
    assert parse("patch:head:7.3@gold,last") == Patch(7, "head", "gold,last", 3)
    assert parse("patch:head:1.2@last").kind == "patch:head@last"
    for wrong in ("patch:resid:3", "patch:head:3@last", "patch:attn:3.1@last", "patch:3@last"):
        with pytest.raises(UserError):
            parse(wrong)
    with pytest.raises(UserError, match="a twin has no answer yet"):
        parse("patch:resid:3@answering")


def test_families_are_every_layer_and_every_head():
    model = tiny_bridge("llama")
    assert [one.text for one in as_ablations(model, "patches:resid@last")] == [
        f"patch:resid:{n}@last" for n in range(3)
    ]
    assert len(as_ablations(model, "patches:heads@gold")) == 12


def test_twins_by_key_ask_for_another_pair_and_by_gold_change_the_value():
    model, base = tiny_bridge("llama"), scored_task()
    for by in ("key", "gold"):
        task = interp.twins(model, base, by=by)
        rows, decoder = task.documents(), models.decoder(model)
        assert [row["direction"] for row in rows[:2]] == ["denoising", "noising"]
        for run, other in zip(rows[::2], rows[1::2], strict=True):
            assert run["pair"] == other["pair"]
            assert (run["prompt"], run["twin"]) == (other["twin"], other["prompt"])
            assert run["options"] == other["options"][::-1]
            own, there = (encode(run[field], decoder) for field in ("prompt", "twin"))
            assert len(own) == len(there)
            assert 1 <= sum(a != b for a, b in zip(own, there, strict=True)) <= 4
            # the value that is asked for stands where the row says
            answer = base.documents()[other["pair"]]["answer"]
            assert other["options"][0] == answer
            ((start, end),) = other["spans"]["gold"]
            assert other["prompt"][start:end] == answer


@pytest.mark.slow
@pytest.mark.thinned(share=2)
def test_scores_equal_transformerlens(bridge):
    """From the first position on, stacked, and in whole rows without any shortcut."""
    family, model = bridge
    task, decoder = interp.twins(model, scored_task(), by="key", limit=1), models.decoder(model)
    edits = {text: parse(text).edits(interp.ablations.shape_of(model)) for text in TEXTS}
    asked = build_requests(task, range(2), decoder)
    plain = Shortcuts(replay=False, prefixes=False, stacked=False)
    expected = [
        {text: expected_score(family, model, task, request, text) for text in TEXTS}
        for request in asked
    ]
    for shortcuts in (Shortcuts(), plain):
        found = {}
        for one, _, scores in scores_by_example(
            model, task, asked, list(edits.values()), shortcuts=shortcuts
        ):
            found.setdefault(one, {}).update(scores)
        for text, one in edits.items():
            for number, scores in enumerate(expected):
                assert found[one][number][0] == pytest.approx(scores[text], abs=1e-4), text


def test_the_stream_at_every_position_is_the_twin():
    """All of the residual stream patched into the first block makes the twin's prompt."""
    model = tiny_bridge("llama")
    task = interp.twins(model, scored_task(), by="gold")
    run = interp.sweep(model, task, ["patch:resid:0@prompt", "patch:resid:2@prompt"])
    table = run.responses().set_index(["ablation", "doc_id"])["loglikelihoods"]
    for text in ("patch:resid:0@prompt", "patch:resid:2@prompt"):
        for doc_id in range(2):
            twin = table[("baseline", doc_id ^ 1)]
            own, patched = table[(text, doc_id)]
            if text == "patch:resid:0@prompt":
                # its options are the other way round
                assert (patched, own) == pytest.approx(tuple(twin), abs=1e-4)


def test_what_has_no_twin_is_refused():
    model = tiny_bridge("llama")
    with pytest.raises(UserError, match=r"row 0: it has no twin .* interp\.twins"):
        interp.sweep(model, scored_task(), "patch:resid:1@last")
    with pytest.raises(UserError, match=r"no twins by 'person'; allowed are gold"):
        interp.twins(model, scored_task(), by="person")
    with pytest.raises(UserError, match=r"row 0: no twin of it \(by function\)"):
        interp.twins(model, scored_task(), by=lambda row: {**row, "key": row["key"] + " w7"})
    with pytest.raises(UserError, match=r"row \d+: no twin can be made of it \(ZeroDivisionError"):
        interp.twins(model, scored_task(), by=lambda row: {**row, "key": 1 // 0})
    refused = pytest.raises(UserError, match="a patch needs an example that has a twin")
    with refused, interp.ablate(model, TEXTS[0]):
        pass


BACK = ["backpatch:2-0@last", "backpatch:2-1@gold,last", "backpatch:1-0@4-6"]


def test_back_patches_parse_and_print_back():
    for text in BACK:
        assert parse(text).text == text
    assert parse("backpatch:2-0@last") == BackPatch(2, 0)
    model = tiny_bridge("llama")
    texts = [one.text for one in as_ablations(model, "backpatches@last")]
    assert texts == ["backpatch:1-0@last", "backpatch:2-0@last", "backpatch:2-1@last"]
    for wrong, said in (("backpatch:1-1@last", "the first number is the later layer"),
                        ("backpatch:2-1@answering", "has no answer yet")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            parse(wrong)
    with pytest.raises(UserError):
        parse("backpatch:3-1@last").edits(interp.ablations.shape_of(model))


@pytest.mark.thinned(share=2)
def test_back_patched_scores_equal_transformerlens(bridge):
    """A later layer's stream in front of an earlier one, without a twin."""
    _, model = bridge
    task, decoder = scored_task(1), models.decoder(model)
    edits = {text: parse(text).edits(interp.ablations.shape_of(model)) for text in BACK}
    asked = build_requests(task, range(1), decoder)
    context = list(asked[0].context)
    end = len(context) - 1
    places = {"last": [end], "gold,last": [4, end], "4-6": [4, 5, 6]}
    for shortcuts in (Shortcuts(), Shortcuts(replay=False, prefixes=False, stacked=False)):
        found = {}
        for one, _, scores in scores_by_example(
            model, task, asked, list(edits.values()), shortcuts=shortcuts
        ):
            found.setdefault(one, {}).update(scores)
        for text, one in edits.items():
            patch = parse(text)
            with torch.no_grad():
                _, cache = model.run_with_cache(torch.tensor([context]))
            there = cache[f"blocks.{patch.source}.hook_in"]
            at = places[patch.positions]

            def put(value, hook, there=there, at=at):
                kept = value.clone()
                kept[0, at] = there.reshape(len(context), -1)[at]
                return kept

            hooks = [(f"blocks.{patch.target}.hook_in", put)]
            for number, request in enumerate(asked):
                tokens = [*request.context, *request.continuation][:-1]
                with torch.no_grad():
                    logits = model.run_with_hooks(torch.tensor([tokens]), fwd_hooks=hooks)[0]
                logprobs = logits.log_softmax(dim=-1)
                expected = sum(
                    float(logprobs[end + i, t]) for i, t in enumerate(request.continuation)
                )
                assert found[one][number][0] == pytest.approx(expected, abs=1e-4), text

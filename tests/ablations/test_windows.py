"""Heads that see the first and the recent tokens only, against a mask that is written out."""

import pytest
import torch

import interp
from interp import models
from interp.ablations import StreamingHead, as_ablations, parse, shape_of
from interp.engine import Shortcuts, scores_by_example
from interp.errors import UserError
from interp.tasks import build_requests
from tests.helpers.families import FAMILIES, tiny_bridge
from tests.helpers.key_value import make_task, scored_task
from tests.helpers.patterns import logits_under_patterns

QUICK = ("llama",)
TEXTS = ["head:0.1@window-2-3", "head:2.0@window-1-2", "head:1.0@window-0-1+head:1.1@window-3-4"]


def hand_logits(model, tokens, text):
    """Logits of one row; every pair of positions of a head is looked at, one by one."""
    one = parse(text)
    windows = getattr(one, "parts", (one,))
    points = []
    for window in windows:

        def hook(pattern, hook, window=window):
            kept = torch.ones_like(pattern)
            for q in range(pattern.shape[-2]):
                for k in range(q + 1):
                    if k >= window.sinks and q - k >= window.recent:
                        kept[0, window.head, q, k] = 0
            cut_off = pattern * kept
            return cut_off / cut_off.sum(dim=-1, keepdim=True)

        points.append((f"blocks.{window.layer}.attn.hook_pattern", hook))
    return logits_under_patterns(model, tokens, points)


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in FAMILIES],
)
def bridge(request):
    return tiny_bridge(request.param)


def edits_of(bridge):
    return {text: interp.ablations.checked_edits(bridge, text) for text in TEXTS}


def test_texts_parse_and_print_back():
    for text in ("head:7.3@window", "head:7.3@window-4-64", "head:0.0@window-0-1"):
        assert parse(text).text == text
    assert parse("head:7.3@window") == StreamingHead(7, 3, 64, 256)
    assert parse("head:7.3@window-64-256").text == "head:7.3@window"
    assert parse("L7H3@window-4-64") == StreamingHead(7, 3, 4, 64)
    for wrong in ("head:7.3@window-4", "head:7.3@window4-64", "kvgroup:7.3@window"):
        with pytest.raises(UserError):
            parse(wrong)
    with pytest.raises(UserError, match="allowed are 1 recent token and more"):
        parse("head:7.3@window-4-0")


def test_families_are_every_head_of_the_model_or_of_a_layer():
    model = tiny_bridge("llama")
    heads = shape_of(model).n_heads
    every = [one.text for one in as_ablations(model, "heads@window-2-3")]
    assert every == [f"head:{n}.{h}@window-2-3" for n in range(3) for h in range(heads)]
    assert [one.text for one in as_ablations(model, "head:1.*@window")] == [
        f"head:1.{h}@window" for h in range(heads)
    ]
    with pytest.raises(UserError, match="layer 3: the model has layers 0-2"):
        as_ablations(model, "head:3.*@window")
    with pytest.raises(UserError, match=f"the model has heads 0-{heads - 1}"):
        interp.ablations.checked_edits(model, f"head:0.{heads}@window")


@pytest.mark.thinned(share=3)
def test_scores_equal_a_mask_written_out(bridge):
    """Behind a kept prefix, stacked, and in whole rows without any shortcut."""
    task = scored_task()
    edits = edits_of(bridge)
    asked = build_requests(task, range(3), models.decoder(bridge))
    plain = Shortcuts(replay=False, prefixes=False, stacked=False)
    expected = {}
    for text in TEXTS:
        for number, request in enumerate(asked):
            tokens, length = [*request.context, *request.continuation], len(request.context)
            logits = hand_logits(bridge, tokens[:-1], text).log_softmax(dim=-1)
            expected[text, number] = sum(
                float(logits[length - 1 + i, t]) for i, t in enumerate(request.continuation)
            )
    for shortcuts in (Shortcuts(), plain):
        found = {}
        for one, _, scores in scores_by_example(
            bridge, task, asked, list(edits.values()), shortcuts=shortcuts
        ):
            found.setdefault(one, {}).update(scores)
        for (text, number), value in expected.items():
            assert found[edits[text]][number][0] == pytest.approx(value, abs=1e-4), text


@pytest.mark.thinned(share=3)
def test_windows_wider_than_every_row_change_nothing(bridge):
    table = interp.sweep(bridge, scored_task(), ["head:0.0@window"]).responses()
    whole, windowed = (
        table[table["ablation"] == text].set_index("doc_id")["loglikelihoods"]
        for text in ("baseline", "head:0.0@window")
    )
    for doc_id in whole.index:
        assert windowed[doc_id] == pytest.approx(whole[doc_id], abs=1e-5)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_answers_equal_a_mask_written_out(bridge):
    """Token by token with a KV cache."""
    task = make_task(rows=2)
    rows = interp.sweep(bridge, task, TEXTS[:2]).responses().set_index(["ablation", "doc_id"])
    tokenizer = models.decoder(bridge).tokenizer
    for text in TEXTS[:2]:
        for doc_id in range(2):
            (request,) = build_requests(task, [doc_id], models.decoder(bridge))
            tokens, length = list(request.prompt), len(request.prompt)
            while len(tokens) < length + 4 and tokens[-1] not in (2, 62):
                tokens.append(int(hand_logits(bridge, tokens, text)[-1].argmax()))
            decoded = tokenizer.decode(tokens[length:], skip_special_tokens=True)
            assert rows.loc[(text, doc_id), "text"] == decoded.split("w62")[0]


def test_eager_and_fused_attention_agree():
    model, found = tiny_bridge("llama"), []
    decoder = models.decoder(model)
    for implementation in ("eager", "sdpa"):
        decoder.root.set_attn_implementation(implementation)
        table = interp.sweep(model, scored_task(rows=1), TEXTS).responses()
        found.append([value for row in table["loglikelihoods"] for value in row])
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_in_a_repl_one_prompt_is_run_and_a_batch_is_refused():
    model = tiny_bridge("llama")
    tokens = list(range(3, 15))
    with interp.ablate(model, TEXTS[0]):
        found = model(torch.tensor([tokens]))[0]
        with pytest.raises(UserError, match="run one prompt at a time, or use a sweep"):
            model(torch.tensor([tokens, tokens]))
    assert torch.allclose(found, hand_logits(model, tokens, TEXTS[0]), atol=1e-5)
    with pytest.raises(UserError, match=r"in a REPL use interp\.ablate"):
        interp.generate(model, "w1 w2", TEXTS[0])


def test_a_window_has_no_scope():
    with pytest.raises(UserError, match="scope"):
        interp.ablations.checked_edits(tiny_bridge("llama"), "head:0.0@window@@prompt")

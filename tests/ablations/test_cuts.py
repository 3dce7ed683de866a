"""Attention knockout against TransformerLens' patterns, zeroed and renormalised by hand."""

import pytest
import torch

import interp
from interp import models
from interp.ablations import Cut, Example, as_ablations, parse
from interp.engine import Shortcuts, scores_by_example
from interp.errors import UserError
from interp.tasks import build_requests, class_positions
from tests.helpers.families import FAMILIES, tiny_bridge
from tests.helpers.key_value import classes, make_task, scored_task
from tests.helpers.patterns import logits_under_patterns

TEXTS = ["cut:0-1@answering/gold", "cut:1-1@last/gold,gold-key", "cut:0-2@key/distractors"]
QUICK = ("llama",)


def hand_logits(model, tokens, text, at):
    """Logits of one row whose patterns lose what is cut, by TransformerLens' own hooks."""
    cut = parse(text)
    queries, keys = (
        {p for name in names.split(",") for p in at[name] if p < len(tokens)}
        for names in (cut.queries, cut.keys)
    )

    def hook(pattern, hook):
        kept = torch.ones(len(tokens), len(tokens))
        for q in queries:
            kept[q, [k for k in keys if k != q]] = 0
        cut_off = pattern * kept
        return cut_off / cut_off.sum(dim=-1, keepdim=True)

    points = [(f"blocks.{layer}.attn.hook_pattern", hook) for layer in cut.layers]
    # OPT is skipped; that its cut positions see nothing is tried on the model itself
    return logits_under_patterns(model, tokens, points)


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in FAMILIES],
)
def bridge(request):
    return tiny_bridge(request.param)


def test_texts_parse_and_print_back():
    for text in ("cut:10-14@answering/gold", "cut:0-0@last,answer/few-shot,question"):
        assert parse(text).text == text
    assert parse("cut:7@last/prompt") == Cut(7, 7, "last", "prompt")
    assert parse("cut:10-14@answering/gold").kind == "cut@answering/gold"
    for wrong in ("cut:3", "cut:3@gold", "cut:3-1@last/gold", "cut:3@/gold", "cut:3@Last/gold"):
        with pytest.raises(UserError):
            parse(wrong)
    with pytest.raises(UserError, match="no class of positions"):
        Cut(0, 1, "a b", "gold")


def test_a_family_is_every_start_of_a_window():
    model = tiny_bridge("llama")
    found = [one.text for one in as_ablations(model, "cuts:2@answering/gold")]
    assert found == ["cut:0-1@answering/gold", "cut:1-2@answering/gold"]
    with pytest.raises(UserError, match="allowed are 1-3"):
        as_ablations(model, "cuts:4@answering/gold")


def test_classes_are_where_the_words_are():
    task, decoder = scored_task(rows=4), models.decoder(tiny_bridge("llama"))
    for gold in range(4):
        request = build_requests(task, [gold], decoder)[0]
        length, at = classes(gold)
        names = ("gold", "gold-key", "distractors", "key")
        found = class_positions(task, gold, names, decoder, context=request.context)
        assert len(request.context) == length
        assert found == {name: frozenset(at[name]) for name in names}


def expected_score(bridge, request, text):
    length, at = classes(request.doc_id)
    tokens = [*request.context, *request.continuation]
    logits = hand_logits(bridge, tokens[:-1], text, at).log_softmax(dim=-1)
    return sum(float(logits[length - 1 + i, t]) for i, t in enumerate(request.continuation))


@pytest.mark.slow
@pytest.mark.thinned(share=2)
def test_scores_equal_renormalised_patterns(bridge):
    """From the first position on, stacked, and in whole rows without any shortcut."""
    task = scored_task()
    decoder = models.decoder(bridge)
    edits = {text: parse(text).edits(interp.ablations.shape_of(bridge)) for text in TEXTS}
    asked = build_requests(task, range(3), decoder)
    plain = Shortcuts(replay=False, prefixes=False, stacked=False)
    expected = [{text: expected_score(bridge, r, text) for text in TEXTS} for r in asked]
    for shortcuts in (Shortcuts(), plain):
        found = {}
        for one, _, scores in scores_by_example(
            bridge, task, asked, list(edits.values()), shortcuts=shortcuts
        ):
            found.setdefault(one, {}).update(scores)
        for text, one in edits.items():
            for number, scores in enumerate(expected):
                assert found[one][number][0] == pytest.approx(scores[text], abs=1e-4), text


@pytest.mark.thinned(share=2)
@pytest.mark.slow
def test_answers_equal_renormalised_patterns(bridge):
    """Token by token with a KV cache; the cut holds for the tokens that are written."""
    task = make_task(rows=2)
    run = interp.sweep(bridge, task, TEXTS[:2])
    rows = run.responses().set_index(["ablation", "doc_id"])
    for text in TEXTS[:2]:
        for doc_id in range(2):
            length, at = classes(doc_id)
            (request,) = build_requests(task, [doc_id], models.decoder(bridge))
            tokens = list(request.prompt)
            while len(tokens) < length + 4 and tokens[-1] not in (2, 62):
                tokens.append(int(hand_logits(bridge, tokens, text, at)[-1].argmax()))
            decoded = models.decoder(bridge).tokenizer.decode(
                tokens[length:], skip_special_tokens=True
            )
            # an answer ends in front of its stop string
            assert rows.loc[(text, doc_id), "text"] == decoded.split("w62")[0]


@pytest.mark.slow
def test_eager_and_fused_attention_agree():
    """Fused attention is given no mask where everything is seen; there the cut makes one."""
    model, task = tiny_bridge("llama"), scored_task()
    decoder = models.decoder(model)
    found = []
    for implementation in ("sdpa", "eager"):
        decoder.root.set_attn_implementation(implementation)
        table = interp.sweep(model, task, TEXTS).responses()
        found.append(table[["ablation", "doc_id", "loglikelihoods"]])
    for (_, fused), (_, eager) in zip(found[0].iterrows(), found[1].iterrows(), strict=True):
        assert fused["loglikelihoods"] == pytest.approx(eager["loglikelihoods"], abs=1e-4)


def test_a_position_always_sees_itself():
    at = Example(4, {"all": frozenset(range(4))})
    from interp.ablations import LayerEdit
    from interp.ablations.cut_attention import _cut

    cut = _cut(at, LayerEdit(cuts=frozenset([("all", "prompt")])), range(2, 5), range(5))
    assert cut.tolist() == [
        [True, True, False, True, False],
        [True, True, True, False, False],
        [False] * 5,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cut:0@answering/passage", r"row 0: no class passage; allowed are few-shot, gold"),
        ("cut:0@answering/few-shot", "no few-shot example comes before its own text"),
        ("cut:0@answering/pairs", r"field pairs is not in its prompt as it is"),
        ("cut:0-3@answering/gold", "layer 3: the model has layers 0-2"),
        ("cut:0@9-3/last", "cut:0-0@9-3/last: the range 9-3 runs downwards; write 3-9"),
        ("cut:0@last/first,99", r"row 0: no position 99 is run there; its positions are 0-\d\d$"),
        ("backpatch:2-0@99", r"row 0: no position 99 is run there; its positions are 0-\d\d$"),
        ("patch:mlp:0@7-3", "patch:mlp:0@7-3: the range 7-3 runs downwards"),
    ],
)
def test_what_a_row_does_not_tell_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        interp.sweep(tiny_bridge("llama"), scored_task(), text)


def test_where_no_task_says_what_is_where_a_cut_is_refused():
    model = tiny_bridge("llama")
    with (
        pytest.raises(
            UserError, match="a cut needs classes of positions, which a prompt alone lacks"
        ),
        interp.ablate(model, TEXTS[0]),
    ):
        pass
    with pytest.raises(UserError, match="use a sweep"):
        interp.generate(model, "w5 w6", TEXTS[0])
    with pytest.raises(UserError, match="scope is not combined with"):
        interp.sweep(model, scored_task(), f"{TEXTS[0]}+layer:1@@last")

"""Fast decoding against `transformers` on deleted layers, and against plain decoding."""

import functools
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from interp.ablations import Edits, checked_edits, mean_outputs
from interp.engine import Settings, generate
from interp.engine.capabilities import capabilities
from interp.engine.generation.answers import TIE
from interp.engine.generation.plain import PlainRow
from interp.engine.generation.sampling import Greedy
from interp.models import decoder, wrap
from interp.tasks import GenerationRequest
from tests.helpers.families import (
    BY_HALF,
    D_VOCAB,
    N_LAYERS,
    deleted,
    tiny_bridge,
    tiny_model,
    tiny_tokenizer,
)
from tests.helpers.prompts import requests
from tests.helpers.thinning import sized

KINDS = ["attn:1", "mlp:1", "mlp:0", "head:1.2", "head:0.1@mean", "kvgroup:1.1", "swap:1",
         "layers:0-1", "layers:1-2", "layer:0+head:2.1", "swap:0+layer:2",
         "swap-attn:1", "swaps-mlp:0-1"]  # fmt: skip
LAYERS = [f"layer:{layer}" for layer in range(N_LAYERS)]
SETTINGS = {
    "default": Settings(),
    "few rows, long drafts": Settings(rows=3, latency_knee=64),
    "no drafts": Settings(drafts=False),
    "one ablation at a time": Settings(mix=False, rows=4),
}

# texts of a random model that rounding of the type may change
HALF_DIFFER = {torch.bfloat16: 0.4, torch.float16: 0.1}


def by_transformers(model, request):
    """New tokens of `transformers` generate, one prompt at a time."""
    ids = torch.tensor([request.prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request.max_gen_toks,
        do_sample=False,
        pad_token_id=0,
    )
    return tuple(out[0, ids.shape[1] :].tolist())


def by_single_row(model, request, edits, count):
    """So many tokens of plain decoding, one row at a time."""
    row, written = PlainRow(model, request.prompt, edits), []
    while len(written) < count:
        written.append(int(row.next_logits(written).argmax()))
    return tuple(written)


@pytest.fixture(scope="module", params=BY_HALF)
def any_family(request):
    return request.param


@pytest.fixture(scope="module")
def any_model(any_family):
    return tiny_bridge(any_family)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_every_layer_equals_transformers_on_the_deleted_layer(any_model, any_family):
    asked = requests(until=())
    edits = [checked_edits(any_model, text) for text in ["baseline", *LAYERS]]
    expected = [
        [by_transformers(deleted(any_family, gone), r) for r in asked]
        for gone in ([], *([layer] for layer in range(N_LAYERS)))
    ]
    for name in ("default", "few rows, long drafts"):
        found = generate(any_model, asked, edits, settings=SETTINGS[name])
        assert [[a.tokens for a in answers] for answers in found] == expected, name


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_other_ablations_equal_plain_decoding(any_model, any_family):
    asked, donor = requests(), tiny_bridge(any_family, seed=1)
    edits = [Edits(), *(checked_edits(any_model, text, donor=donor) for text in KINDS)]
    means = mean_outputs(any_model, ["w5 w6 w7", "w8 w9"])
    plain = generate(any_model, asked, edits, means=means, settings=Settings(plain=True))
    # the families differ in their blocks, not in how rows are scheduled
    whole = any_family in sized(thinned=["llama"], whole=["llama", "gemma3"])
    names = SETTINGS if whole else ["few rows, long drafts"]
    for name in names:
        found = generate(any_model, asked, edits, means=means, settings=SETTINGS[name])
        assert found.answers == plain.answers, name
        assert found.paths == ("batches" if any_family == "bloom" else "ragged",)


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_plain_decoding_equals_single_rows(any_model):
    edits = checked_edits(any_model, "layer:1")
    (answers,) = generate(any_model, requests(until=()), [edits], settings=Settings(plain=True))
    for request, answer in zip(requests(until=()), answers, strict=True):
        assert by_single_row(any_model, request, edits, len(answer.tokens)) == answer.tokens


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_prompts_stops_and_budgets(family, data):
    model = _kept(family)
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    shared = data.draw(st.integers(0, min(lengths) - 1 if len(lengths) > 1 else 0))
    words = st.integers(4, D_VOCAB - 1)
    start = data.draw(st.lists(words, min_size=shared, max_size=shared))
    asked = []
    for i, length in enumerate(lengths):
        rest = data.draw(st.lists(words, min_size=length - shared, max_size=length - shared))
        stops = data.draw(st.lists(words, max_size=20, unique=True))
        until = tuple(f"w{stop}" for stop in stops)
        asked.append(GenerationRequest(i, (*start, *rest), until, data.draw(st.integers(0, 20))))
    texts = ["layer:0", "layer:2", "head:1.1", "attn:0"]
    edits = [Edits(), *(checked_edits(model, text) for text in texts)]
    how = Settings(
        rows=data.draw(st.integers(1, 5)),
        latency_knee=data.draw(st.sampled_from([1, 8, 64])),
        drafts=data.draw(st.booleans()),
        mix=data.draw(st.booleans()),
    )
    found = generate(model, asked, edits, settings=how)
    plain = generate(model, asked, edits, settings=Settings(plain=True))
    assert found.answers == plain.answers


@functools.cache
def _kept(family):
    return tiny_bridge(family)


@pytest.mark.parametrize(
    ("text", "gone"), [("layers:0-1", [0, 1]), ("layer:0+layer:2", [0, 2]), ("layers:1-2", [1, 2])]
)
def test_all_layers_but_one(text, gone):
    (found,) = generate(_kept("llama"), requests(until=()), [checked_edits(_kept("llama"), text)])
    expected = [by_transformers(deleted("llama", gone), r) for r in requests(until=())]
    assert [a.tokens for a in found] == expected


@pytest.mark.slow
def test_prompts_at_the_context_limit():
    model, rng = _kept("gpt2"), random.Random(0)
    room = decoder(model).max_length
    asked = [
        GenerationRequest(i, tuple(rng.choices(range(4, D_VOCAB), k=room - new)), (), new)
        for i, new in enumerate((1, 2, 9))
    ]
    edits = [Edits(), *(checked_edits(model, text) for text in LAYERS)]
    found = generate(model, asked, edits, settings=Settings(latency_knee=256))
    for gone, answers in zip(([], [0], [1], [2]), found, strict=True):
        expected = [by_transformers(deleted("gpt2", gone), r) for r in asked]
        assert [a.tokens for a in answers] == expected


def test_empty_answers_and_stops_in_the_first_token():
    model = _kept("llama")
    (free,) = generate(model, requests(1, until=()), [Edits()])
    first = free[0].text.split()[0]
    edits = [Edits(), checked_edits(model, "layer:1")]
    stopped = generate(model, requests(1, until=(first,)), edits)
    assert (stopped.answers[0][0].text, stopped.answers[0][0].n_tokens) == ("", 1)
    assert stopped.answers[0][0].finished
    (root := decoder(model).root).generation_config.eos_token_id = [2, free[0].tokens[0]]
    try:
        ended = generate(model, requests(1, until=()), edits)
        expected = by_transformers(root, requests(1, until=())[0])
    finally:
        root.generation_config.eos_token_id = 2
    assert ended.answers[0][0].tokens == expected == free[0].tokens[:1]
    assert ended.answers[0][0].finished
    empty = generate(model, requests(2, longest=0), edits)
    assert [(a.text, a.n_tokens) for one in empty for a in one] == [("", 0)] * 4
    assert list(generate(model, [], edits)) == [[], []]


@pytest.mark.slow
def test_an_ablation_that_changes_nothing_is_verified_and_not_decoded(monkeypatch):
    hf = tiny_model("llama")
    for matrix in (hf.model.layers[1].self_attn.o_proj, hf.model.layers[1].mlp.down_proj):
        matrix.weight.data.zero_()
    model = wrap(hf, tiny_tokenizer(), name="idle")
    passes = []
    from interp.engine.generation.pool import Pool

    step = Pool.step
    monkeypatch.setattr(Pool, "step", lambda pool: passes.append(1) or step(pool))
    generate(model, requests(), [Edits()])
    alone = len(passes)
    edits = [Edits(), checked_edits(model, "layer:1"), checked_edits(model, "attn:1")]
    found = generate(model, requests(), edits)
    assert len(passes) == 2 * alone
    assert found.answers[1] == found.answers[0] == found.answers[2]
    for counts in found.counts[1:]:
        assert counts.baseline_accepted == counts.baseline_tokens == counts.written > 0


@pytest.mark.slow
def test_near_ties_are_settled_as_plain_decoding_settles_them():
    hf = tiny_model("llama")
    weights = hf.lm_head.weight.data
    # each word has a twin whose logit is the same but for rounding
    weights[4:52] = weights[52:100] * (1 + 1e-7)
    model = wrap(hf, tiny_tokenizer(), name="twins")
    asked, edits = requests(until=()), [Edits(), *(checked_edits(model, t) for t in LAYERS)]
    found = generate(model, asked, edits, settings=Settings(rows=3))
    assert sum(counts.near_ties for counts in found.counts) > 20
    for number, one in enumerate(edits):
        for request, answer in zip(asked, found.answers[number], strict=True):
            assert by_single_row(model, request, one, len(answer.tokens)) == answer.tokens


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "mixtral"])
def test_rounding_moves_logits_by_less_than_a_near_tie(family, monkeypatch):
    model, asked, kept = _kept(family), requests(until=()), {}
    pick = Greedy.__call__

    def keep(self, logits, places):
        kept.update(zip(places, logits.double(), strict=False))
        return pick(self, logits, places)

    monkeypatch.setattr(Greedy, "__call__", keep)
    moved = []
    for text in ("baseline", *LAYERS):
        edits = checked_edits(model, text)
        (answers,) = generate(model, asked, [edits], settings=Settings(drafts=False))
        for request, answer in zip(asked, answers, strict=True):
            row = PlainRow(model, request.prompt, edits)
            for count in range(len(answer.tokens)):
                row.next_logits(answer.tokens[:count])
                two = row.logits.topk(2).indices
                change = (kept[request.doc_id, count] - row.logits)[two]
                moved.append(abs(change[0] - change[1]).item())
    assert len(moved) > 100
    assert 0 < max(moved) < TIE * max(capabilities(model).rounding(24), 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_decodes_and_mostly_as_plainly(dtype):
    model = wrap(tiny_model("llama").to(dtype), tiny_tokenizer(), name=f"tiny-{dtype}")
    edits = [Edits(), *(checked_edits(model, text) for text in (*LAYERS, "head:1.2", "attn:0"))]
    found = generate(model, requests(12), edits)
    plain = generate(model, requests(12), edits, settings=Settings(plain=True))
    assert found.paths == ("ragged",)
    assert found.tolerance == 0
    pairs = [p for a, b in zip(found, plain, strict=True) for p in zip(a, b, strict=True)]
    assert sum(a.text != b.text for a, b in pairs) < HALF_DIFFER[dtype] * len(pairs)


@pytest.mark.parametrize("rows", [2, 5, 128])
def test_each_step_is_told_with_its_rows(rows):
    """Without drafts a step writes a token of each row; the first is read from the prompt."""
    model, steps = tiny_bridge("llama"), []
    edits = [Edits(), *(checked_edits(model, text) for text in LAYERS)]
    found = generate(
        model,
        requests(until=()),
        edits,
        settings=Settings(rows=rows, drafts=False),
        stepped=steps.append,
    )
    written = [len(answer.tokens) for answers in found for answer in answers]
    assert sum(steps) == sum(written) - len(written)
    assert max(steps) == min(rows, len(written))


def test_rounding_is_small_where_the_attention_is_replaced(any_model, any_family):
    noise = capabilities(any_model).rounding(24)
    assert noise is None if any_family == "bloom" else noise < 1e-5


@pytest.mark.slow
def test_an_attention_that_is_not_the_models_is_found_out(monkeypatch):
    from interp.engine.generation.ragged import RaggedCache

    true = RaggedCache.hidden
    monkeypatch.setattr(
        RaggedCache,
        "hidden",
        lambda cache, start, end, window, device: true(cache, start, end, None, device),
    )
    # a window of 8 that is left out
    windowed, plain = tiny_bridge("mistral"), tiny_bridge("llama")
    assert capabilities(windowed).rounding(24) is None
    assert capabilities(plain).rounding(24) is not None

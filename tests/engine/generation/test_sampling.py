"""Drawn answers: their distribution, and that nothing but the seed and the place decides them."""

import random
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from interp.ablations import Edits, checked_edits
from interp.engine import Settings, generate
from interp.engine.generation.noise import gumbel, split_mix
from interp.engine.generation.plain import PlainRow
from interp.engine.generation.sampling import Picking, allowed, sampled_tokens
from interp.models import decoder, wrap
from interp.tasks import GenerationRequest, Sampling
from tests.helpers.families import D_VOCAB, deleted, tiny_bridge, tiny_model, tiny_tokenizer

CPU = torch.device("cpu")
HOW = Sampling(0.8, seed=5)
PROMPT = (1, 9, 10, 11)
SAMPLINGS = [
    Sampling(0.4, seed=3),
    Sampling(0.4, seed=3, top_k=20),
    Sampling(0.3, seed=3, top_p=0.9),
    Sampling(0.4, seed=3, top_k=40, top_p=0.8),
]


def requests(sampling=HOW, *, examples=4, draws=3, longest=8):
    rng = random.Random(0)
    prompts = [
        (1, 9, 10, *(rng.randrange(4, D_VOCAB) for _ in range(rng.randint(1, 7))))
        for _ in range(examples)
    ]
    return [
        GenerationRequest(i, prompt, ("w61",), longest, sampling=sampling, draw=draw)
        for i, prompt in enumerate(prompts)
        for draw in range(draws)
    ]


def by_transformers(logits, sampling):
    """What may be drawn, and how likely, as `transformers` itself has it, in float32."""
    ids = torch.zeros(len(logits), 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(sampling.temperature)(ids, logits)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(ids, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(ids, scores)
    return scores.softmax(dim=-1).double()


def p_value(found, expected):
    """Chi-square of counts; what is expected less than five times is one cell."""
    if found[expected == 0].any():
        return 0.0
    expected = expected * (found.sum() / expected.sum())
    rare = expected < 5
    cells = [np.append(x[~rare], x[rare].sum()) for x in (found, expected)]
    if cells[1][-1] == 0:
        cells = [cell[:-1] for cell in cells]
    return scipy.stats.chisquare(*cells).pvalue


def test_numbers_are_those_that_were_published():
    # of SplitMix64 from 1234567, as its authors' program prints them
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    expected += [4593380528125082431, 16408922859458223821]
    found = split_mix(torch.tensor([7, 1234567]), 5)[1]
    assert found.numpy().view(np.uint64).tolist() == expected


def test_noise_is_gumbel_and_hangs_on_every_part_of_its_place():
    places = [(position, doc, draw) for position in range(6) for doc in range(6) for draw in (0, 1)]
    noise = gumbel(0, places, 400, CPU)
    assert scipy.stats.kstest(noise.flatten().numpy(), "gumbel_r").pvalue > 0.001
    related = torch.corrcoef(noise) - torch.eye(len(places))
    assert related.abs().max() < 5 / 400**0.5
    again = gumbel(0, places[3:4], 400, CPU)
    assert torch.equal(again[0], noise[3])
    assert not torch.equal(gumbel(1, places[3:4], 400, CPU), again)
    # a smaller vocabulary has the same numbers for the tokens that it has
    assert torch.equal(gumbel(0, places[3:4], 50, CPU), again[:, :50])


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_draws_have_the_probabilities_of_transformers(sampling):
    with torch.no_grad():
        logits = tiny_model("llama")(torch.tensor([PROMPT])).logits[0, -1:]
    count = 4000
    asked = [GenerationRequest(7, PROMPT, (), 8, 0, sampling, draw) for draw in range(count)]
    tokens = [
        token
        for token, _ in Picking(asked, 0.0)(
            logits.expand(count, -1), [(i, 0) for i in range(count)]
        )
    ]
    found = np.bincount(tokens, minlength=D_VOCAB)
    assert p_value(found, by_transformers(logits, sampling)[0].numpy()) > 0.001
    # the test can fail: a temperature that is a fifth off is told from this one
    other = replace(sampling, temperature=1.2 * sampling.temperature)
    assert p_value(found, by_transformers(logits, other)[0].numpy()) < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS[::3], ids=str)
def test_second_tokens_of_an_ablated_model_have_those_of_the_deleted_layer(sampling):
    count, model, gone = 1500, tiny_bridge("llama"), deleted("llama", [1])
    asked = [GenerationRequest(2, PROMPT, (), 2, 0, sampling, draw) for draw in range(count)]
    _, answers = generate(model, asked, [Edits(), checked_edits(model, "layer:1")])
    found = np.zeros(D_VOCAB)
    for answer in answers:
        if len(answer.tokens) == 2:
            found[answer.tokens[1]] += 1
    rows = torch.tensor([[*PROMPT, token] for token in range(D_VOCAB)])
    with torch.no_grad():
        logits = gone(rows).logits
    first = by_transformers(logits[:1, -2], sampling)[0]
    first[2] = 0  # the answer ends there
    second = (first[:, None] * by_transformers(logits[:, -1], sampling)).sum(dim=0)
    assert p_value(found, second.numpy()) > 0.001


@pytest.mark.parametrize("sampling", SAMPLINGS[1:], ids=str)
def test_the_same_tokens_may_be_drawn_as_in_transformers(sampling):
    logits = torch.randn(300, D_VOCAB, generator=torch.Generator().manual_seed(1)) * 3
    kept, _ = allowed(logits.double() / sampling.temperature, sampling, 0.0)
    assert torch.equal(kept, by_transformers(logits, sampling) > 0)
    assert 1 < kept.sum(dim=-1).double().mean() < D_VOCAB / 2


@given(st.integers(0, 10**6), st.sampled_from(SAMPLINGS), st.sampled_from([1e-3, 1e-2, 0.1]))
def test_what_is_sure_does_not_move_with_the_logits(seed, sampling, tolerance):
    rng = torch.Generator().manual_seed(seed)
    # many near ties: differences on a coarse grid, a little off it
    logits = (torch.randn(8, 30, generator=rng, dtype=torch.float64) * 20).round() / 10
    logits += torch.randn(8, 30, generator=rng, dtype=torch.float64) * tolerance
    noise = gumbel(seed, [(0, i, 0) for i in range(8)], 30, CPU)
    noise = (noise * 10).round() / 10 * sampling.temperature
    drawn = sampled_tokens(logits, noise, sampling, tolerance)
    for _ in range(4):
        # each logit by half, so that a difference moves by no more than the tolerance
        moved = logits + (torch.rand(8, 30, generator=rng).double() - 0.5) * tolerance
        others = sampled_tokens(moved, noise, sampling, 0.0)
        for (token, sure), (other, _) in zip(drawn, others, strict=True):
            assert token == other or not sure


@pytest.mark.parametrize(("beyond", "kept"), [(1e-5, 3), (-1e-5, 2)])
def test_a_nucleus_that_rounding_may_change_is_not_sure(beyond, kept):
    # half, three tenths: together just below or just above what top_p asks for
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()
    sampling = Sampling(1.0, top_p=0.8 + beyond)
    for margin, expected in ((1e-6, True), (1e-3, False)):
        tokens, sure = allowed(scores, sampling, margin)
        assert (tokens.sum().item(), sure.item()) == (kept, expected)
    # that much does change it
    moved = scores + torch.tensor([[1, 1, -1, -1]]) * 5e-4 * (1 if beyond > 0 else -1)
    assert allowed(moved, sampling, 0.0)[0].sum() != kept


def test_most_draws_are_sure():
    logits = torch.randn(2000, D_VOCAB, generator=torch.Generator().manual_seed(1)) * 3
    noise = gumbel(0, [(0, i, 0) for i in range(2000)], D_VOCAB, CPU)
    for sampling in SAMPLINGS:
        assert sum(not sure for _, sure in sampled_tokens(logits, noise, sampling, 1e-5)) < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "sampling"),
    [("llama", HOW), ("llama", Sampling(1.0, 2, top_k=30, top_p=0.9)), ("gemma3", HOW)],
    ids=str,
)
def test_a_draw_is_the_same_whatever_is_drawn_beside_it(family, sampling):
    model, asked = tiny_bridge(family), requests(sampling, longest=6)
    edits = [Edits(), *(checked_edits(model, text) for text in ("layer:0", "layer:1", "head:1.2"))]
    whole = generate(model, asked, edits)
    assert whole.paths == ("ragged",)
    assert len({answer.tokens for answer in whole.answers[0]}) > 8
    for how in (
        Settings(rows=3, latency_knee=64),
        Settings(drafts=False),
        Settings(mix=False, rows=4),
        Settings(plain=True),
    ):
        assert generate(model, asked, edits, settings=how).answers == whole.answers
    # other company and another order
    order = [7, 2, 11, 0]
    some = generate(model, [asked[i] for i in order], [edits[3], edits[1]])
    assert some.answers == [[whole.answers[n][i] for i in order] for n in (3, 1)]
    # one at a time
    for number, one in enumerate(edits[:2]):
        for i in (0, 5):
            ((alone,),) = generate(model, [asked[i]], [one])
            assert alone == whole.answers[number][i]


def test_families_without_fast_attention_draw_too():
    model, asked = tiny_bridge("bloom"), requests()
    edits = [Edits(), checked_edits(model, "layer:1")]
    whole = generate(model, asked, edits)
    assert whole.paths == ("batches",)
    assert whole.answers[0] != whole.answers[1]
    for i in (0, 4, 11):
        assert [a for (a,) in generate(model, [asked[i]], edits)] == [w[i] for w in whole]


@pytest.mark.slow
def test_near_ties_are_drawn_as_one_row_alone_draws_them():
    hf = tiny_model("llama")
    weights, asked = hf.lm_head.weight.data, requests(replace(HOW, temperature=1e-5))
    # each word has a twin whose logit is the same but for rounding; at this temperature the noise
    # is as small as the difference of two that are not twins is large
    weights[4:52] = weights[52:100] * (1 + 1e-7)
    model = wrap(hf, tiny_tokenizer(), name="twins")
    edits = [Edits(), checked_edits(model, "layer:1")]
    found = generate(model, asked, edits, settings=Settings(rows=3))
    assert sum(counts.near_ties for counts in found.counts) > 20
    for one, answers in zip(edits, found, strict=True):
        for i, answer in enumerate(answers):
            row, written = PlainRow(model, asked[i].prompt, one), []
            while len(written) < len(answer.tokens):
                logits = row.next_logits(written)[None].double()
                place = (len(written), asked[i].doc_id, asked[i].draw)
                scores = logits / 1e-5 + gumbel(HOW.seed, [place], D_VOCAB, CPU)
                written.append(int(scores.argmax()))
            assert tuple(written) == answer.tokens


def test_ablations_are_drawn_with_the_same_numbers():
    model, asked = tiny_bridge("llama"), requests()
    # a model that is swapped with itself is another ablation of the same logits
    edits = [Edits(), checked_edits(model, "swap:1", donor=tiny_bridge("llama"))]
    base, same = generate(model, asked, edits)
    assert base == same
    other = generate(model, requests(replace(HOW, seed=6)), [Edits()]).answers[0]
    assert sum(a == b for a, b in zip(base, other, strict=True)) < 3


def test_equal_draws_of_an_ablation_are_more_than_chance_gives():
    """Paired: the same noise keeps a token where two distributions agree on it."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3000, D_VOCAB, generator=rng).double() * 2
    moved = logits + torch.randn(3000, D_VOCAB, generator=rng).double() * 0.3
    noise = gumbel(0, [(0, i, 0) for i in range(3000)], D_VOCAB, CPU)
    first, second = (sampled_tokens(x, noise, Sampling(1.0), 0.0) for x in (logits, moved))
    equal = np.mean([a == b for a, b in zip(first, second, strict=True)])
    p, q = logits.softmax(dim=-1), moved.softmax(dim=-1)
    distance = (p - q).abs().sum(dim=-1).mean().item() / 2
    # no coupling has more than 1 - distance; Gumbel noise at least (1 - distance) / (1 + distance)
    assert (1 - distance) / (1 + distance) - 0.03 < equal < 1 - distance + 0.03
    assert equal > (p * q).sum(dim=-1).mean().item() + 0.3


@pytest.mark.slow
def test_a_small_temperature_is_greedy():
    model, cold = tiny_bridge("llama"), requests(Sampling(1e-4))
    edits = [Edits(), checked_edits(model, "layer:1")]
    greedy = generate(model, [replace(r, sampling=None) for r in cold], edits)
    assert generate(model, cold, edits).answers == greedy.answers


@pytest.mark.slow
def test_greedy_and_drawn_answers_share_a_call():
    model, drawn = tiny_bridge("llama"), requests()
    warm = [replace(r, sampling=replace(HOW, temperature=1.5)) for r in drawn]
    greedy = [replace(r, sampling=None) for r in drawn]
    edits = [Edits(), checked_edits(model, "layer:1")]
    mixed = [kind[i] for i in range(len(drawn)) for kind in (greedy, drawn, warm)]
    found = generate(model, mixed, edits)
    for start, kind in enumerate((greedy, drawn, warm)):
        alone = generate(model, kind, edits)
        assert [answers[start::3] for answers in found] == alone.answers


def test_what_a_generation_config_draws_from_is_said(caplog):
    model = tiny_bridge("llama")
    decoder(model).root.generation_config.top_p = 0.9
    generate(model, requests(None), [Edits()])
    assert caplog.text == ""
    generate(model, requests(), [Edits()])
    assert "its generation config asks for top_p 0.9, which is left out" in caplog.text

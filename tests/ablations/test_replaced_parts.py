"""Means and other examples in the place of layers, attentions and MLPs, against plain hooks.

The other side is a plain Hugging Face model with forward hooks on modules named here, one row at a
time, without cache, padding or prefix.
"""

import pytest
import torch

import interp
from interp.ablations import (
    Replace,
    as_ablations,
    checked_edits,
    draw_donors,
    mean_outputs,
    outputs_on,
    parse,
)
from interp.ablations.native_hooks import output_replaced
from interp.engine import EVERY, Settings, Shortcuts, generate, score_requests
from interp.engine.by_example import donor_tokens
from interp.errors import UserError
from interp.models import decoder
from interp.tasks import build_requests, encode, load_task, prompt_text
from tests.helpers.families import assert_logits, random_tokens, tiny_bridge, tiny_model
from tests.helpers.plain_hooks import ENDS, adding, contribution, logits_of
from tests.helpers.prompts import requests
from tests.helpers.scoring import some_requests
from tests.helpers.task_files import write_task

LAYER = 1
REFERENCE = [[1, *random_tokens(1, n, seed=n)[0].tolist()] for n in (6, 11)]
TEXTS = ("layer:1@mean", "attn:1@mean", "mlp:1@mean")
QUICK = ("llama", "gemma2", "bloom", "opt")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ENDS],
)
def pair(request):
    """A plain model, and the same as a bridge."""
    return request.param, tiny_model(request.param), tiny_bridge(request.param)


def by_hand(family, plain, text):
    """Mean of a part over the reference rows."""
    form = text.partition(":")[0]
    rows = [contribution(family, plain, form, tokens) for tokens in REFERENCE]
    return form, torch.cat(rows).double().mean(dim=0).float()


@pytest.mark.slow
def test_means_of_parts_are_those_that_plain_hooks_see(pair):
    family, plain, model = pair
    means = mean_outputs(model, REFERENCE)
    sites = {"layer": "layer", "attn": "attention", "mlp": "mlp"}
    for text in TEXTS:
        form, expected = by_hand(family, plain, text)
        assert_logits(means[LAYER, sites[form]], expected)
    together = means[LAYER, "attention"] + means[LAYER, "mlp"]
    assert_logits(together, means[LAYER, "layer"])


def score_of(plain, request):
    row = [*request.context, *request.continuation]
    logprobs = logits_of(plain, row).log_softmax(dim=-1)
    return sum(
        float(logprobs[p, row[p + 1]]) for p in range(len(request.context) - 1, len(row) - 1)
    )


@pytest.mark.thinned(share=3)
@pytest.mark.slow
def test_scores_with_means_equal_plain_hooks(pair):
    """Packed behind a prefix, and padded on the right with nothing shared."""
    family, plain, model = pair
    means, asked = mean_outputs(model, REFERENCE), some_requests(examples=3)
    edits = [checked_edits(model, text) for text in ("baseline", *TEXTS)]
    alone = Shortcuts(prefixes=False, options=False, sublayers=False, stacked=False)
    expected = []
    for text in TEXTS:
        form, mean = by_hand(family, plain, text)
        with adding(family, plain, form, mean):
            expected.append([score_of(plain, request) for request in asked])
    for shortcuts in (EVERY, alone):
        found = score_requests(model, asked, edits, means=means, shortcuts=shortcuts)
        for text, scores, values in zip(TEXTS, found[1:], expected, strict=True):
            assert [value for value, _ in scores] == pytest.approx(values, abs=1e-4), text


@pytest.mark.slow
@pytest.mark.thinned(share=3)
def test_texts_with_means_equal_plain_hooks(pair):
    """Rows of several ablations in one batch, and batches that are padded on the left."""
    family, plain, model = pair
    means, asked = mean_outputs(model, REFERENCE), requests(3, until=(), longest=6)
    edits = [checked_edits(model, text) for text in ("baseline", *TEXTS)]
    every = [
        generate(model, asked, edits, means=means, settings=settings)
        for settings in (Settings(rows=5, latency_knee=64), Settings(plain=True))
    ]
    for number, text in enumerate(TEXTS, start=1):
        form, mean = by_hand(family, plain, text)
        with adding(family, plain, form, mean):
            for i, request in enumerate(asked):
                tokens = list(request.prompt)
                while len(tokens) < len(request.prompt) + 6 and tokens[-1] != 2:
                    tokens.append(int(logits_of(plain, tokens)[-1].argmax()))
                for found in every:
                    assert found.answers[number][i].tokens == tuple(tokens[len(request.prompt) :])


@pytest.mark.slow
@pytest.mark.parametrize("text", ["layer:1@resample", "attn:1@resample", "mlp:1@resample"])
def test_on_the_bridge_another_example_is_aligned_at_the_ends(pair, text):
    family, plain, model = pair
    tokens, source = random_tokens(1, 9)[0].tolist(), "w5 w6 w7 w8 w9"
    form = text.partition(":")[0]
    other = contribution(family, plain, form, decoder(model).tokenizer.encode(source))
    places = (torch.arange(9) - 9 + len(other)).clamp(min=0)
    with adding(family, plain, form, other[places]):
        expected = logits_of(plain, tokens)
    with torch.no_grad(), interp.ablate(model, text, reference=[source]):
        found = model(torch.tensor([tokens, tokens]))
    assert_logits(found[0], expected)
    assert_logits(found[1], expected)
    assert not torch.allclose(found[0], logits_of(plain, tokens), atol=1e-3)


@pytest.mark.slow
def test_on_the_bridge_a_mean_is_what_plain_hooks_put(pair):
    family, plain, model = pair
    tokens, texts = random_tokens(1, 9)[0].tolist(), ["w5 w6 w7", "w8 w9"]
    rows = [decoder(model).tokenizer.encode(text) for text in texts]
    for text in TEXTS:
        form = text.partition(":")[0]
        mean = torch.cat([contribution(family, plain, form, row) for row in rows]).mean(dim=0)
        with adding(family, plain, form, mean):
            expected = logits_of(plain, tokens)
        with torch.no_grad(), interp.ablate(model, text, reference=texts):
            assert_logits(model(torch.tensor([tokens]))[0], expected)


def aligned_to(family, plain, model, task, form, doc_id, end, length, donors):
    """What the donor of an example has at the positions of its row."""
    tokens, donor_end = donor_tokens(model, task, donors[doc_id])
    other = contribution(family, plain, form, tokens)
    return other[(torch.arange(length) + donor_end - end).clamp(0, len(other) - 1)]


@pytest.mark.parametrize("family", ["llama", pytest.param("opt", marks=pytest.mark.slow)])
def test_a_sweep_with_other_examples_equals_a_loop(family, tmp_path):
    """Options and generated answers: every example takes from its own donor."""
    plain, model = tiny_model(family), tiny_bridge(family)
    texts, donors = ["layer:1@resample", "mlp:1@resample"], draw_donors(range(4), seed=3)
    for kind in ("texts", "generate"):
        (tmp_path / kind).mkdir()
        task = load_task(write_task(tmp_path / kind, kind=kind, rows=4))
        run = interp.sweep(model, task, texts, out=tmp_path / f"run-{kind}", seed=3)
        rows = run.responses().set_index(["ablation", "doc_id"])
        for text in texts:
            form = text.partition(":")[0]
            given = (family, plain, model, task, form)
            if kind == "texts":
                for request in build_requests(task, range(4), decoder(model)):
                    end = len(request.context) - 1
                    tokens = [*request.context, *request.continuation]
                    there = aligned_to(*given, request.doc_id, end, len(tokens), donors)
                    with adding(family, plain, form, there):
                        logprobs = logits_of(plain, tokens).log_softmax(dim=-1)
                    expected = sum(
                        logprobs[end + i, t].item() for i, t in enumerate(request.continuation)
                    )
                    found = rows.loc[(text, request.doc_id), "loglikelihoods"][request.option]
                    assert found == pytest.approx(expected, abs=1e-4)
                continue
            for doc_id, document in enumerate(task.documents()):
                prompt, written = encode(prompt_text(task, document), decoder(model)), []
                while len(written) < 6 and 2 not in written:
                    tokens = prompt + written
                    there = aligned_to(*given, doc_id, len(prompt) - 1, len(tokens), donors)
                    with adding(family, plain, form, there):
                        written.append(int(logits_of(plain, tokens)[-1].argmax()))
                said = decoder(model).tokenizer.decode(written, skip_special_tokens=True)
                for stop in ("w61", "w62 w63"):
                    said = said.split(stop)[0]
                assert rows.loc[(text, doc_id), "text"] == said


def test_what_is_replaced_as_a_whole_is_not_run_and_nothing_inside_it_counts(llama):
    means, asked = mean_outputs(llama, REFERENCE), some_requests(examples=2)
    texts = ["layer:1@mean", "layer:1@mean+attn:1", "layer:1@mean+head:1.2+mlp:1@mean"]
    found = score_requests(llama, asked, [checked_edits(llama, t) for t in texts], means=means)
    assert found[0] == found[1] == found[2]
    skipped = score_requests(llama, asked, [checked_edits(llama, "layer:1@mean+layer:1")])
    assert skipped == score_requests(llama, asked, [checked_edits(llama, "layer:1")])
    of_two = checked_edits(llama, "attn:1@mean+attn:1@resample")[1]
    assert (of_two.mean_parts, of_two.resample_parts) == ({"attention"}, frozenset())


def test_families_and_texts(llama):
    assert [a.text for a in as_ablations(llama, "mlps@resample")] == [
        f"mlp:{n}@resample" for n in range(3)
    ]
    for text in as_ablations(llama, ["layers@mean", "attentions@mean"]):
        assert parse(text.text) == text
    assert Replace(7, "attention").text == "attn:7@mean"
    assert parse("attn:7@mean").kind == "attn@mean"


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (lambda: parse("layer:7@zero"), "layer:7@mean"),
        (lambda: parse("layers:7-9@mean"), "'layers:7-9@mean'"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(bad, match):
    with pytest.raises(UserError, match=match) as error:
        bad()
    assert "\n" not in str(error.value)


def test_a_mean_without_a_reference_set_is_refused(llama):
    with pytest.raises(UserError, match="mlp:1@mean: it needs a reference set"):
        interp.ablate(llama, "mlp:1@mean").__enter__()
    with pytest.raises(UserError, match="layer:1@resample: another example is needed"):
        interp.ablate(llama, "layer:1@resample").__enter__()
    with pytest.raises(UserError, match="layer 3: the model has layers 0-2"):
        checked_edits(llama, "mlp:3@mean")


def test_outputs_of_another_example_have_one_row_a_position(llama):
    found = outputs_on(llama, [1, 5, 6, 7], [(1, "layer"), (2, "z")])
    assert {place: tuple(one.shape) for place, one in found.items()} == {
        (1, "layer"): (4, 32),
        (2, "z"): (4, 32),
    }


def test_what_a_model_writes_into_an_output_reaches_nothing_that_is_kept():
    """Falcon adds what its attention gives to what its MLP returned, in place."""
    there = torch.ones(1, 3, 4)
    hook = output_replaced(lambda value: there, adds_residual=False)
    out = hook(torch.nn.Identity(), (torch.zeros(1, 3, 4),), {}, torch.zeros(1, 3, 4))
    out += 5
    assert bool((there == 1).all())

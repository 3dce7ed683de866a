"""Affine maps in the place of blocks, against NumPy and plain Hugging Face models with hooks."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import interp
from interp.ablations import (
    Replace,
    as_ablations,
    checked_edits,
    forward_replaced,
    mean_outputs,
    parse,
)
from interp.engine import EVERY, Settings, Shortcuts, generate, score_requests
from interp.errors import UserError
from interp.models import decoder
from tests.helpers.families import assert_logits, random_tokens, tiny_bridge, tiny_model
from tests.helpers.plain_hooks import ENDS, block_of, entering, first, logits_of
from tests.helpers.prompts import requests
from tests.helpers.scoring import some_requests
from tests.helpers.task_files import write_task

LAYER = 1
REFERENCE = [[1, *random_tokens(1, n, seed=n)[0].tolist()] for n in (16, 21, 30, 25)]
QUICK = ("llama", "opt")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ENDS],
)
def pair(request):
    """A plain model, the same as a bridge, and what was fitted on the reference rows."""
    model = tiny_bridge(request.param)
    return tiny_model(request.param), model, mean_outputs(model, REFERENCE, linear=[LAYER])


@contextmanager
def mapped(plain, linear):
    """Inside the context the block adds an affine map of what enters it."""

    def put(_module, args, kwargs, out):
        x = entering(args, kwargs)
        added = x + x @ linear[:, :-1].T + linear[:, -1]
        return (added, *out[1:]) if isinstance(out, tuple) else added

    handle = block_of(plain).register_forward_hook(put, with_kwargs=True)
    yield
    handle.remove()


def stream(plain, rows):
    """What enters the block and what leaves it, at all positions of some rows."""
    seen = []

    def look(_module, args, kwargs, out):
        seen.append((entering(args, kwargs)[0].double(), first(out)[0].double()))

    handle = block_of(plain).register_forward_hook(look, with_kwargs=True)
    for row in rows:
        logits_of(plain, row)
    handle.remove()
    return [torch.cat(some).numpy() for some in zip(*seen, strict=True)]


def ridge_by_hand(x, y, share):
    """Ridge regression as augmented least squares: one further row a column, no intercept there."""
    weight = np.sqrt(share * (x**2).sum(axis=0).mean())
    x = np.block(
        [[x, np.ones((len(x), 1))], [weight * np.eye(x.shape[1]), np.zeros((x.shape[1], 1))]]
    )
    y = np.concatenate([y, np.zeros((x.shape[1] - 1, y.shape[1]))])
    return np.linalg.lstsq(x, y, rcond=None)[0]


def test_the_map_is_numpys_ridge_regression_with_the_shrinkage_that_predicts_the_other_texts():
    plain, model = tiny_model("llama"), tiny_bridge("llama")
    halves = [stream(plain, REFERENCE[::2]), stream(plain, REFERENCE[1::2])]
    errors = {}
    for share in (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 100.0):
        errors[share] = 0.0
        for (x, y), (x_other, y_other) in (halves, halves[::-1]):
            w = ridge_by_hand(x, y - x, share)
            errors[share] += np.square(x_other @ w[:-1] + w[-1] - (y_other - x_other)).sum()
    best = min(errors, key=errors.get)
    x, y = (np.concatenate(some) for some in zip(*halves, strict=True))
    expected = ridge_by_hand(x, y - x, best)
    found = mean_outputs(model, REFERENCE, linear=[LAYER])[LAYER, "linear"]
    assert best > 1e-8
    np.testing.assert_allclose(found.T, expected, atol=1e-4)


def test_of_a_layer_that_is_linear_the_map_is_exact():
    model = tiny_bridge("llama")
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(32, 32, generator=generator) * 0.1
    constant = torch.randn(32, generator=generator)
    block, asked = decoder(model).blocks[LAYER], some_requests(examples=2)
    with forward_replaced(block, lambda x, *_args, **_kwargs: x + x @ matrix.T + constant):
        means = mean_outputs(model, REFERENCE, linear=[LAYER])
        whole = score_requests(model, asked, [checked_edits(model, "baseline")])
    torch.testing.assert_close(means[LAYER, "linear"][:, :-1], matrix, atol=1e-4, rtol=0)
    torch.testing.assert_close(means[LAYER, "linear"][:, -1], constant, atol=1e-4, rtol=0)
    replaced = score_requests(model, asked, [checked_edits(model, "layer:1@linear")], means=means)
    for (value, _), (expected, _) in zip(replaced[0], whole[0], strict=True):
        assert value == pytest.approx(expected, abs=1e-3)


@pytest.mark.thinned(share=2)
def test_scores_and_logits_equal_plain_hooks(pair):
    """Packed behind a prefix, padded with nothing shared, on the bridge, and in its scopes."""
    plain, model, means = pair
    asked = some_requests(examples=3)
    texts = ("layer:1@linear", "layer:1@linear@@prompt+layer:1@linear@@answer")
    edits = [checked_edits(model, text) for text in texts]
    alone = Shortcuts(prefixes=False, options=False, sublayers=False, stacked=False)
    found = [
        score
        for shortcuts in (EVERY, alone)
        for score in score_requests(model, asked, edits, means=means, shortcuts=shortcuts)
    ]
    with mapped(plain, means[LAYER, "linear"]):
        for number, request in enumerate(asked):
            row = [*request.context, *request.continuation]
            logprobs = logits_of(plain, row).log_softmax(dim=-1)
            at = range(len(request.context) - 1, len(row) - 1)
            expected = sum(float(logprobs[p, row[p + 1]]) for p in at)
            for scores in found:
                assert scores[number][0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.thinned(share=2)
def test_texts_equal_plain_hooks(pair):
    """Rows of several ablations in one batch, and batches that are padded on the left."""
    plain, model, means = pair
    asked = requests(2, until=(), longest=5)
    edits = [checked_edits(model, t) for t in ("baseline", "layer:1@linear", "layer:1@mean")]
    every = [
        generate(model, asked, edits, means=means, settings=settings)
        for settings in (Settings(rows=5, latency_knee=64), Settings(plain=True))
    ]
    with mapped(plain, means[LAYER, "linear"]):
        for i, request in enumerate(asked):
            tokens = list(request.prompt)
            while len(tokens) < len(request.prompt) + 5 and tokens[-1] != 2:
                tokens.append(int(logits_of(plain, tokens)[-1].argmax()))
            for found in every:
                assert found.answers[1][i].tokens == tuple(tokens[len(request.prompt) :])


def test_on_the_bridge_the_map_is_fitted_on_the_given_texts(llama):
    plain, texts = tiny_model("llama"), ["w5 w6 w7 w8 w9 w10", "w8 w9 w3 w2", "w9 w8 w5 w20"]
    rows = [decoder(llama).tokenizer.encode(text) for text in texts]
    linear = mean_outputs(llama, rows, linear=[LAYER])[LAYER, "linear"]
    tokens = random_tokens(1, 9)[0].tolist()
    with mapped(plain, linear):
        expected = logits_of(plain, tokens)
    with torch.no_grad(), interp.ablate(llama, "layer:1@linear", reference=texts):
        assert_logits(llama(torch.tensor([tokens]))[0], expected)


@pytest.mark.slow
def test_a_family_is_swept(llama, tmp_path):
    task = interp.load_task(write_task(tmp_path, kind="texts", rows=4))
    run = interp.sweep(llama, task, ["layers", "layers@linear"], out=tmp_path / "run")
    assert set(run.importance()["kind"]) == {"layer", "layer@linear"}


def test_a_family_and_its_texts(llama):
    assert [a.text for a in as_ablations(llama, "layers@linear")][:1] == ["layer:0@linear"]
    assert parse("layer:0@linear") == Replace(0, by="linear")


def test_one_text_is_enough(llama):
    assert torch.isfinite(mean_outputs(llama, REFERENCE[:1], linear=[0])[0, "linear"]).all()


def test_what_cannot_be_linear_is_refused_in_one_line(llama):
    with pytest.raises(UserError, match="attn:1@linear"):
        parse("attn:1@linear")
    with pytest.raises(UserError, match="mlp:1: by='linear'; allowed are 'mean', 'resample'"):
        Replace(1, "mlp", "linear")
    with pytest.raises(UserError, match="layer:1@linear: it needs a reference set"):
        interp.ablate(llama, "layer:1@linear").__enter__()
    both = checked_edits(llama, "layer:1@linear+layer:1@mean+layer:1@resample")[1]
    assert (both.linear, both.mean_parts, both.resample_parts) == (False, {"layer"}, frozenset())

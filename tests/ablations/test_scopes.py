"""Scopes against plain Hugging Face hooks that act at some positions of one row at a time."""

import functools

import pytest
import torch

import interp
from interp.ablations import (
    Edits,
    Scoped,
    SkipLayer,
    as_ablations,
    checked_edits,
    mean_outputs,
    parse,
)
from interp.engine import EVERY, Shortcuts, generate, score_requests
from interp.errors import UserError
from interp.tasks import OptionRequest, load_task
from tests.helpers.families import random_tokens, tiny_bridge, tiny_model
from tests.helpers.plain_hooks import adding, block_of, contribution, logits_of
from tests.helpers.prompts import requests
from tests.helpers.scoring import some_requests
from tests.helpers.task_files import write_task

REFERENCE = [[1, *random_tokens(1, n, seed=n)[0].tolist()] for n in (6, 11)]
TEXTS = [
    "layer:1@@prompt", "layer:1@@answer", "layer:1@@last", "attn:1@@prompt", "mlp:1@@answer",
    "head:1.2@@prompt", "mlp:1@mean@@last", "layer:1@mean@@answer",
]  # fmt: skip
PROJECTIONS = {
    "llama": "self_attn.o_proj",
    "gemma2": "self_attn.o_proj",
    "opt": "self_attn.out_proj",
    "bloom": "self_attention.dense",
    "gpt2": "attn.c_proj",
    "mistral": "self_attn.o_proj",
}
QUICK = ("llama", "opt", "bloom")


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in PROJECTIONS],
)
def pair(request):
    return request.param, tiny_model(request.param), tiny_bridge(request.param)


def positions(scope, prompt, length):
    at = torch.arange(length)
    return {"prompt": at < prompt, "answer": at >= prompt, "last": at == prompt - 1}[scope]


def plain_logits(family, plain, text, tokens, prompt):
    """Logits of one row under an ablation with a scope, by hooks that know the positions."""
    what, _, scope = text.rpartition("@@")
    where = positions(scope, prompt, len(tokens))
    form = what.partition(":")[0]
    if form == "head":
        projection = block_of(plain).get_submodule(PROJECTIONS[family])

        def zero(_module, args):
            z = args[0].clone().view(1, len(tokens), 4, -1)
            z[:, where, 2] = 0
            return (z.view_as(args[0]),)

        handle = projection.register_forward_pre_hook(zero)
        try:
            return logits_of(plain, tokens)
        finally:
            handle.remove()
    there = torch.zeros(32)
    if what.endswith("@mean"):
        there = mean_contribution(family, plain, form)
    with adding(family, plain, form, there, where=where):
        return logits_of(plain, tokens)


@functools.cache
def mean_contribution(family, plain, form):
    return torch.cat([contribution(family, plain, form, row) for row in REFERENCE]).mean(dim=0)


def plain_score(family, plain, text, request):
    row = [*request.context, *request.continuation]
    logits = plain_logits(family, plain, text, row, len(request.context))
    logprobs = logits.log_softmax(dim=-1)
    return sum(
        float(logprobs[p, row[p + 1]]) for p in range(len(request.context) - 1, len(row) - 1)
    )


@pytest.mark.thinned(share=2)
@pytest.mark.slow
def test_scores_equal_plain_hooks(pair):
    """Packed behind a prefix and replayed, and in rows padded on the right."""
    family, plain, model = pair
    means, asked = mean_outputs(model, REFERENCE), some_requests(examples=2)
    edits = [checked_edits(model, text) for text in ("baseline", *TEXTS)]
    alone = Shortcuts(prefixes=False, options=False, sublayers=False)
    expected = [[plain_score(family, plain, text, one) for one in asked] for text in TEXTS]
    for shortcuts in (EVERY, alone):
        found = score_requests(model, asked, edits, means=means, shortcuts=shortcuts)
        for text, scores, values in zip(TEXTS, found[1:], expected, strict=True):
            assert [value for value, _ in scores] == pytest.approx(values, abs=1e-4), text


@pytest.mark.thinned(share=2)
@pytest.mark.slow
def test_texts_equal_plain_hooks(pair):
    """Batches that are padded on the left, and rows of their own."""
    family, plain, model = pair
    means, asked = mean_outputs(model, REFERENCE), requests(3, until=(), longest=5)
    edits = [checked_edits(model, text) for text in ("baseline", *TEXTS)]
    found = generate(model, asked, edits, means=means)
    for text, answers in zip(TEXTS, found.answers[1:], strict=True):
        for request, answer in zip(asked, answers, strict=True):
            tokens, prompt = list(request.prompt), len(request.prompt)
            while len(tokens) < prompt + 5 and tokens[-1] != 2:
                logits = plain_logits(family, plain, text, tokens, prompt)
                tokens.append(int(logits[-1].argmax()))
            assert answer.tokens == tuple(tokens[prompt:]), text


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("what", ["layer:1", "attn:0", "mlp:2", "head:1.2@mean", "mlp:1@mean"])
def test_prompt_and_answer_together_are_everywhere(pair, what):
    _, _, model = pair
    means, asked = mean_outputs(model, REFERENCE), some_requests(examples=2)
    texts = [what, f"{what}@@prompt+{what}@@answer", f"{what}@@prompt"]
    edits = [checked_edits(model, text) for text in texts]
    whole, both, half = score_requests(model, asked, edits, means=means)
    for (one, _), (other, _) in zip(whole, both, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert any(abs(one[0] - other[0]) > 1e-3 for one, other in zip(whole, half, strict=True))
    prompts = requests(2, until=(), longest=4)
    first, second = generate(model, prompts, edits[:2], means=means)
    assert [a.tokens for a in first] == [a.tokens for a in second]


@pytest.mark.slow
def test_a_token_of_one_answer_may_be_of_another_prompt():
    plain, model = tiny_model("llama"), tiny_bridge("llama")
    asked = [
        OptionRequest(0, 0, (1, 5, 6), (7, 8, 9)),
        OptionRequest(0, 1, (1, 5, 6, 7), (8, 9)),
        OptionRequest(1, 0, (1, 5, 6, 7), (8, 11)),
        OptionRequest(1, 1, (1, 5, 6, 7, 8), (11, 12)),
    ]
    texts = ["layer:1@@prompt", "layer:1@@answer", "mlp:1@@last"]
    found = score_requests(model, asked, [Edits(), *(checked_edits(model, t) for t in texts)])
    for text, scores in zip(texts, found[1:], strict=True):
        for request, (value, _) in zip(asked, scores, strict=True):
            assert value == pytest.approx(plain_score("llama", plain, text, request), abs=1e-4)


@pytest.mark.slow
def test_a_sweep_records_scopes_and_refuses_those_without_positions(llama, tmp_path):
    for kind in ("texts", "generate"):
        (tmp_path / kind).mkdir()
        task = load_task(write_task(tmp_path / kind, kind=kind, rows=3))
        run = interp.sweep(
            llama,
            task,
            ["layer:1", "layers@@prompt", "layer:1@@answer"],
            out=tmp_path / f"run-{kind}",
        )
        assert set(run.responses()["ablation"]) == {
            "baseline", "layer:1", *(f"layer:{n}@@prompt" for n in range(3)), "layer:1@@answer",
        }  # fmt: skip
    (tmp_path / "letters").mkdir()
    letters = load_task(write_task(tmp_path / "letters", kind="letters", rows=3))
    with pytest.raises(UserError, match=r"its answers have one token.*@@answer has no position"):
        interp.sweep(llama, letters, ["layer:1@@answer"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_texts_and_families_with_scopes(llama):
    assert parse("head:7.3@mean@@last").kind == "head@mean@@last"
    assert (parse("layers:2-4@@prompt").layers, parse("head:7.3@@prompt").heads) == (
        (2, 3, 4),
        ((7, 3),),
    )
    assert parse("layer:7@@answer") == Scoped(SkipLayer(7), "answer")
    assert [a.text for a in as_ablations(llama, "layers@mean@@last")] == [
        f"layer:{n}@mean@@last" for n in range(3)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer:3@@prompt", "layer 3: the model has layers 0-2"),
        ("layer:1@resample@@prompt", "@resample has no scope"),
        ("repeat:0-1@@prompt", "it has no scope"),
        ("parallel:0-1@@answer", "it has no scope"),
        ("layer:1@@prompt@@last", "not one ablation"),
        ("layer:1@@question", "each with @@prompt, @@answer or @@last after it"),
        ("layer:1@@prompt+head:1.2@resample", "not combined with @resample"),
    ],
)
def test_what_has_no_scope_is_refused_in_one_line(llama, text, message):
    with pytest.raises(UserError, match=message) as error:
        checked_edits(llama, text)
    assert "\n" not in str(error.value)


def test_the_bridge_does_not_know_where_a_prompt_ends(llama):
    with pytest.raises(UserError, match="needs to know where a prompt ends"):
        interp.ablate(llama, "layer:1@@prompt").__enter__()
    assert isinstance(interp.generate(llama, "w5 w6", "layer:1@@prompt", max_new_tokens=2), str)
    assert "".join(interp.stream(llama, "w5 w6", "mlp:1@@last", max_new_tokens=2)) is not None

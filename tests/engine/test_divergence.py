"""Divergence from the whole model: equal to two Hugging Face models and float64."""

from dataclasses import replace

import pytest
import torch

import interp
from interp.ablations import checked_edits, draw_donors
from interp.engine import EVERY, Shortcuts, generate, score_requests, scores_by_example
from interp.engine.replay import unembed
from interp.engine.scoring import score, targets, whole_model
from interp.engine.shortcuts import NONE
from interp.errors import UserError
from interp.tasks import OptionRequest, build_requests, load_task
from tests.helpers.families import deleted, random_tokens, tiny_bridge, tiny_model
from tests.helpers.plain_hooks import adding, logits_of
from tests.helpers.scoring import some_requests
from tests.helpers.task_files import write_task

FAMILIES = [
    "llama",
    pytest.param("gpt2", marks=pytest.mark.slow),
    pytest.param("gemma2", marks=pytest.mark.slow),
    pytest.param("bloom", marks=pytest.mark.slow),
    pytest.param("qwen3_moe", marks=pytest.mark.slow),
]
TEXTS = ["layer:1", "layer:2", "attn:1", "mlp:0", "mlp:2", "head:1.2", "head:1.1", "exchange:0"]


def tokens_of(request):
    return [*request.context, *request.continuation]


def by_hand(whole, ablated, request):
    """KL and agreement over the positions that predict the continuation, from whole logits."""
    at = slice(len(request.context) - 1, -1)
    p, q = (logits.double().log_softmax(dim=-1)[at] for logits in (whole, ablated))
    kl = torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum")
    return float(kl), int((p.argmax(dim=-1) == q.argmax(dim=-1)).sum())


def assert_equal(found, expected):
    for one, (kl, agreed) in zip(found, expected, strict=True):
        assert one.kl == pytest.approx(kl, abs=2e-5, rel=1e-4)
        assert one.agreed == agreed


@pytest.mark.thinned
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shortcuts", [EVERY, NONE, replace(EVERY, token_budget=64)])
def test_equal_to_two_models(family, shortcuts):
    """A layer deleted from a checkpoint, and other edits in one forward pass each."""
    plain, model, asked = tiny_model(family), tiny_bridge(family), some_requests(examples=2)
    edits = [checked_edits(model, text) for text in ("baseline", *TEXTS)]
    found = score_requests(model, asked, edits, shortcuts=shortcuts, divergence=True)
    assert all(one.kl == 0 and one.agreed == len(r.continuation)
               for one, r in zip(found[0], asked, strict=True))  # fmt: skip
    whole = [logits_of(plain, tokens_of(request)) for request in asked]
    without = deleted(family, [1])
    expected = [by_hand(a, logits_of(without, tokens_of(request)), request)
                for a, request in zip(whole, asked, strict=True)]  # fmt: skip
    assert_equal(found[1], expected)
    assert max(kl for kl, _ in expected) > 0.01
    for text, scores in zip(TEXTS, found[1:], strict=True):
        if text == "exchange:0":
            continue
        with interp.ablate(model, text), torch.no_grad():
            ablated = [model(torch.tensor([tokens_of(request)]))[0] for request in asked]
        triples = zip(whole, ablated, asked, strict=True)
        assert_equal(scores, [by_hand(*triple) for triple in triples])


def test_scores_are_those_without(monkeypatch):
    """Kept or formed again, what the whole model predicts changes no score."""
    model, asked = tiny_bridge("llama"), some_requests(examples=3)
    edits = [checked_edits(model, text) for text in ("baseline", *TEXTS)]
    plain = score_requests(model, asked, edits)
    kept = score_requests(model, asked, edits, divergence=True)
    for module in (whole_model, score):
        monkeypatch.setattr(module, "fits", lambda *_: False)
    again = score_requests(model, asked, edits, divergence=True)
    for rows in zip(plain, kept, again, strict=True):
        for without, one, other in zip(*rows, strict=True):
            assert one[0] == pytest.approx(without[0], abs=1e-5)
            assert one[1] == without[1]
            assert (one.kl, one.agreed) == pytest.approx((other.kl, other.agreed), abs=1e-6)


def test_scopes_and_hooks():
    """Where positions of the prompt only are changed, and under hooks inside and outside blocks."""
    family = "llama"
    plain, model, asked = tiny_model(family), tiny_bridge(family), some_requests(examples=2)
    points = {"in": "blocks.1.hook_out", "last": "ln_final.hook_out"}
    hooks = [interp.hooked(name, [(at, turned)]) for name, at in points.items()]
    edits = [checked_edits(model, one) for one in ("layer:1@@prompt", *hooks)]
    for shortcuts in (EVERY, NONE):
        found = score_requests(model, asked, edits, shortcuts=shortcuts, divergence=True)
        whole = [logits_of(plain, tokens_of(request)) for request in asked]
        for number, request in enumerate(asked):
            row = tokens_of(request)
            where = torch.arange(len(row)) < len(request.context)
            with adding(family, plain, "layer", torch.zeros(32), where=where):
                ablated = [logits_of(plain, row)]
            ids = torch.tensor([row])
            for point in points.values():
                with torch.no_grad():
                    ablated.append(model.run_with_hooks(ids, fwd_hooks=[(point, turned)])[0])
            expected = [by_hand(whole[number], one, request) for one in ablated]
            assert_equal([rows[number] for rows in found], expected)


def turned(value, hook):
    return value.flip(-1)


def test_what_differs_from_example_to_example(tmp_path):
    """Another example's contribution and cut attention: replayed, behind a prefix and stacked."""
    model = tiny_bridge("llama")
    task = load_task(write_task(tmp_path, rows=4))
    asked = build_requests(task, range(4), interp.models.decoder(model))
    texts = ["head:1.1@window-1-2", "head:1.2@window-1-2", "layer:1@resample"]
    edits = [checked_edits(model, text) for text in texts]
    donors = draw_donors(range(4), seed=0)
    found = []
    for shortcuts in (EVERY, Shortcuts(prefixes=False), NONE):
        scores = {one: {} for one in edits}
        for one, _, some in scores_by_example(
            model, task, asked, edits, donors=donors, shortcuts=shortcuts, divergence=True
        ):
            scores[one] |= some
        found.append([(s.kl, s.agreed) for one in edits for _, s in sorted(scores[one].items())])
    assert sum(kl > 1e-3 for kl, _ in found[0]) > len(found[0]) / 2
    for other in found[1:]:
        assert [kl for kl, _ in other] == pytest.approx([kl for kl, _ in found[0]], abs=1e-5)
        assert [n for _, n in other] == [n for _, n in found[0]]


def test_a_run_has_them_as_metrics(tmp_path):
    """Of the right option, a mean over its tokens; positive drops of `kl` are damage."""
    model = tiny_bridge("llama")
    task = load_task(write_task(tmp_path, rows=6))
    folder = tmp_path / "run"
    run = interp.sweep(model, [task], ["layer:0", "layer:1"], out=folder, divergence=True)
    values = run.values().set_index(["ablation", "metric", "doc_id"])["value"].sort_index()
    asked = build_requests(task, range(6), interp.models.decoder(model))
    (scores,) = score_requests(model, asked, [checked_edits(model, "layer:1")], divergence=True)
    for doc_id in range(6):
        (gold,) = task.gold_options(task.documents()[doc_id])
        own = [n for n, request in enumerate(asked) if request.doc_id == doc_id][gold]
        tokens = len(asked[own].continuation)
        assert values["layer:1", "kl", doc_id] == pytest.approx(scores[own].kl / tokens, abs=1e-6)
        agreement = values["layer:1", "top1_agreement", doc_id]
        assert agreement == pytest.approx(scores[own].agreed / tokens)
    assert (values["baseline", "kl"] == 0).all()
    assert (values["baseline", "top1_agreement"] == 1).all()
    table = run.importance(metric="kl").set_index("ablation")
    assert table.loc["layer:1", "drop"] == pytest.approx(values["layer:1", "kl"].mean())
    assert (table["low"] > 0).all()
    assert (run.importance(metric="top1_agreement")["drop"] >= 0).all()
    assert "kl" in interp.results.summary.summary(run, metric="kl")
    # the same run without is another one
    with pytest.raises(UserError, match="metrics kl, top1_agreement there, none asked"):
        interp.sweep(model, [task], ["layer:0", "layer:1"], out=folder)


@pytest.mark.slow
def test_texts_and_generated_answers(tmp_path):
    model = tiny_bridge("llama")
    file = tmp_path / "notes.txt"
    file.write_text(" ".join(f"w{n}" for n in random_tokens(1, 30)[0].tolist()))
    run = interp.sweep(model, f"text:{file}", ["layer:1"], out=tmp_path / "texts", divergence=True)
    assert run.scores().set_index(["metric", "ablation"]).loc[("kl", "layer:1"), "value"] > 0
    task = load_task(write_task(tmp_path, kind="generate", rows=3))
    texts = ["layer:1", "layer:1@@answer", "layer:2@resample"]
    run = interp.sweep(model, [task], texts, out=tmp_path / "run", divergence=True)
    values = run.values().set_index(["ablation", "metric", "doc_id"])["value"].sort_index()
    without, plain = deleted("llama", [1]), tiny_model("llama")
    requests = build_requests(task, range(3), interp.models.decoder(model))
    (answers,) = generate(model, requests, [checked_edits(model, "baseline")])
    for request, answer in zip(requests, answers, strict=True):
        option = OptionRequest(request.doc_id, 0, request.prompt, answer.tokens)
        logits = [logits_of(one, tokens_of(option)) for one in (plain, without)]
        kl, agreed = (sum_of / len(answer.tokens) for sum_of in by_hand(*logits, option))
        assert values["layer:1", "kl", request.doc_id] == pytest.approx(kl, abs=1e-5, rel=1e-4)
        assert values["layer:1", "top1_agreement", request.doc_id] == pytest.approx(agreed)
    assert (values["baseline", "kl"] == 0).all()
    assert (values["layer:2@resample", "kl"] > 0).all()
    assert (values["layer:1@@answer", "kl"] != values["layer:1", "kl"]).any()


def test_the_whole_model_is_unembedded_once(monkeypatch):
    """Its logits are what the others are compared with, and give its own scores."""
    model, asked = tiny_bridge("llama"), some_requests(examples=2)
    edits = [checked_edits(model, text) for text in ("baseline", "layer:1", "attn:2")]
    rows = []

    def counted(decoder, resid):
        rows.append(len(resid))
        return unembed(decoder, resid)

    monkeypatch.setattr(targets, "unembed", counted)
    for shortcuts in (EVERY, NONE):
        score_requests(model, asked, edits, shortcuts=shortcuts)
        without = sum(rows)
        rows.clear()
        score_requests(model, asked, edits, shortcuts=shortcuts, divergence=True)
        assert sum(rows) == without
        rows.clear()

"""A user's own TransformerLens hooks, swept: equal to `run_with_hooks` on whole prompts."""

import pytest
import torch

import interp
from interp.ablations import Edits, checked_edits
from interp.engine import generate, score_requests
from interp.engine.shortcuts import NONE
from interp.errors import UserError
from interp.tasks import GenerationRequest, build_requests, load_task
from tests.helpers.families import random_tokens, tiny_bridge
from tests.helpers.scoring import assert_same, some_requests
from tests.helpers.task_files import write_task

FAMILIES = ["llama", "gpt2", "gpt_neox", "gemma3"]


def mirrored(value, hook):
    # a factor would be undone by the norm that some families have behind a sublayer
    return value.flip(-1)


def last_head_to_zero(z, hook):
    z[:, :, -1] = 0
    return z


POINTS = {
    "block": [("blocks.1.hook_out", mirrored)],
    "heads": [("blocks.0.attn.hook_z", last_head_to_zero), ("blocks.2.mlp.hook_out", mirrored)],
    "filter": [(lambda name: name.endswith("1.attn.hook_out"), mirrored)],
    "outside": [("embed.hook_out", mirrored)],
    "last": [("ln_final.hook_out", mirrored)],
}


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", sorted(POINTS))
def test_swept_hooks_equal_run_with_hooks(family, kind):
    model = tiny_bridge(family)
    points = list(POINTS[kind])
    requests = some_requests(examples=3)
    edits = checked_edits(model, interp.hooked(kind, points))
    found = score_requests(model, requests, [Edits(), edits])
    assert_same(score_requests(model, requests, [Edits(), edits], shortcuts=NONE), found)
    for request, (value, _), (plain, _) in zip(requests, found[1], found[0], strict=True):
        ids = torch.tensor([[*request.context, *request.continuation]])
        with torch.no_grad():
            logits = model.run_with_hooks(ids, fwd_hooks=points)[0].log_softmax(dim=-1)
        at = logits[len(request.context) - 1 : -1]
        expected = float(at[range(len(request.continuation)), list(request.continuation)].sum())
        assert value == pytest.approx(expected, abs=1e-4)
        assert abs(value - plain) > 1e-5


def test_hooks_join_other_ablations(llama, tmp_path):
    task = load_task(write_task(tmp_path, rows=4))
    mine = interp.hooked("mirror", [("blocks.1.hook_out", mirrored)])
    run = interp.sweep(llama, [task], [mine, mine + interp.SkipLayer(2)], out=tmp_path / "run")
    found = run.responses().set_index(["ablation", "doc_id"])["loglikelihoods"]
    assert set(found.index.get_level_values(0)) == {
        "baseline",
        "hook:mirror",
        "hook:mirror+layer:2",
    }
    assert list(found["hook:mirror", 0]) != list(found["hook:mirror+layer:2", 0])


def test_bad_hooks_are_refused_before_any_work(llama, tmp_path):
    with pytest.raises(UserError, match=r"no hook point blocks\.9\.hook_out"):
        checked_edits(llama, interp.hooked("x", [("blocks.9.hook_out", mirrored)]))
    with pytest.raises(UserError, match="at least one pair"):
        interp.hooked("x", [])
    with pytest.raises(UserError, match="allowed in a name"):
        interp.hooked("a b", [("blocks.0.hook_out", mirrored)])
    asking = interp.hooked("asking", [("blocks.1.mlp.hook_out", silent_in_answer)])
    file = tmp_path / "notes.txt"
    file.write_text("w5 w6 w7 w8")
    with pytest.raises(UserError, match=r"its hooks ask for positions, and task .* scores whole"):
        interp.sweep(llama, f"text:{file}", [asking], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with (
        pytest.raises(UserError, match="asks for positions, and a forward pass does not say"),
        interp.ablate(llama, asking),
    ):
        pass


def silent_in_answer(value, hook, positions):
    return value.masked_fill(positions.answer[..., None], 0.0)


def silent_in_prompt(value, hook, positions):
    return value.masked_fill(positions.prompt[..., None], 0.0)


def silent_at_last(value, hook, positions):
    return value.masked_fill(positions.last[..., None], 0.0)


def loud_in_padding(value, hook, positions=None):
    return value.masked_fill(positions.padding[..., None], 50.0)


HOOKS = {"answer": silent_in_answer, "prompt": silent_in_prompt, "last": silent_at_last}


def test_hooks_are_told_the_positions(llama):
    """They do what scopes do, in padded batches of options and of answers; padding is no token."""
    asked = some_requests(examples=3)
    named = [interp.hooked(name, [("blocks.1.mlp.hook_out", f)]) for name, f in HOOKS.items()]
    named.append(interp.hooked("padding", [("blocks.1.mlp.hook_out", loud_in_padding)]))
    texts = [*(f"mlp:1@@{name}" for name in HOOKS), "baseline"]
    mine = [checked_edits(llama, one) for one in named]
    scoped = [checked_edits(llama, text) for text in texts]
    assert_same(score_requests(llama, asked, mine), score_requests(llama, asked, scoped))
    prompts = [
        GenerationRequest(i, tuple(random_tokens(1, n, seed=n)[0].tolist()), (), 4)
        for i, n in enumerate((9, 5, 12))
    ]
    for ours, theirs in zip(
        generate(llama, prompts, mine), generate(llama, prompts, scoped), strict=True
    ):
        assert [one.tokens for one in ours] == [one.tokens for one in theirs]


def test_answers_under_hooks_equal_whole_rows(llama, tmp_path):
    """Each token is the likeliest of `run_with_hooks` on the whole text before it, row by row."""
    task = load_task(write_task(tmp_path, kind="generate", rows=3))
    points = [("blocks.1.hook_out", mirrored)]
    mine = interp.hooked("mirror", points)
    run = interp.sweep(llama, [task], [mine, "layer:1"], out=tmp_path / "run")
    found = run.responses().set_index(["ablation", "doc_id"])["text"]
    requests = build_requests(task, range(3), interp.models.decoder(llama))
    for request in requests:
        written = []
        for _ in range(request.max_gen_toks):
            ids = torch.tensor([[*request.prompt, *written]])
            with torch.no_grad():
                logits = llama.run_with_hooks(ids, fwd_hooks=points)
            written.append(int(logits[0, -1].argmax()))
        (answers,) = generate(llama, [request], [checked_edits(llama, mine)])
        assert list(answers[0].tokens) == written[: answers[0].n_tokens]
        assert found["hook:mirror", request.doc_id] == answers[0].text
    assert any(found["hook:mirror", i] != found["baseline", i] for i in range(3))

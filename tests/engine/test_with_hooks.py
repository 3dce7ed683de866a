"""A user's own TransformerLens hooks, swept: equal to `run_with_hooks` on whole prompts."""

import pytest
import torch

import interp
from interp.ablations import Edits, checked_edits
from interp.engine import score_requests
from interp.engine.shortcuts import NONE
from interp.errors import UserError
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
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
    task = load_task(write_task(tmp_path, kind="generate"))
    mine = interp.hooked("mirror", [("blocks.1.hook_out", mirrored)])
    with pytest.raises(UserError, match="it generates, and hooks run where options"):
        interp.sweep(llama, [task], [mine], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

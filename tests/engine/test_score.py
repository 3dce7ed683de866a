"""The scoring engine against itself with every shortcut off, family by family."""

from dataclasses import fields

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from interp.ablations import Edits, checked_edits
from interp.ablations.user_hooks import hooked
from interp.engine import Shortcuts, group_examples, score_requests
from interp.engine.capabilities import capabilities
from interp.engine.shortcuts import NONE
from interp.models import decoder
from interp.tasks import OptionRequest
from tests.helpers.families import FAMILIES, tiny_bridge
from tests.helpers.scoring import KINDS, assert_same, edits_of, means_of, some_requests
from tests.helpers.thinning import sized

# every switch of the engine but the token budget, so that a new one cannot be forgotten here
SINGLE = {f.name: False for f in fields(Shortcuts) if isinstance(getattr(NONE, f.name), bool)}
UNPACKED = {"bloom"}  # its positions come from the mask alone


@pytest.mark.thinned(share=2, turn=0)
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("few_shot", [0, 9])
def test_every_shortcut_together_changes_nothing(family, few_shot):
    model = tiny_bridge(family)
    requests, edits = some_requests(few_shot=few_shot), edits_of(model, family)
    plain = score_requests(model, requests, edits, means=means_of(model), shortcuts=NONE)
    fast = score_requests(
        model, requests, edits, means=means_of(model), shortcuts=Shortcuts(token_budget=64)
    )
    assert_same(fast, plain)
    # each ablation did something, or equality would mean nothing
    for kind, scores in zip(KINDS[1:], plain[1:], strict=True):
        differ = [abs(a[0] - b[0]) for a, b in zip(scores, plain[0], strict=True)]
        assert max(differ) > 1e-3, kind


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("shortcut", sorted(SINGLE))
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "bloom"])
def test_each_shortcut_alone_changes_nothing(family, shortcut):
    model = tiny_bridge(family)
    requests, edits = some_requests(), edits_of(model, family)
    plain = score_requests(model, requests, edits, means=means_of(model), shortcuts=NONE)
    alone = Shortcuts(**(SINGLE | {"replay": True, shortcut: True}))
    assert_same(
        score_requests(model, requests, edits, means=means_of(model), shortcuts=alone), plain
    )


def test_plain_scores_equal_one_forward_pass_a_request():
    model = tiny_bridge("llama")
    requests = some_requests()
    (found,) = score_requests(model, requests, [Edits()], shortcuts=NONE)
    for request, (value, greedy) in zip(requests, found, strict=True):
        whole = torch.tensor([[*request.context, *request.continuation]])
        with torch.no_grad():
            logprobs = decoder(model).root(whole).logits[0].log_softmax(dim=-1)
        at = logprobs[len(request.context) - 1 : -1]
        wanted = torch.tensor(request.continuation)
        assert value == pytest.approx(float(at[range(len(wanted)), wanted].sum()), abs=1e-4)
        assert greedy == bool((at.argmax(dim=-1) == wanted).all())


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_exact_is_found_by_trying(family):
    model = tiny_bridge(family)
    can = capabilities(model)
    assert can.replays
    for longest in (6, 30):
        assert can.pads(longest)
        assert can.shares_prefixes(longest)
        assert can.packs(longest) == (family not in UNPACKED)
    assert can.reuses_attention == (family != "bloom")


def test_shared_tokens_are_computed_once():
    requests = some_requests(few_shot=200, examples=4)
    (group,) = group_examples(requests)
    # BOS and 200 shared tokens; a question's own; (11, 12) of two options, (7,) of a third
    assert len(group.prefix) == 201
    assert sorted(len(t.tokens) for t in group.trees) == [3 + doc + 3 for doc in range(4)]
    assert len(group_examples(some_requests(few_shot=5))[0].prefix) == 0


def test_examples_with_different_prompts_form_groups_of_their_own():
    requests = [
        OptionRequest(10 * seed + r.doc_id, r.option, r.context, r.continuation)
        for seed in (0, 1)
        for r in some_requests(few_shot=300, seed=seed)
    ]
    groups = group_examples(requests)
    assert sorted(len(g.prefix) for g in groups) == [301, 301]
    assert sorted(n for g in groups for t in g.trees for n, _, _ in t.scored) == list(range(50))


@st.composite
def request_sets(draw):
    tokens = st.lists(st.integers(4, 12), min_size=0, max_size=9)
    stems = draw(st.lists(tokens, min_size=1, max_size=3))
    made = []
    for doc in range(draw(st.integers(1, 6))):
        stem, own = draw(st.sampled_from(stems)), draw(tokens)
        for option in range(draw(st.integers(1, 4))):
            end = draw(st.lists(st.integers(4, 9), min_size=1, max_size=4))
            made.append((doc, option, (1, *stem, *own), tuple(end)))
    return draw(st.permutations(made))


@pytest.mark.slow
@settings(
    max_examples=sized(thinned=8, whole=12), deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(
    request_sets(),
    st.sampled_from(["llama", "mistral", "opt"]),
    st.integers(8, 200),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
)
def test_budget_order_and_sharing_never_change_a_result(drawn, family, budget, kinds):
    requests = [OptionRequest(*one) for one in drawn]
    model = MODELS.setdefault(family, tiny_bridge(family))
    edits = edits_of(model, family, kinds)
    plain = score_requests(model, requests, edits, means=means_of(model), shortcuts=NONE)
    fast = Shortcuts(token_budget=budget)
    assert_same(
        score_requests(model, requests, edits, means=means_of(model), shortcuts=fast), plain
    )
    alone = [
        score_requests(model, requests, [edit], means=means_of(model), shortcuts=fast)[0]
        for edit in edits
    ]
    assert_same(alone, plain)
    assert_same_choices(requests, alone, plain)


def assert_same_choices(requests, found, expected):
    """The likeliest option of each example is the same, but for ties within the tolerance."""
    for ours, theirs in zip(found, expected, strict=True):
        by_example: dict = {}
        for request, (value, _), (wanted, _) in zip(requests, ours, theirs, strict=True):
            by_example.setdefault(request.doc_id, []).append((wanted, value))
        for options in by_example.values():
            best = sorted((wanted for wanted, _ in options), reverse=True)
            if len(best) > 1 and best[0] - best[1] > 2e-4:
                wanted = max(range(len(options)), key=lambda i: options[i][0])
                assert wanted == max(range(len(options)), key=lambda i: options[i][1])


MODELS: dict = {}


@pytest.mark.slow
def test_batches_halve_when_memory_runs_out(monkeypatch, caplog):
    import interp.engine.scoring.batch_state as entering

    model = tiny_bridge("llama")
    requests, edits, told = some_requests(), edits_of(model, "llama"), []
    expected = score_requests(model, requests, edits, means=means_of(model))
    block = entering.run_block

    def small(parts, layer, resid, *args, **kwargs):
        if resid.shape[0] * resid.shape[1] > 60:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return block(parts, layer, resid, *args, **kwargs)

    monkeypatch.setattr(entering, "run_block", small)
    monkeypatch.setattr("interp.engine.scoring.packing.PACKED_ROW", 16)
    found = score_requests(
        model, requests, edits, means=means_of(model),
        shortcuts=Shortcuts(token_budget=4096, prefixes=False), done=told.append,
    )  # fmt: skip
    assert_same(found, expected)
    assert sum(told) == 5 * len(KINDS)
    assert "out of memory; going on with batches" in caplog.text


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_progress_counts_examples_however_they_are_laid_out(family):
    model, told = tiny_bridge(family), []
    edits = edits_of(model, family, ["baseline", "layer:1", "attn:2"])
    edits.append(checked_edits(model, hooked("same", [("blocks.1.hook_out", lambda x, hook: x)])))
    score_requests(model, some_requests(examples=5), edits, done=told.append)
    assert sum(told) == 5 * len(edits)

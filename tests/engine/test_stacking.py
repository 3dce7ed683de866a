"""Ablations of one layer, stacked: the same scores as alone and as without any shortcut."""

from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

import interp.engine.scoring.batch_state as entering
from interp import models
from interp.ablations import checked_edits
from interp.ablations.user_hooks import hooked
from interp.engine import EVERY, Group, Shortcuts, group_examples, score_requests
from interp.engine.memory import most_caches
from interp.engine.prefix import expand, read_only_cache, record_prefix
from interp.engine.scoring.packing import packed_batches
from interp.engine.scoring.stacking import MOST_ON_CPU, apart, even_chunks, stacked_batch
from interp.engine.scoring.targets import ScoredPositions
from interp.engine.shortcuts import NONE
from tests.helpers.families import FAMILIES, N_LAYERS, random_tokens, tiny_bridge
from tests.helpers.scoring import assert_same, edits_of, means_of, some_requests
from tests.helpers.thinning import sized

HEADS = [f"head:0.{i}" for i in range(4)]
UNGROUPED = {"gpt2", "gpt_neox", "opt", "bloom"}  # every query head has a KV head of its own
ALONE = Shortcuts(stacked=False)
MODELS: dict = {}


def kinds_of(family):
    """Ablations of one layer that stack, and between them some that cannot."""
    groups = [f"kvgroup:1.{i}" for i in range(4 if family in UNGROUPED else 2)]
    return [
        *HEADS, "layer:0", "layers:0-1", "swap:0", "attn:0", "mlp:0", "head:0.1+mlp:2",
        "baseline", "head:0.2@mean", "swap-mlp:0", "swap-attn:0",
        *groups, "swaps:1-2", "layer:1", "attn:1", "mlp:1", "head:2.0", "head:2.3", "layer:2",
        "swap:2",
    ]  # fmt: skip


def made(family, kinds):
    """The model, its ablations and mean z; and a user's hook behind the ablations."""
    if family not in MODELS:
        MODELS[family] = tiny_bridge(family)
    model = MODELS[family]
    roll = hooked("roll", [("blocks.1.attn.hook_z", lambda z, hook: z.roll(1, dims=2))])
    return model, [*edits_of(model, family, kinds), checked_edits(model, roll)]


@contextmanager
def tokens_of_mlps(model):
    """Counts calls, and keeps their numbers of tokens, of each layer's MLP."""
    seen: dict[int, list[int]] = {layer: [] for layer in range(N_LAYERS)}
    with ExitStack() as stack:
        for layer, mlp in enumerate(models.decoder(model).mlps):
            hook = mlp.register_forward_pre_hook(
                lambda _m, args, at=layer: seen[at].append(args[0].shape[:-1].numel())
            )
            stack.callback(hook.remove)
        yield seen


@pytest.mark.thinned(share=2, turn=1)
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("few_shot", [0, 9])
def test_stacked_scores_are_those_of_each_ablation_alone(family, few_shot, monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1 if few_shot else 1000)
    model, edits = made(family, kinds_of(family))
    examples = sized(thinned=2, whole=3)
    requests, means = some_requests(few_shot=few_shot, examples=examples), means_of(model)
    assert any(g.prefix for g in group_examples(requests)) == bool(few_shot)
    plain = score_requests(model, requests, edits, means=means, shortcuts=NONE)
    stacked = score_requests(model, requests, edits, means=means)
    alone = score_requests(model, requests, edits, means=means, shortcuts=ALONE)
    assert_same(stacked, plain)
    assert_same(stacked, alone)
    # each ablation does something else, or equality would mean little
    values = {tuple(round(value, 3) for value, _ in scores) for scores in plain}
    assert len(values) == len(edits)


@pytest.mark.slow
@settings(max_examples=sized(thinned=8, whole=15), deadline=None, derandomize=True)
@given(
    st.sampled_from(["llama", "mistral", "opt", "mixtral"]),
    st.integers(4, 300),
    st.lists(st.sampled_from(kinds_of("llama")), min_size=1, max_size=8, unique=True),
    st.sampled_from([0, 5, 14]),
    st.integers(1, 6),
    st.booleans(),
)
def test_budget_and_company_never_change_a_result(
    family, budget, kinds, few_shot, examples, options
):
    model, edits = made(family, kinds)
    requests, means = some_requests(few_shot=few_shot, examples=examples), means_of(model)
    plain = score_requests(model, requests, edits, means=means, shortcuts=NONE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1)
        patch.setattr("interp.engine.scoring.packing.PACKED_ROW", 16)
        some = Shortcuts(token_budget=budget, options=options)
        assert_same(score_requests(model, requests, edits, means=means, shortcuts=some), plain)


@pytest.mark.parametrize("few_shot", [0, 9])
def test_heads_of_a_layer_go_through_the_rest_together(few_shot, monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1 if few_shot else 1000)
    model = tiny_bridge("llama")
    requests = some_requests(few_shot=few_shot)
    edits = [checked_edits(model, kind) for kind in HEADS]
    score_requests(model, requests, edits)  # what is tried once, is tried here
    prefixes = 1 if few_shot else 0
    with tokens_of_mlps(model) as seen:
        score_requests(model, requests, edits, shortcuts=Shortcuts(last_block_positions=False))
    stacked = {layer: len(calls) for layer, calls in seen.items()}
    rows = max(seen[1])
    with tokens_of_mlps(model) as seen:
        score_requests(
            model, requests, edits, shortcuts=Shortcuts(last_block_positions=False, stacked=False)
        )
    alone = {layer: len(calls) for layer, calls in seen.items()}
    # the baseline's own pass of the prefix, and of layer 0 (its z is used again)
    assert stacked == {0: 1 + 4 + 5 * prefixes, 1: 1 + 2 * prefixes, 2: 1 + 2 * prefixes}
    assert alone == {0: 1 + 4 + 5 * prefixes, 1: 4 + 5 * prefixes, 2: 4 + 5 * prefixes}
    assert rows == 4 * max(seen[1])


@pytest.mark.slow
@pytest.mark.parametrize("budget", [40, 50, 80, 200, 4096])
def test_no_stack_is_larger_than_the_budget(budget, monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1)
    monkeypatch.setattr("interp.engine.scoring.packing.PACKED_ROW", 16)
    model, requests = tiny_bridge("llama"), some_requests(few_shot=9)
    edits = [checked_edits(model, kind) for kind in HEADS]
    with tokens_of_mlps(model) as seen:
        score_requests(model, requests, edits, shortcuts=Shortcuts(token_budget=budget))
    assert max(seen[1]) <= budget
    if budget == 4096:
        assert max(seen[1]) > 100


def test_full_batches_are_not_stacked():
    model, requests = tiny_bridge("llama"), some_requests(few_shot=0)
    edits = [checked_edits(model, kind) for kind in HEADS]
    (group,) = group_examples(requests)
    (batch,) = packed_batches(group.trees, 4096)
    score_requests(model, requests, edits)
    calls = []
    for stacked in (True, False):
        # one token short of two ablations
        some = Shortcuts(
            token_budget=2 * batch.ids.size - 1, stacked=stacked, last_block_positions=False
        )
        with tokens_of_mlps(model) as seen:
            score_requests(model, requests, edits, shortcuts=some)
        calls.append(seen)
    assert calls[0] == calls[1]
    assert calls[0][1] == [batch.ids.size] * 4


def test_batches_that_fill_a_cpu_are_not_stacked_whatever_the_budget():
    model, requests = tiny_bridge("llama"), some_requests(few_shot=0, examples=24)
    edits = [checked_edits(model, kind) for kind in HEADS]
    score_requests(model, requests, edits)
    with tokens_of_mlps(model) as seen:
        score_requests(model, requests, edits, shortcuts=Shortcuts(token_budget=65536))
    assert len(seen[1]) >= 4
    assert max(seen[1]) <= MOST_ON_CPU


def test_ablations_of_several_layers_run_alone():
    model, requests = tiny_bridge("llama"), some_requests(few_shot=0)
    edits = [checked_edits(model, f"{kind}+mlp:1") for kind in HEADS]
    score_requests(model, requests, edits)
    with tokens_of_mlps(model) as seen:
        score_requests(model, requests, edits)
    assert len(seen[2]) == 4


@pytest.mark.slow
def test_a_stack_that_does_not_fit_is_given_up(monkeypatch, caplog):
    model, means = tiny_bridge("llama"), None
    requests = some_requests(few_shot=0)
    edits = [checked_edits(model, kind) for kind in [*HEADS, "layer:1"]]
    expected = score_requests(model, requests, edits, means=means, shortcuts=NONE)
    (group,) = group_examples(requests)
    (batch,) = packed_batches(group.trees, 4096)
    block, rows = entering.run_block, []

    def small(parts, layer, resid, *args, **kwargs):
        rows.append(resid.shape[0])
        if resid.shape[:2].numel() > batch.ids.size:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return block(parts, layer, resid, *args, **kwargs)

    monkeypatch.setattr(entering, "run_block", small)
    found = score_requests(
        model, requests, edits, means=means, shortcuts=Shortcuts(token_budget=4096)
    )
    assert_same(found, expected)
    assert "out of memory" in caplog.text
    # once stacked, and then never again, though half the budget would hold them
    assert Counter(rows)[4] == 1
    assert set(rows) == {1, 4}


@pytest.mark.slow
def test_prefixes_are_kept_for_as_many_ablations_as_memory_holds(monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1)
    model, requests = tiny_bridge("llama"), some_requests(few_shot=9)
    edits = [checked_edits(model, kind) for kind in HEADS]
    decoder = models.decoder(model)
    # keys and values, 10 tokens, 3 layers, 2 heads of width 8, four bytes a number
    one = 2 * 10 * 3 * 2 * 8 * 4
    score_requests(model, requests, edits)
    counts: dict[int, int] = {}
    for room in (1, 2, 100):
        monkeypatch.setattr("interp.engine.memory._free", lambda _parts, room=room: 4 * one * room)
        assert most_caches(decoder, 10, 3) == room
        with tokens_of_mlps(model) as seen:
            found = score_requests(model, requests, edits, shortcuts=Shortcuts(token_budget=4096))
        assert_same(found, score_requests(model, requests, edits, shortcuts=NONE))
        counts[room] = len(seen[1])
    # each lot runs its prefix and its batch; the baseline's prefix comes to it
    assert counts == {1: 4 + 4 + 1, 2: 2 + 2 + 1, 100: 1 + 1 + 1}


@pytest.mark.slow
def test_a_prefix_is_narrowed_only_where_that_is_wanted(monkeypatch):
    monkeypatch.setattr("interp.engine.scoring.packing.PREFIX_COST", 1)
    model, requests = tiny_bridge("llama"), some_requests(few_shot=9, examples=4)
    edits = [checked_edits(model, kind) for kind in ("head:0.1", "head:0.2", "layers:0-1")]
    expected = score_requests(model, requests, edits, shortcuts=NONE)
    score_requests(model, requests, edits)
    seen = []
    # in front of the projection, behind the narrowing
    handle = (
        models.decoder(model)
        .mlps[N_LAYERS - 1]
        .down_proj.register_forward_pre_hook(
            lambda _m, args: seen.append(args[0].shape[:-1].numel())
        )
    )
    try:
        for stacked in (True, False):
            for places in (True, False):
                seen.clear()
                some = Shortcuts(last_block_positions=places, stacked=stacked)
                assert_same(score_requests(model, requests, edits, shortcuts=some), expected)
                # BOS and nine tokens: of the baseline, of each ablation or of two in a stack
                alone, pairs = (1, 1) if stacked else (3, 0)
                assert seen.count(10) == (1 if places else 1 + alone)
                assert seen.count(20) == (0 if places else pairs)
                assert seen.count(1) == (alone + pairs if places else 0)
    finally:
        handle.remove()


def test_rows_stand_behind_the_prefix_of_their_own_ablation():
    decoder = models.decoder(tiny_bridge("llama"))
    tokens = random_tokens(2, 5).tolist()
    caches = [record_prefix(decoder, row).cache for row in tokens]
    new = torch.randn(4, 2, 3, 8)
    keys, values = read_only_cache(caches).update(new, 2 * new, 1)
    for i, cache in enumerate(caches):
        mine = expand(cache, 2)
        wanted, wanted_values = mine.update(new[2 * i : 2 * i + 2], 2 * new[2 * i : 2 * i + 2], 1)
        assert torch.equal(keys[2 * i : 2 * i + 2], wanted)
        assert torch.equal(values[2 * i : 2 * i + 2], wanted_values)
    assert read_only_cache(caches).get_seq_length(1) == 5
    assert [cache.get_seq_length(1) for cache in caches] == [5, 5]


@given(st.integers(1, 60), st.integers(1, 70))
def test_chunks_are_even_and_few(n, most):
    chunks = even_chunks(list(range(n)), most)
    assert [item for chunk in chunks for item in chunk] == list(range(n))
    assert len(chunks) == -(-n // most)
    sizes = {len(chunk) for chunk in chunks}
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


def test_copies_of_a_batch_keep_their_requests_apart():
    group = group_examples(some_requests(few_shot=0))[0]
    batch = packed_batches(Group((), group.trees).trees, 4096)[0]
    whole, device = stacked_batch(batch, 3), torch.device("cpu")
    rows, one, three = (
        len(batch.ids),
        ScoredPositions.of(batch, device),
        ScoredPositions.of(whole, device),
    )
    assert whole.ids.shape == (3 * rows, batch.ids.shape[1])
    assert three.rows.tolist() == [r + c * rows for c in range(3) for r in one.rows.tolist()]
    assert three.columns.tolist() == 3 * one.columns.tolist()
    scores = {number: (float(number), True) for number in three.request}
    found = apart(scores, batch, 3)
    assert [set(some) for some in found] == [set(one.request)] * 3
    assert len({value for some in found for value, _ in some.values()}) == 3 * len(found[0])


def test_the_switch_is_off_in_none_and_on_by_default():
    assert EVERY.stacked
    assert not NONE.stacked
    assert replace(EVERY, stacked=False) == ALONE

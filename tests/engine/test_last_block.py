"""The last block where it is read: the same there, and not computed elsewhere."""

import pytest
import torch

from interp import models
from interp.ablations import Edits, checked_edits, edited
from interp.engine import EVERY, record, run_block, score_requests
from interp.engine.capabilities import capabilities
from interp.engine.last_block import compute_at_positions
from interp.engine.prefix import prefix_cache, record_prefix
from tests.helpers.families import BY_HALF, N_LAYERS, random_tokens, tiny_bridge
from tests.helpers.scoring import some_requests

WHOLE = {"bloom", "opt"}  # no positions of their own in what their MLPs are given
LAST = N_LAYERS - 1


@pytest.mark.parametrize("family", BY_HALF)
def test_which_families_are_narrowed(family):
    model = tiny_bridge(family)
    assert capabilities(model).narrows_last_block == (family not in WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["baseline", f"head:{LAST}.1", f"attn:{LAST}", f"mlp:{LAST}"])
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_neox", "mixtral"])
def test_the_places_are_as_in_the_whole_block(family, kind):
    model = tiny_bridge(family)
    decoder = models.decoder(model)
    whole = record(decoder, random_tokens(3, 7), use_cache=False)
    rows, columns = torch.tensor([0, 2, 2]), torch.tensor([6, 0, 5])
    with edited(model, checked_edits(model, kind)):
        expected = run_block(decoder, LAST, whole.residuals[LAST], whole)
        with compute_at_positions(decoder, LAST, rows, columns):
            found = run_block(decoder, LAST, whole.residuals[LAST], whole)
    torch.testing.assert_close(found[rows, columns], expected[rows, columns], atol=1e-5, rtol=1e-5)
    if kind == "baseline":
        assert not torch.allclose(found, expected, atol=1e-3)
    # and the modules are as they were
    assert "forward" not in decoder.mlps[LAST].__dict__


def test_the_last_mlp_runs_on_scored_positions_only():
    model = tiny_bridge("llama")
    decoder, requests = models.decoder(model), some_requests(few_shot=0)
    score_requests(model, requests, [Edits()])  # what is tried once, is tried here
    seen: list[int] = []
    handle = decoder.mlps[LAST].down_proj.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0].shape[:-1].numel())
    )
    try:
        score_requests(model, requests, [Edits()], shortcuts=EVERY)
        fewest = sum(seen)
        seen.clear()
        wide = type(EVERY)(last_block_positions=False)
        score_requests(model, requests, [Edits()], shortcuts=wide)
    finally:
        handle.remove()
    # per question: its last token, (11,), (11, 12) and (7,) of the options that go on
    assert fewest == 5 * 4
    assert sum(seen) > 2 * fewest


def test_a_prefix_is_narrowed_and_its_keys_and_values_are_not():
    model = tiny_bridge("llama")
    decoder, tokens = models.decoder(model), random_tokens(1, 9)[0].tolist()
    prefix = record_prefix(decoder, tokens)
    whole = record_prefix(decoder, tokens)
    with edited(model, checked_edits(model, "layer:0")):
        cache = prefix_cache(decoder, prefix, 0)
        expected = record_prefix(decoder, tokens).cache
    for mine, theirs in zip(cache.layers[1:], expected.layers[1:], strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mine.values, theirs.values, atol=1e-5, rtol=1e-5)
    assert torch.equal(whole.cache.layers[LAST].keys, prefix.cache.layers[LAST].keys)

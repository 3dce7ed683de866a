"""Shared tokens as keys and values: the logits of the whole prompt, for every family."""

import pytest
import torch

from interp import models
from interp.ablations import checked_edits, edited
from interp.engine.prefix import expand, prefix_cache, record_prefix
from tests.helpers.families import FAMILIES, deleted, random_tokens, tiny_bridge

LENGTHS = (1, 5, 12)


@pytest.mark.thinned
@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_suffixes_behind_a_prefix_equal_whole_prompts(family, layer):
    model = tiny_bridge(family)
    decoder = models.decoder(model)
    edits = checked_edits(model, f"layer:{layer}")
    for n in LENGTHS:
        whole = random_tokens(3, n + 7)
        whole[:, :n] = whole[:1, :n]
        with torch.no_grad():
            expected = deleted(family, [layer])(whole).logits[:, n:]
            prefix = record_prefix(decoder, whole[0, :n].tolist())
            with edited(model, edits):
                cache = prefix_cache(decoder, prefix, layer)
                found = decoder.root(
                    whole[:, n:], past_key_values=expand(cache, 3), use_cache=True
                ).logits
        assert (found - expected).abs().max() < 1e-4
        assert len(prefix) == n
        assert cache.get_seq_length() == n, "growing the expanded cache left this one alone"

"""Effects of a skipped layer on later contributions, against plain hooks on a plain model."""

import numpy as np
import pytest
import torch

from interp.errors import UserError
from interp.models import decoder
from interp.similarity import downstream_effects
from tests.helpers.families import tiny_bridge, tiny_model

TEXTS = ["w5 w6 w7 w8 w9 w10 w11", "w20 w9 w5 w31 w44"]


def contributions(plain, tokens, skipped=None, positions=slice(None)):
    """What each block of a plain model adds, with one block skipped at some positions."""
    found, blocks = [], plain.model.layers

    def hook(number):
        def look(_module, args, kwargs, out):
            x = args[0] if args else kwargs["hidden_states"]
            y = (out[0] if isinstance(out, tuple) else out).clone()
            if number == skipped:
                y[:, positions] = x[:, positions]
            found.append((y - x)[0])
            return (y, *out[1:]) if isinstance(out, tuple) else y

        return look

    handles = [b.register_forward_hook(hook(i), with_kwargs=True) for i, b in enumerate(blocks)]
    with torch.no_grad():
        plain(torch.tensor([tokens]), use_cache=False)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("later", [False, True])
def test_effects_are_those_that_plain_hooks_see(later):
    plain, model = tiny_model("llama"), tiny_bridge("llama")
    found = downstream_effects(model, TEXTS, later_positions=later)
    each = []
    for text in TEXTS:
        tokens = decoder(model).tokenizer.encode(text)
        middle = len(tokens) // 2
        acts, read = (slice(0, middle), slice(middle, None)) if later else (slice(None),) * 2
        whole = contributions(plain, tokens)
        rows = []
        for row in found.itertuples():
            other = contributions(plain, tokens, row.skipped, acts)
            change = (other[row.layer] - whole[row.layer]).norm(dim=-1)
            rows.append(float((change / whole[row.layer].norm(dim=-1))[read].mean()))
        each.append(rows)
    assert found[["skipped", "layer"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_allclose(found["value"], np.mean(each, axis=0), atol=1e-4)
    half = 12.7062 * np.std(each, axis=0, ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(found["high"] - found["value"], half, atol=1e-3)
    assert (found["value"] > 1e-3).all()
    # Bonferroni over three pairs of layers: Student's t of 1 - 0.05 / 6, one degree of freedom
    together = 38.1885 * np.std(each, axis=0, ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(found["high_all"] - found["value"], together, atol=3e-3)


def test_one_text_has_no_interval_and_none_is_refused(llama):
    assert downstream_effects(llama, TEXTS[:1])["low"].isna().all()
    with pytest.raises(UserError, match="at least one"):
        downstream_effects(llama, [])
    with pytest.raises(UserError, match="text 0: 2 tokens"):
        downstream_effects(llama, ["w5"])

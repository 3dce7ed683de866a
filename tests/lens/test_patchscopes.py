"""Patchscopes against TransformerLens' cache and hooks, and a planted fact."""

import pytest
import torch

from interp import models
from interp.errors import UserError
from interp.lens import patchscope
from interp.tasks import encode
from tests.helpers.families import FAMILIES, tiny_bridge
from tests.helpers.planted import planted_bridge

SOURCE, TARGET = "w5 w20 w7", "w9 w9 w8 w3 w11"
QUICK = ("llama",)


@pytest.mark.thinned(share=2)
@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=() if f in QUICK else pytest.mark.slow) for f in FAMILIES]
)
def test_every_layer_equals_transformerlens(family):
    model = tiny_bridge(family)
    decoder = models.decoder(model)
    source, target = (torch.tensor([encode(text, decoder)]) for text in (SOURCE, TARGET))
    with torch.no_grad():
        _, cache = model.run_with_cache(source)
    token = encode(TARGET + " w30", decoder)[target.shape[1]]
    for into in (None, 1):
        table = patchscope(
            model, SOURCE, TARGET, answers=[" w30"], position=-2, at=2, into=into
        ).set_index("layer")
        assert list(table.index) == [-1, 0, 1, 2]
        for layer in range(3):
            state = cache[f"blocks.{layer}.hook_in"].reshape(source.shape[1], -1)[-2]

            def put(value, hook, state=state):
                kept = value.clone()
                kept[0, 2] = state
                return kept

            place = layer if into is None else into
            with torch.no_grad():
                logits = model.run_with_hooks(target, fwd_hooks=[(f"blocks.{place}.hook_in", put)])[
                    0, -1
                ]
            logprobs = logits.log_softmax(dim=-1)
            assert table.loc[layer, "logprob: w30"] == pytest.approx(
                float(logprobs[token]), abs=1e-4
            )
            assert table.loc[layer, "into"] == place
            top = int(table.loc[layer, "top_id"])
            assert float(logprobs[top]) == pytest.approx(float(logprobs.max()), abs=1e-4)


def test_a_planted_fact_is_read_once_its_layer_has_run():
    """The fact of w12 is w32, written by the MLP of layer 2."""
    model = planted_bridge(2)
    # in front of the last layer, behind which nothing reads the subject again
    table = patchscope(model, "w50 w12", "w50 w60", into=4).set_index("layer")
    assert "w32" not in table.loc[[0, 1, 2], "top_token"].tolist()
    assert table.loc[[3, 4], "top_token"].tolist() == ["w32", "w32"]


def test_what_is_not_there_is_refused():
    model = tiny_bridge("llama")
    for options, said in (
        ({"position": 9}, "position 9"), ({"layers": [3]}, "layer 3"), ({"into": 7}, "layer 7"),
        ({"answers": [""]}, "no token of its own"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            patchscope(model, SOURCE, TARGET, **options)

"""A model whose numbers are not finite is named by similarity and tracing, and never ranked."""

import pytest

import interp
from interp.errors import UserError
from interp.models import decoder


@pytest.fixture(scope="module")
def broken():
    """The base organism with one weight of layer 2 that is not a number."""
    model = interp.load_model("organism:base")
    root = decoder(model).root
    name = next(n for n, _ in root.named_parameters() if ".2.mlp.down_proj.weight" in n)
    root.get_parameter(name).data[0, 0] = float("nan")
    return model


def test_similarity_names_the_example_and_the_depth(broken):
    with pytest.raises(UserError, match="example 0: the residual stream is not finite at depth 3"):
        interp.layer_similarity(broken, ["one text"] * 4)


def test_a_trace_names_the_example(broken):
    with pytest.raises(UserError, match=r"example \d+: logits of organism:base are not finite"):
        interp.retrieval_heads(broken, "world-kv:generate", limit=2)

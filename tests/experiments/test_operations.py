"""Operations by arithmetic: the sums, by hand and as they were before they had one place."""

import pytest

from experiments.benchmarks.arithmetic import generation_operations, remaining_operations
from experiments.operations import LayerShape, attention, llama_size, products
from interp.ablations import Edits, checked_edits
from interp.engine import Answer
from interp.tasks import GenerationRequest, OptionRequest
from tests.helpers.families import tiny_bridge

TEXTS = ("layer:1", "attn:0", "mlp:1", "head:1.0@zero")


def test_the_sums_are_those_that_they_were():
    model = tiny_bridge("llama")
    edits = [Edits(), *(checked_edits(model, text) for text in TEXTS)]
    options = [
        OptionRequest(i, j, (1, 5, 6, *range(7, 8 + i)), (20 + j,) * (1 + j))
        for i in range(3)
        for j in range(2)
    ]
    assert remaining_operations(model, options, edits) == 2403712.0
    prompts = [GenerationRequest(i, (1, 5, *range(7, 9 + i)), (), 4) for i in range(2)]
    answers = [[Answer("", 2 + i, True) for i in range(2)] for _ in range(2)]
    assert generation_operations(model, prompts, edits[:2], answers) == 847488.0
    size = llama_size(
        layers=36, heads=32, kv_heads=8, d_head=128, d_model=4096, d_mlp=12288, vocab=151936
    )
    assert size.block_parameters == 6945767424
    assert size.operations(95, 720) == 1362701352960.0


def test_one_layer_by_hand():
    shape = LayerShape(d_model=4, d_query=6, d_key=2, d_mlp=5)
    # queries, keys and values; then the output projection and the MLP's three matrices
    assert shape.before_attention == 4 * 6 + 4 * 2 + 4 * 2
    assert shape.after_attention == 6 * 4 + 3 * 4 * 5
    assert products(7, shape.numbers) == 2 * 7 * 124
    # three tokens that see 1, 2 and 3 keys: a score and a value of width 6 for each pair
    assert attention(6, 1 + 2 + 3) == pytest.approx(sum(2 * 6 + 2 * 6 for _ in range(6)))

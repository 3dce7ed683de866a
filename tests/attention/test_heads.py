"""Top, random and kept heads."""

from collections import Counter
from math import comb, prod

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from interp.ablations import parse
from interp.attention import top_heads
from interp.attention.heads import all_but_top_heads, random_heads
from interp.errors import UserError

scores_of = arrays(float, (5, 6), elements=st.floats(0, 1))


@given(scores_of, st.integers(1, 30))
def test_top_heads_are_the_highest(scores, k):
    top = top_heads(scores, k)
    assert len(set(top)) == k
    rest = [scores[i] for i in np.ndindex(scores.shape) if i not in top]
    assert min(scores[i] for i in top) >= max(rest, default=0)


@given(scores_of, st.integers(1, 12), st.integers(0, 9))
def test_random_heads_match_the_layers_and_miss_the_top(scores, k, seed):
    top = top_heads(scores, k)
    inside = Counter(layer for layer, _ in top)
    others = {layer: scores.shape[1] - count for layer, count in inside.items()}
    sets = prod(comb(others[layer], count) for layer, count in inside.items())
    if any(others[layer] < count for layer, count in inside.items()) or sets < 3:
        with pytest.raises(UserError, match=r"matched by layer|others; take fewer"):
            random_heads(scores, k, draws=3, seed=seed)
        return
    drawn = random_heads(scores, k, draws=3, seed=seed)
    assert drawn == random_heads(scores, k, draws=3, seed=seed)
    assert len({tuple(sorted(one)) for one in drawn}) == 3
    for one in drawn:
        assert not set(one) & set(top)
        assert sorted(layer for layer, _ in one) == sorted(layer for layer, _ in top)


def test_a_layer_with_too_few_others_is_an_error_or_spills_to_the_nearest():
    scores = np.zeros((4, 3))
    scores[2] = [0.9, 0.8, 0.1]
    with pytest.raises(UserError, match="2 heads: layer 2 holds 2 of the top ones and only 1 oth"):
        random_heads(scores, 2, draws=1, seed=0)
    drawn = random_heads(scores, 2, draws=6, seed=0, nearest=True)
    assert len({tuple(sorted(one)) for one in drawn}) == 6
    for one in drawn:
        assert (2, 2) in one
        assert {layer for layer, _ in one} <= {1, 2, 3}
        assert len(one) == 2


def test_too_many_draws_are_refused_with_their_number():
    scores = np.zeros((2, 3))
    scores[0, 0] = 1
    with pytest.raises(UserError, match="matched by layer there are only 2 sets"):
        random_heads(scores, 1, draws=3, seed=0)
    with pytest.raises(UserError, match="4 heads: only 2 others are left"):
        random_heads(scores, 4, draws=1, seed=0)
    with pytest.raises(UserError, match="7 heads: the model has 1-6"):
        top_heads(scores, 7)


def test_all_but_the_top_of_the_upper_layers():
    scores = np.arange(12.0).reshape(4, 3)
    assert all_but_top_heads(scores, 2) == [(2, 0), (2, 1), (2, 2), (3, 0)]
    assert all_but_top_heads(scores, 1, first_layer=3) == [(3, 0), (3, 1)]
    assert len(all_but_top_heads(scores, 0, first_layer=0)) == 12
    with pytest.raises(UserError, match="keep 6 heads: layers 2-3 have 6; allowed are 0-5"):
        all_but_top_heads(scores, 6)


def test_ablations_of_heads_have_text_forms():
    from interp.attention.heads import _ablation

    assert _ablation([(3, 1)], "zero").text == "head:3.1"
    both = _ablation([(3, 1), (0, 2)], "resample")
    assert both.text == "head:0.2@resample+head:3.1@resample"
    assert parse(both.text) == both

"""The half that chooses an order shares no example with the half that is scored."""

import pandas as pd
from hypothesis import given, strategies as st

from experiments.headline import compared_sentences, halves, sentences


@given(st.sets(st.integers(0, 10_000), min_size=2, max_size=60), st.integers(0, 5))
def test_the_halves_share_nothing_and_lose_nothing(rows, seed):
    first, second = halves(pd.Series([*rows, *rows]), seed=seed)
    assert not first & second
    assert first | second == rows
    assert len(second) - len(first) in (0, 1)


def test_a_score_at_guessing_is_not_testable():
    row = {"model": "m", "order": "block influence", "metric": "acc", "margin": 10.0, "n": 100}
    counts = pd.DataFrame(
        [
            row | {"task": "world-facts:default", "baseline": 27.0, "floor": 25.0}
            | {"kept": 7, "lost_from": float("nan"), "n_steps": 7},
            row | {"task": "world-facts:generate", "baseline": 99.0, "floor": 0.0}
            | {"kept": 1, "lost_from": 4.0, "n_steps": 7},
        ]
    )  # fmt: skip
    (sentence,) = sentences(counts)
    assert "option letters not testable (whole model 27%, guessing 25%)" in sentence
    assert "generated answers 1 of 7 layers shown to be spared, shown lost from 4 on" in sentence


def test_a_difference_between_protocols_says_which_keeps_more_or_that_none_is_shown_to():
    row = {"model": "m", "benchmark": "world-facts", "order": "block influence", "n": 100}
    row |= {"other": "generate", "paired": True}
    rows = [
        row | {"protocol": "continuation", "difference": 0.2, "low": 0.1, "high": 0.3},
        row | {"protocol": "default", "difference": 0.1, "low": -0.1, "high": 0.3},
        row | {"protocol": "default", "difference": float("nan"), "low": 0.0, "high": 0.0},
    ]
    more, unclear, none = compared_sentences(pd.DataFrame(rows))
    assert "option texts keep more of what can be lost than generated answers" in more
    assert "+0.20 [0.10, 0.30]" in more
    assert "the same examples" in more
    assert "not shown to differ, +0.10 [-0.10, 0.30]" in unclear
    assert none.endswith("not testable.")

"""Drafts from text already seen: only while they pay, and what followed the same words last."""

from hypothesis import given, strategies as st

from interp.engine.generation.drafting import LONGEST, SHORTEST, SeenText, draft_length


@given(rows=st.integers(1, 200), latency_knee=st.integers(1, 64))
def test_drafts_that_are_always_wrong_are_not_made(rows, latency_knee):
    assert draft_length(rows, 0.0, latency_knee) == 0


@given(rows=st.integers(1, 200), latency_knee=st.integers(1, 64), accepted=st.floats(0, 1))
def test_no_other_length_adds_clearly_more_tokens_a_cost(rows, latency_knee, accepted):
    def value(length):
        # token i counts where all before it were right, and a pass over few tokens costs one
        tokens = sum(accepted**i for i in range(length + 1))
        return tokens / max(1.0, rows * (1 + length) / latency_knee)

    chosen = value(draft_length(rows, accepted, latency_knee))
    assert all(value(length) <= 1.03 * chosen for length in (0, 1, 2, 3, 4, 6, 8, 12, 16))


def test_a_full_batch_drafts_less_than_a_few_rows():
    assert draft_length(128, 0.5, 16) == 0 < draft_length(2, 0.5, 16)


@given(
    prompt=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    written=st.lists(st.integers(0, 3), max_size=8),
    length=st.integers(1, 6),
)
def test_a_draft_followed_the_longest_run_of_last_tokens(prompt, written, length):
    found = SeenText(prompt).draft(written, length)
    expected = []
    for size in range(min(LONGEST, len(written)), SHORTEST - 1, -1):
        ends = [
            end for end in range(size, len(prompt)) if prompt[end - size : end] == written[-size:]
        ]
        if ends:
            expected = prompt[ends[-1] : ends[-1] + length]
            break
    assert found == expected

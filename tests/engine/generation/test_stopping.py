"""Where answers end, token by token, against lm-evaluation-harness' own criterion and cut."""

import functools
import tempfile

import pytest
import torch
from hypothesis import event, given, settings, strategies as st
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.models.utils_hf import stop_sequences_criteria
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from interp.engine.generation.stopping import Stopping

PIECES = ["a", "b", "c", "ab", "bc", "\n", "\n\n", " ", " a", "Q", "Q:", ":", "\n\nQ", "é", "#"]


@functools.cache
def tokenizer():
    """A lossless byte-level tokenizer with some longer pieces, so that stops are split freely."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    vocab = {"<s>": 0, "</s>": 1} | {c: i + 2 for i, c in enumerate(sorted(letters))}
    for piece in PIECES:
        byte_level = "".join(
            token for token, _ in pre_tokenizers.ByteLevel(
                add_prefix_space=False, use_regex=False
            ).pre_tokenize_str(piece)
        )  # fmt: skip
        vocab.setdefault(byte_level, len(vocab))
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    folder = tempfile.mkdtemp()
    made.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def harness_answer(tokens, until, ends, longest):
    """Tokens and text of the harness for a model that would write `tokens`, a batch of one."""
    criteria = stop_sequences_criteria(tokenizer(), list(until), 0, 1)
    written = []
    for token in tokens[:longest]:
        written.append(token)
        if token in ends or any(c(torch.tensor([written]), None) for c in criteria):
            break
    text = tokenizer().decode(written, skip_special_tokens=True)
    return written, postprocess_generated_text(text, list(until), None)


def our_answer(tokens, until, ends, longest):
    stop = Stopping(tokenizer(), frozenset(ends), tuple(until), longest)
    written = []
    for token in tokens:
        written.append(token)
        if stop.done(written):
            break
    return written, stop.answer(written)


STOPS = st.lists(st.sampled_from(["\n\n", "Q:", "ab", "</s>", " a", "é", "\n\nQ:", "abc"]),
                 max_size=3, unique=True)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    tokens=st.lists(st.integers(0, 280), min_size=1, max_size=24),
    pieces=st.lists(st.sampled_from(PIECES), max_size=12),
    until=STOPS,
    longest=st.integers(1, 24),
    ends=st.sets(st.sampled_from([1, 40]), max_size=2),
)
def test_answers_equal_the_harness(tokens, pieces, until, longest, ends):
    vocab = len(tokenizer())
    pieced = [t for piece in pieces for t in tokenizer().encode(piece, add_special_tokens=False)]
    tokens = [*pieced, *(t % vocab for t in tokens)]
    longest = min(longest, len(tokens))
    expected, text = harness_answer(tokens, until, ends, longest)
    written, answer = our_answer(tokens, until, ends, longest)
    assert answer.text == text
    # where a stop is split into more tokens than the harness looks at, it runs on for nothing
    assert written == expected[: len(written)]
    stopped = any(stop in tokenizer().decode(written) for stop in until)
    event("stopped earlier than the harness" if len(written) < len(expected) else "as the harness")
    assert stopped or len(written) == len(expected)


@pytest.mark.parametrize("split", [["\n\n"], ["\n", "\n"], ["a", "\n", "\n"], ["\n\nQ"]])
def test_a_stop_string_across_token_borders(split):
    tokens = [t for s in split for t in tokenizer().encode(s, add_special_tokens=False)]
    written, answer = our_answer([*tokens, 5, 6, 7], ["\n\n"], (), 99)
    assert (written, answer.text) == (tokens, "a" if "a" in split else "")
    assert answer.finished


def test_a_cut_answer_is_told_apart():
    tokens = tokenizer().encode("abc", add_special_tokens=False)
    assert not our_answer(tokens, ["\n"], (), 1)[1].finished
    assert our_answer([1], ["\n"], (1,), 1)[1].finished
    assert our_answer([2, 3], [], (), 2)[1].n_tokens == 2

"""Tokenised requests: split as lm-evaluation-harness splits them, equal rows shared."""

import pytest
from hypothesis import given, strategies as st

from interp import models
from interp.errors import UserError
from interp.tasks import (
    GenerationRequest,
    OptionRequest,
    build_requests,
    build_rows,
    encode,
    encode_pair,
    load_task,
)
from tests.helpers.families import tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task

words = st.lists(st.integers(4, 40), min_size=1, max_size=4).map(
    lambda ids: " ".join(f"w{i}" for i in ids)
)


@pytest.fixture(scope="module")
def harness_model():
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=tiny_model("llama"), tokenizer=tiny_tokenizer(), device="cpu")


@given(context=words, continuation=words, spaces=st.integers(0, 2), lead=st.sampled_from(["", " "]))
def test_pairs_split_as_the_harness_splits_them(
    llama, harness_model, context, continuation, spaces, lead
):
    context, continuation = context + " " * spaces, lead + continuation
    expected = harness_model._encode_pair(context, continuation)
    assert encode_pair(context, continuation, models.decoder(llama)) == expected


def test_bos_is_added_once(llama):
    decoder = models.decoder(llama)
    assert encode("w5 w6", decoder) == [1, 5, 6]
    assert encode("<s> w5 w6", decoder) == [1, 5, 6]


def test_an_empty_context_is_bos(llama):
    assert encode_pair("", "w5 w6", models.decoder(llama)) == ([1], [5, 6])


def test_options_of_one_token_share_one_row(llama, tmp_path):
    task = load_task(write_task(tmp_path, kind="letters"))
    made = build_requests(task, [0, 1], models.decoder(llama))
    requests = [r for r in made if isinstance(r, OptionRequest)]
    rows = build_rows(requests)
    assert len(requests) == 8
    assert len(rows) == 2
    assert sorted(n for row in rows for n, _, _ in row.scored) == list(range(8))


def test_prompts_that_are_too_long_lose_their_left_end(llama, tmp_path):
    decoder = models.decoder(llama)
    task = load_task(write_task(tmp_path, kind="texts", num_fewshot=4))
    (long, *_) = build_requests(task, [0], decoder)
    short = build_requests(task, [0], _with_context(decoder, 12))[0]
    assert isinstance(long, OptionRequest)
    assert isinstance(short, OptionRequest)
    assert len(short.context) + len(short.continuation) == 13
    assert short.truncated_tokens == len(long.context) - len(short.context)
    assert long.context[short.truncated_tokens :] == short.context


def test_generation_leaves_room_for_the_answer(llama, tmp_path):
    task = load_task(write_task(tmp_path, kind="generate"))
    (request,) = build_requests(task, [0], _with_context(models.decoder(llama), 9))
    assert isinstance(request, GenerationRequest)
    assert len(request.prompt) <= 9 - 6
    assert request.until == ("w61", "w62 w63", "</s>")
    with pytest.raises(UserError, match="max_gen_toks 6; the model's context holds 6"):
        build_requests(task, [0], _with_context(models.decoder(llama), 6))


def _with_context(parts, length: int):
    import dataclasses

    return dataclasses.replace(parts, max_length=length)

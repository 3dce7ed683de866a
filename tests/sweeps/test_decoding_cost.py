"""The cost of decoded answers: a few calibrated ones stand for many that share their steps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

import interp
from interp.ablations import Edits
from interp.engine import Settings
from interp.sweeps import decoding_cost, estimate
from interp.sweeps.decoding_cost import AnswersWork, Decoded, StepCost, decoded, step_cost
from interp.tasks import CheckedRequests, load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.prompts import requests
from tests.helpers.task_files import write_task

READING = 0.002
"""Seconds for a token of a prompt, in the world of these tests."""


def pooled(lengths, most):
    """Steps, and rows of all of them, where a row that is finished makes room for the next."""
    waiting, alive, steps, rows = list(lengths), [], 0, 0
    while waiting or alive:
        free = most - len(alive)
        alive, waiting = alive + waiting[:free], waiting[free:]
        steps, rows = steps + 1, rows + len(alive)
        alive = [left - 1 for left in alive if left > 1]
    return steps, rows


def world(lengths, examples, ablations, cost):
    """What so many answers truly take: prompts that are read, rows that are decoded together."""
    shared, own = 40, 25.0
    steps, rows = pooled(lengths[: examples * ablations], cost.most_rows)
    reading = READING * ablations * (shared + own * examples)
    seconds = reading + cost.seconds(steps, rows)
    return Decoded(examples, ablations, seconds, steps, rows, shared, own)


@given(
    st.integers(0, 2**32 - 1), st.integers(4, 24), st.integers(24, 200), st.integers(1, 32),
    st.sampled_from([(0.01, 0.0), (0.01, 0.0002), (0.001, 0.01)]),
)  # fmt: skip
def test_few_answers_tell_what_many_take(seed, few, many, ablations, step_and_row):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 33, size=many * ablations).tolist()
    cost = StepCost(*step_and_row, most_rows=128)
    calibrated = world(lengths, few, min(ablations, 3), cost)
    truth = world(lengths, many, ablations, cost).seconds
    assert calibrated.at(many, ablations, cost) == pytest.approx(truth, rel=0.35)


@given(
    st.integers(1, 40), st.integers(1, 9), st.floats(0, 1e3), st.integers(0, 300),
    st.integers(1, 128), st.integers(0, 500), st.floats(1, 500), st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_more_answers_take_longer_and_at_most_in_proportion(
    examples, ablations, seconds, steps, wide, shared, own, step, row
):
    some = Decoded(examples, ablations, seconds, steps, steps * wide, shared, own)
    cost = StepCost(step, row, 128)
    before = some.at(examples, ablations, cost)
    assert before == pytest.approx(seconds, rel=0.51)
    for times in (2, 3, 10):
        after = some.at(times * examples, ablations, cost)
        assert before * (1 - 1e-9) <= after <= times * before * (1 + 1e-9) + 1e-12
        before_more = some.at(examples, times * ablations, cost)
        assert before_more <= times * seconds * (1 + 1e-9) + 1e-12
    assert replace(some, ablations=0).at(examples, 0, cost) == 0


def test_what_a_step_costs_is_found_again(monkeypatch):
    now = 0.0

    def generate(_model, asked, _edits, *, settings, stepped):
        nonlocal now
        assert not settings.drafts
        for _ in range(asked[0].max_gen_toks):
            stepped(len(asked))
            now += 0.004 + 0.0005 * len(asked)

    monkeypatch.setattr(decoding_cost, "generate", generate)
    model = tiny_bridge("llama")
    found = step_cost(model, requests(), 1000, lambda: now)
    most = Settings.for_model(interp.models.decoder(model)).rows
    assert (found.step, found.row, found.most_rows) == pytest.approx((0.004, 0.0005, most))
    assert step_cost(model, requests(), 7, lambda: now).most_rows == 7


def test_rows_that_share_no_step_have_no_cost_of_one():
    # ALiBi's attention is not replaced
    assert step_cost(tiny_bridge("bloom"), requests(), 100, lambda: 0.0) is None


def test_the_baseline_is_told_apart_from_the_ablations(tmp_path, monkeypatch):
    """Two examples under the baseline and two ablations; steps wider than their cost says."""
    now = 0.0

    def run_unit(_model, _task, unit, batch, *, requests, told):
        nonlocal now
        now += 1.0
        for rows, seconds in ((2, 0.5), (2, 0.5), (1, 0.5)):
            told.step(rows)
            now += seconds
        told.pairs(2)
        for _ in range(4):
            told.step(4)
            now += 0.3
        told.pairs(4)
        assert len(batch.variants) == 3
        assert list(requests.by_row) == list(unit.doc_ids) == [0, 1]

    monkeypatch.setattr(decoding_cost, "run_unit", run_unit)
    asked = {
        i: (replace(one, doc_id=i, prompt=(1, 2, 3, *range(5, 6 + i))),)
        for i, one in enumerate(requests(2))
    }
    task = load_task(write_task(tmp_path, kind="generate", rows=2))
    work = AnswersWork(task, CheckedRequests(asked), (0, 1), (Edits(), Edits()))
    cost = StepCost(0.1, 0.0, 128)
    alone, rest, found = decoded(tiny_bridge("llama"), work, cost, lambda: now)
    assert alone == Decoded(2, 1, alone.seconds, 3, 5, 3, 1.5)
    assert rest == Decoded(2, 2, rest.seconds, 4, 16, 3, 1.5)
    assert (alone.seconds, rest.seconds) == pytest.approx((2.5, 1.2))
    assert found.step == pytest.approx(0.3)


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_a_real_estimate_of_answers_is_some_time(tmp_path, family):
    model, task = tiny_bridge(family), load_task(write_task(tmp_path, kind="generate", rows=12))
    for ablations in ([], interp.each_layer(model)):
        found = estimate(model, [task], ablations, limit=10)
        assert found.seconds > 0
        assert found.calibration_seconds > 0

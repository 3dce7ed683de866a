"""Estimates: the calibrated ablations stand for all, and the cost is that of the sweep."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import interp
from interp.ablations import parse
from interp.ablations.edits import Shape
from interp.engine import group_examples
from interp.errors import UserError
from interp.sweeps import calibration, estimate
from interp.sweeps.calibration import calibrated
from interp.sweeps.cost import clock
from interp.sweeps.plan import planned_task
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


@given(n_layers=st.integers(1, 80))
def test_calibrated_layers_have_the_mean_cost(n_layers):
    edits = [parse(f"layer:{n}").edits(Shape(n_layers, 4, 2)) for n in range(n_layers)]
    # an ablation of layer l runs the blocks from l on
    costs = [n_layers - min(one) for one in calibrated(edits)]
    every = [n_layers - n for n in range(n_layers)]
    assert abs(np.mean(costs) - np.mean(every)) <= 1
    assert len(costs) <= calibration.LAYERS


def test_few_heads_of_a_layer_are_calibrated_together():
    edits = [
        parse(f"head:{n}.{h}@mean").edits(Shape(12, 32, 8)) for n in range(12) for h in range(32)
    ]
    chosen = calibrated(edits)
    assert len(chosen) == calibration.LAYERS * calibration.PER_LAYER
    assert not any(edit.mean_heads for one in chosen for edit in one.values())


def test_what_cannot_be_run_is_refused_before_anything_is_timed(tmp_path, monkeypatch):
    def run_unit(*_args, **_options):
        raise AssertionError("something was run")

    monkeypatch.setattr(calibration, "run_unit", run_unit)
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, kind="texts", rows=6))
    with pytest.raises(UserError, match=r"row [0-9]+: its prompt does not hold its answer"):
        estimate(model, [task], ["cut:0-1@answering/gold"], limit=5)


@pytest.mark.parametrize("kind", ["texts", "generate"])
def test_an_estimate_counts_what_the_sweep_will_do(tmp_path, monkeypatch, kind):
    """With a clock that ticks once a token (an answer) and variant, the estimate is exact."""
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, kind=kind, rows=60))
    ticks = 0.0

    def work(requests):
        groups = [] if kind == "generate" else group_examples(requests)
        trees = [tree for group in groups for tree in group.trees]
        return sum(len(group.prefix) for group in groups) + sum(len(tree.tokens) for tree in trees)

    def run_unit(_model, _task, unit, batch, *, requests, **_options):
        nonlocal ticks
        each = work(requests.of(unit.doc_ids)) or len(unit.doc_ids)
        ticks += each * len(batch.variants)

    monkeypatch.setattr(calibration, "run_unit", run_unit)
    # as for a model whose rows are not decoded together
    monkeypatch.setattr(calibration, "step_cost", lambda *_: None)
    ablations = [*interp.each_layer(model), *interp.each_head(model)]
    found = estimate(model, [task], ablations, limit=50, unit_examples=20, timer=lambda: ticks)
    planned = planned_task(model, task, (), 50, 0)
    units = [planned.doc_ids[start : start + 20] for start in (0, 20, 40)]
    each = 50 if kind == "generate" else sum(work(planned.requests.of(unit)) for unit in units)
    assert found.seconds == pytest.approx(each * (1 + len(ablations)))
    assert found.examples == 50
    decoder = interp.models.decoder(model)
    assert found.weights_bytes == 4 * found.parameters
    assert found.parameters == sum(p.numel() for p in decoder.root.parameters())
    assert (found.answer_tokens > 0) == (kind == "generate")


@pytest.mark.parametrize(("kind", "most"), [("texts", "SCORED"), ("generate", "GENERATED")])
def test_a_calibration_takes_a_tenth_of_the_sweep_at_most(tmp_path, kind, most):
    """In passes through all layers, an ablation at half of one where it is replayed."""
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, kind=kind, rows=60))
    each = 1 if kind == "generate" else 0.5
    edits = [interp.ablations.checked_edits(model, one) for one in interp.each_head(model)]
    sizes, asked = [], planned_task(model, task, (), None, 0).requests
    for examples, ablations in ((50, 5), (200, 5), (200, len(edits)), (2000, len(edits))):
        # each of sixty rows as often as it takes
        doc_ids = [i % 60 for i in range(examples)]
        work = calibration.TaskWork(task, doc_ids, asked, edits[:ablations], 128)
        few, many = map(len, calibration.calibration_examples(work))
        chosen = len(calibrated(work.edits))
        # a first pass; then the baseline, and it with the ablations
        passes = few + many * (1 + 1 + each * chosen)
        short = many == calibration.LEAST
        assert short or passes <= 0.07 * examples * (1 + each * ablations)
        sizes.append(many)
    assert sizes == sorted(sizes)
    assert sizes[-1] == getattr(calibration, most)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.23, "0.2 s"), (41.0, "41 s"), (720.0, "12 min"), (12e3, "3 h 20 min")]
)
def test_times_in_words(seconds, text):
    assert clock(seconds) == text

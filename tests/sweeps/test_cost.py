"""Estimates: the calibrated ablations stand for all, and the cost is that of the sweep."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import interp
from interp.ablations import parse
from interp.ablations.edits import Shape
from interp.errors import UserError
from interp.sweeps import calibration, estimate
from interp.sweeps.calibration import calibrated
from interp.sweeps.cost import clock
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
    """With a clock that ticks once an example and variant, the estimate is exact."""
    model, task = tiny_bridge("llama"), load_task(write_task(tmp_path, kind=kind, rows=60))
    ticks, largest = 0.0, 0

    def run_unit(_model, _task, unit, batch, **_options):
        nonlocal ticks, largest
        largest = max(largest, len(unit.doc_ids))
        ticks += (len(unit.doc_ids) + 3) * len(batch.variants)

    monkeypatch.setattr(calibration, "run_unit", run_unit)
    ablations = [*interp.each_layer(model), *interp.each_head(model)]
    found = estimate(model, [task], ablations, limit=50, unit_examples=20, timer=lambda: ticks)
    # three units of 20, 20 and 10 examples, each with a fixed part of 3 a variant; decoded rows
    # fill batches of one size, so that their cost is taken in proportion to the larger draw's
    scored, generated = 50 + 3 * 3, 50 * (largest + 3) / largest
    each = generated if kind == "generate" else scored
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
    sizes = []
    for examples, ablations in ((50, 5), (200, 5), (200, len(edits)), (2000, len(edits))):
        work = calibration.TaskWork(task, range(examples), 1, edits[:ablations], 128)
        few, many = map(len, calibration.calibration_examples(work))
        chosen = len(calibrated(work.edits))
        both = 1 + each * chosen
        # of answers the baseline of the larger draw is timed, of options that of the smaller
        passes = few + many * (1 + both)
        if kind == "texts":
            passes = few * (2 + both) + many * both
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

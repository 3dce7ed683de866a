"""In half precision a sweep says how many answers rounding decides."""

from dataclasses import replace

import pytest
import torch

import interp
import interp.sweeps.rounding as rounding
from interp.errors import UserError
from interp.records import read_rounding
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def half():
    return tiny_bridge("llama").to(torch.bfloat16)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return str(write_task(tmp_path_factory.mktemp("letters"), kind="letters", rows=9))


def test_the_baseline_runs_again_in_other_batches(half, task, tmp_path, monkeypatch, caplog):
    plain, groups = rounding.run_unit, []

    def flipping(model, asked, unit, batch, **options):
        """The last example of each batch answers otherwise, as rounding might make it."""
        groups.append(unit.doc_ids)
        *kept, last = plain(model, asked, unit, batch, **options)
        worst = tuple(-value for value in last.loglikelihoods)
        metrics = last.metrics | {"acc": 1 - last.metrics["acc"]}
        return [*kept, replace(last, loglikelihoods=worst, metrics=metrics)]

    monkeypatch.setattr(rounding, "run_unit", flipping)
    with caplog.at_level("WARNING", logger="interp"):
        run = interp.sweep(half, task, "layer:0", out=tmp_path / "run")
    assert list(map(len, groups)) == [7, 2]
    found = run.rounding().set_index("metric").loc["acc"]
    assert (found["compared"], found["changed_answers"], found["changed"]) == (9, 2, 2)
    assert "2 of 9 answers change when the whole model is run again" in caplog.text
    table = run.importance(metric="acc")
    assert table["rounding"].tolist() == pytest.approx([found["floor"]])
    assert "2 of 9 answers change" in run.summary()
    # it decides no record: the same call runs nothing and measures nothing again
    groups.clear()
    interp.sweep(half, task, "layer:0", out=tmp_path / "run")
    assert not groups
    path = tmp_path / "run" / "rounding.json"
    path.write_text("{}")
    with pytest.raises(UserError, match=r"its rounding.json cannot be read .* measures it"):
        run.importance()


def test_in_float32_nothing_is_run_twice(task, tmp_path):
    run = interp.sweep(tiny_bridge("llama"), task, "layer:0", out=tmp_path / "run")
    assert read_rounding(run.folder) is None
    assert run.rounding().empty
    assert "rounding" not in run.importance()


def test_a_share_waits_for_the_baseline(half, task, tmp_path):
    folder = tmp_path / "run"
    for share in ("1/2", "2/2"):
        assert read_rounding(folder) is None if folder.exists() else True
        interp.sweep(half, task, "layers", out=folder, shard=share, unit_examples=5)
    assert read_rounding(folder).tasks[0].n == 9

"""Experiments by several processes give what one process gives, sweep for sweep."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from experiments import __main__ as everything, side_by_side
from experiments.presets import ORGANISMS, STUDY, Preset
from interp.errors import UserError

FEW = replace(
    ORGANISMS,
    models={"base": "organism:base"},
    tasks={"options": ("world-facts:continuation", "world-arithmetic:continuation")},
    limits={"world-facts:continuation": 6, "world-arithmetic:continuation": 6},
)


@pytest.mark.slow
def test_the_page_is_that_of_one_process(tmp_path):
    chosen = everything.modules(("tasks",))
    alone = everything.everything(FEW, tmp_path / "alone", chosen)
    together = everything.everything(FEW, tmp_path / "together", chosen, workers=2)
    assert together.read_text() == alone.read_text()
    sweeps = sorted(p.relative_to(tmp_path / "alone") for p in tmp_path.glob("alone/sweeps/*/*"))
    assert len(sweeps) == 2
    for sweep in sweeps:
        for run in ("alone", "together"):
            assert (tmp_path / run / sweep / "asked.json").is_file()


class _AtOnce:
    """A pool that works here, one after the other."""

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap_unordered(self, work, items):
        return map(work, items)


def test_each_sweep_is_run_once_and_the_long_ones_first(tmp_path, monkeypatch):
    run: list[tuple[str, str, str]] = []
    monkeypatch.setattr(side_by_side, "_processes", _AtOnce)
    monkeypatch.setattr(
        side_by_side,
        "_sweep",
        lambda work: run.append((work[2].role, work[2].task, work[2].family)),
    )
    jobs = [job for module in everything.modules() for job in module.jobs(ORGANISMS)]
    side_by_side.run_sweeps(ORGANISMS, tmp_path, jobs, 2)
    assert len(run) == len(set(run)) > 50
    assert {family for _, _, family in run} <= set(side_by_side.FAMILIES)
    families = [family for _, _, family in run]
    first = families.count("heads")
    assert families[:first] == ["heads"] * first


def test_pages_come_in_the_order_of_the_names(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(side_by_side, "_processes", _AtOnce)

    def page(work: tuple[Preset, object, str]):
        begun.append(work[2])
        return work[2], side_by_side.Page(tmp_path / work[2], 1.0)

    monkeypatch.setattr(side_by_side, "_page", page)
    pages = side_by_side.make_pages(ORGANISMS, tmp_path, everything.modules(), 2)
    assert tuple(pages) == everything.NAMES
    assert sorted(begun) == sorted(everything.NAMES)
    assert begun[: len(side_by_side.ORDER)] == list(side_by_side.ORDER)


def test_how_many_processes(monkeypatch):
    monkeypatch.setattr(everything.os, "cpu_count", lambda: 5)

    def workers(preset, count=None, shard=None):
        return everything._workers(SimpleNamespace(workers=count, shard=shard), preset)

    assert workers(ORGANISMS) == 5
    assert workers(ORGANISMS, shard="1/2") == 1
    assert workers(ORGANISMS, count=3) == 3
    # one model fills a GPU
    assert workers(STUDY) == 1
    with pytest.raises(UserError, match="--workers 0: allowed are 1 and more"):
        workers(ORGANISMS, count=0)
    with pytest.raises(UserError, match="--workers and --shard: give one"):
        workers(ORGANISMS, count=2, shard="1/2")

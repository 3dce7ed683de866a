"""Runs that grow: what is there is kept, nothing is run twice, and the records are the same."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import data, integers, sets, tuples

import interp
import interp.sweeps.execution as execution
from interp.errors import UserError
from interp.models import decoder
from interp.records import Shard, locked, merge, read_manifest
from interp.sweeps import sweep
from interp.sweeps.pieces import answers_together
from interp.sweeps.sources import DONOR_CYCLE, donors_of
from interp.sweeps.units import WorkUnit
from interp.tasks import draw_order, load_task
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task
from tests.helpers.thinning import sized

EVERY = ["layer:0", "mlp:1", "head:1.2@mean", "layer:1@resample", "layer:2@linear", "attn:2"]
KEY = ["task", "ablation", "doc_id"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    kinds = ("letters", "generate")
    return [
        load_task(write_task(tmp_path_factory.mktemp(kind), kind=kind, rows=6)) for kind in kinds
    ]


@pytest.fixture
def computed(monkeypatch):
    """How often each (task, example, ablation) was computed, the baseline left out."""
    counts, plain = Counter(), execution.run_unit

    def counting(model, task, unit, batch, **options):
        texts = [one.text for one in batch.variants if one.text != "baseline"]
        counts.update((task.name, i, text) for i in unit.doc_ids for text in texts)
        return plain(model, task, unit, batch, **options)

    monkeypatch.setattr(execution, "run_unit", counting)
    return counts


def same_records(one, other) -> None:
    mine, theirs = (r.responses().sort_values(KEY, ignore_index=True) for r in (one, other))
    assert set(mine.columns) == set(theirs.columns)
    exact = [*KEY, "target", "token_counts", "text", *mine.columns.intersection(["acc", "cut"])]
    assert mine[exact].equals(theirs[exact])
    for a, b in zip(mine["loglikelihoods"], theirs["loglikelihoods"], strict=True):
        assert (a is None) == (b is None)
        assert a is None or list(a) == pytest.approx(list(b), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", sized(thinned=[0, 1], whole=[0, 1, 2]))
def test_growing_requests_give_the_records_of_the_large_one(llama, tasks, tmp_path, seed, computed):
    whole = sweep(llama, tasks, EVERY, limit=5, seed=seed)
    computed.clear()
    rng = random.Random(seed)
    asked = {"ablations": rng.sample(EVERY, 2), "limit": rng.randint(1, 3), "tasks": [tasks[0]]}
    grown = {"ablations": rng.sample(EVERY, len(EVERY)), "limit": 5, "tasks": tasks[::-1]}
    sizes = {"unit_examples": 3, "unit_ablations": rng.randint(2, 4)}
    for step in (None, *rng.sample(sorted(grown), 3)):
        if step:
            asked[step] = grown[step]
        run = sweep(llama, asked["tasks"], asked["ablations"], out=tmp_path / "run",
                    limit=asked["limit"], seed=seed, **sizes)  # fmt: skip
    same_records(run, whole)
    assert run.manifest.limit == 5
    assert set(computed.values()) == {1}


def test_a_smaller_request_is_answered_from_what_is_there(llama, tasks, tmp_path, computed):
    asked = {"out": tmp_path / "run", "limit": 4}
    sweep(llama, tasks[0], EVERY[:3], unit_examples=2, **asked)
    small = sweep(llama, tasks[0], EVERY[:1], limit=2)
    computed.clear()
    again = sweep(llama, tasks[0], EVERY[:1], **(asked | {"limit": 2}))
    assert not computed
    same_records(again, small)
    assert repr(again).startswith("Sweep(tiny-llama: 1 task, 2 examples, 1 ablation;")
    assert set(again.importance(resamples=100)["n_family"]) == {1}
    assert not again.problems()
    next((again.folder / "units").glob("*.parquet")).unlink()
    with pytest.raises(UserError, match=r"it holds a larger run \(ablations: 2.* missing") as e:
        sweep(llama, tasks[0], EVERY[:1], **asked)
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_an_interrupted_extension_continues(llama, tasks, tmp_path, monkeypatch, computed):
    out, sizes = tmp_path / "run", {"unit_examples": 2, "unit_ablations": 2}
    sweep(llama, tasks[0], EVERY[:2], out=out, limit=3, **sizes)
    there = {p.name: p.read_bytes() for p in (out / "units").iterdir()}
    counting, calls = execution.run_unit, []

    def stops_at_the_third(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return counting(*arguments, **options)

    monkeypatch.setattr(execution, "run_unit", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        sweep(llama, tasks[0], EVERY[:4], out=out, limit=5, **sizes)
    with pytest.raises(UserError, match="units are missing or damaged"):
        interp.open_run(out).responses()
    run = sweep(llama, tasks[0], EVERY[:4], out=out, limit=5, **sizes)
    assert {n: (out / "units" / n).read_bytes() for n in there} == there
    assert max(computed.values()) == 1
    same_records(run, sweep(llama, tasks[0], EVERY[:4], limit=5))


def test_shards_extend_a_run_together(llama, tasks, tmp_path):
    out, sizes = tmp_path / "run", {"unit_examples": 2, "unit_ablations": 2}
    sweep(llama, tasks[0], EVERY[:1], out=out, limit=3, **sizes)
    for shard in ("1/2", "2/2"):
        sweep(llama, tasks[0], EVERY[:3], out=out, limit=5, shard=shard, **sizes)
    assert merge(out, []) == len(read_manifest(out).units)
    same_records(interp.open_run(out), sweep(llama, tasks[0], EVERY[:3], limit=5))


def test_a_run_that_is_being_computed_is_not_extended(llama, tasks, tmp_path):
    out = tmp_path / "run"
    sweep(llama, tasks[0], EVERY[:1], out=out, limit=3)
    before = read_manifest(out)
    with locked(out, Shard(1, 2)), pytest.raises(UserError, match="is working on it"):
        sweep(llama, tasks[0], EVERY[:2], out=out, limit=3)
    assert read_manifest(out) == before


def test_what_would_mix_answers_is_refused_when_a_run_is_extended(llama, tmp_path):
    path, out = write_task(tmp_path, num_fewshot=2), tmp_path / "run"
    sweep(llama, path, EVERY[:2], out=out, limit=4)
    before, rows = read_manifest(out), tmp_path / "texts.jsonl"

    def refused(match, model=llama, **options):
        with pytest.raises(UserError, match=match) as caught:
            sweep(model, path, EVERY[:3], out=out, **({"limit": 6} | options))
        assert "\n" not in str(caught.value)
        assert read_manifest(out) == before

    refused("the model's weights are others", tiny_bridge("llama", seed=1))
    refused("seed 0 there, 1 asked", seed=1)
    refused("num_fewshot 2 there, 1 asked", num_fewshot=1)
    refused("clusters none there, gold asked", cluster="gold")
    lines = rows.read_text().splitlines(keepends=True)
    first, second = before.tasks[0].doc_ids[:2]
    changed = [*lines]
    changed[first], changed[second] = lines[second], lines[first]
    rows.write_text("".join(changed))
    refused("its rows have changed")
    rows.write_text("".join(lines[: max(before.tasks[0].doc_ids) - 1]))
    refused("4 rows there")
    rows.write_text("".join(lines))
    with torch.no_grad():
        next(decoder(llama).root.parameters())[5, 0] += 1
    refused("the model's weights are others")
    with torch.no_grad():
        next(decoder(llama).root.parameters())[5, 0] -= 1


def test_donors_do_not_depend_on_the_limit(tmp_path):
    task = load_task(write_task(tmp_path, rows=2 * DONOR_CYCLE + 1))
    order = draw_order(task, seed=3)
    every = donors_of(task, len(order), seed=3)
    assert sorted(every) == sorted(every.values()) == sorted(order)
    for count in (1, 2, DONOR_CYCLE, DONOR_CYCLE + 1, len(order)):
        some = donors_of(task, count, seed=3)
        assert set(order[:count]) <= set(some)
        assert some.items() <= every.items()
        assert all(row != donor for row, donor in some.items())


@pytest.mark.slow
def test_a_long_unit_is_kept_in_pieces(llama, tasks, tmp_path, monkeypatch):
    """At five seconds a pair a unit of 5 examples and 3 ablations takes more than a minute."""
    import interp.sweeps.pieces as pieces

    plain, clock, worked = execution.run_unit, [0.0], []

    def slow(model, task, unit, batch, **options):
        clock[0] += 5.0 * len(unit.doc_ids) * len(unit.ablations)
        worked.append((unit.doc_ids, unit.ablations, clock[0]))
        if len(worked) == 3:
            raise KeyboardInterrupt
        return plain(model, task, unit, batch, **options)

    whole = sweep(llama, tasks[0], EVERY[:3], limit=5)
    monkeypatch.setattr(execution, "run_unit", slow)
    monkeypatch.setattr(pieces.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(pieces, "FEW_PAIRS", 0)
    monkeypatch.setattr(pieces, "outputs_on", lambda *_: clock.__setitem__(0, clock[0] + 1.6))
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        sweep(llama, tasks[0], EVERY[:3], out=out, limit=5)
    assert len(list((out / "units").glob(".*.piece"))) == 2
    run = sweep(llama, tasks[0], EVERY[:3], out=out, limit=5)
    done = [(i, n) for ids, numbers, _ in worked[:2] + worked[3:] for i in ids for n in numbers]
    assert len(done) == len(set(done)) == 5 * 4
    assert max(b[2] - a[2] for a, b in pairwise(worked)) <= 60
    assert [p.suffix for p in (out / "units").iterdir()] == [".parquet"]
    same_records(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize(("finished", "again"), [(3, 15), (11, 12), (19, 1)])
def test_answers_are_kept_as_they_are_finished(
    llama, tasks, tmp_path, monkeypatch, computed, finished, again
):
    """They are decoded together however slow they are, and none that is kept is asked for again."""
    import interp.sweeps.pieces as pieces

    whole = sweep(llama, tasks[1], EVERY[:3], limit=5)
    assert sum(computed.values()) == 5 * 3
    clock, add = [0.0], pieces._Kept.add

    def slow(kept, record):
        clock[0] += 31.0
        add(kept, record)
        if clock[0] == 31.0 * finished:
            raise KeyboardInterrupt

    monkeypatch.setattr(pieces._Kept, "add", slow)
    monkeypatch.setattr(pieces.time, "perf_counter", lambda: clock[0])
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        sweep(llama, tasks[1], EVERY[:3], out=out, limit=5)
    assert len(list((out / "units").glob(".*.piece"))) == finished
    computed.clear()
    run = sweep(llama, tasks[1], EVERY[:3], out=out, limit=5)
    assert [p.suffix for p in (out / "units").iterdir()] == [".parquet"]
    same_records(run, whole)
    # pairs of all examples and ablations of which any are missing are asked for together
    assert sum(computed.values()) <= again


def unit_of(doc_ids, ablations):
    return WorkUnit(0, "unit", tuple(doc_ids), tuple(ablations))


def test_missing_answers_are_asked_for_together():
    unit = unit_of(range(6), range(4))
    everything = answers_together(unit, dict.fromkeys(range(6), (0, 1, 2, 3)))
    assert (everything.doc_ids, everything.ablations) == (unit.doc_ids, unit.ablations)
    # whole ablations are there
    two = answers_together(unit, dict.fromkeys(range(6), (2, 3)))
    assert (two.doc_ids, two.ablations) == (unit.doc_ids, (2, 3))
    # one pair of the second ablation is missing, and all of the fourth
    left = answers_together(unit, {i: (1, 3) if i == 5 else (3,) for i in range(6)})
    assert (left.doc_ids, left.ablations) == ((5,), (1,))


@pytest.mark.slow
@given(data())
def test_what_is_asked_for_is_missing_and_nothing_is_left(drawn):
    unit = unit_of(range(5), range(4))
    pairs = set(drawn.draw(sets(tuples(integers(0, 4), integers(0, 3)), min_size=1)))
    asked = set()
    while left := pairs - asked:
        missing: dict[int, tuple[int, ...]] = {}
        for doc_id, number in sorted(left):
            missing[doc_id] = (*missing.get(doc_id, ()), number)
        piece = answers_together(unit, missing)
        now = {(i, n) for i in piece.doc_ids for n in piece.ablations}
        assert now & left
        asked |= now


@pytest.mark.slow
def test_runs_that_differ_in_their_ablations_are_joined(llama, tasks, tmp_path, caplog):
    def run(name, ablations, **options):
        options = {"limit": 5, "unit_examples": 2, "unit_ablations": 2} | options
        return sweep(llama, tasks, ablations, out=tmp_path / name, **options)

    first, second = run("first", EVERY[:2]), run("second", [*EVERY[1:4], EVERY[5]], unit_examples=3)
    assert merge(tmp_path / "first", [tmp_path / "second"]) == len(
        read_manifest(first.folder).units
    )
    joined = interp.open_run(tmp_path / "first")
    assert joined.manifest.ablations == (*EVERY[:4], EVERY[5])
    same_records(joined, run("whole", [*EVERY[:4], EVERY[5]]))
    assert not caplog.records
    # the same request finds the run that it would have made, and more extends it
    assert run("first", [*EVERY[:4], EVERY[5]]).responses().equals(joined.responses())
    merge(tmp_path / "new", [tmp_path / "second", tmp_path / "whole"])
    assert set(read_manifest(tmp_path / "new").ablations) == set(joined.manifest.ablations)
    run("fewer", EVERY[:1], limit=4)
    with pytest.raises(UserError, match="parts may differ in their ablations alone") as caught:
        merge(tmp_path / "second", [tmp_path / "fewer"])
    assert "\n" not in str(caught.value)
    assert second.manifest == read_manifest(second.folder)


def test_runs_of_other_baselines_are_not_joined(llama, tasks, tmp_path, monkeypatch):
    run = {"limit": 3}
    sweep(llama, tasks[0], EVERY[:1], out=tmp_path / "first", **run)
    plain = execution.run_unit

    def otherwise(*arguments, **options):
        found = plain(*arguments, **options)
        return [replace(r, metrics={k: 1 - v for k, v in r.metrics.items()}) for r in found]

    monkeypatch.setattr(execution, "run_unit", otherwise)
    sweep(llama, tasks[0], EVERY[1:2], out=tmp_path / "second", **run)
    before = read_manifest(tmp_path / "first")
    with pytest.raises(UserError, match=r"its baseline differs from .* in 3 of 3 examples"):
        merge(tmp_path / "first", [tmp_path / "second"])
    assert read_manifest(tmp_path / "first") == before

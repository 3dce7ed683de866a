"""Ray: the same units, the same store; workers that die, memory that runs out, whoever is first."""

import importlib.util
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import interp
from interp.errors import UserError
from interp.sweeps import NOBODY, UnitSizes, make_plan, pack_request, runner, sweep
from interp.sweeps.execution import in_order
from interp.sweeps.on_ray import TaskQueue, WorkerPool
from interp.sweeps.transport import pack_model, unpack_model, unpack_request
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray here")
ABLATIONS = ["layer:0", "head:1.2@mean", "mlp:1"]
SIZES = UnitSizes(examples=3, ablations=2)


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(write_task(tmp_path))


@pytest.fixture
def plan(llama, task):
    return make_plan(llama, [task], ABLATIONS, limit=8, sizes=SIZES)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "units").iterdir())}


# --- what waits, what came back -----------------------------------------------------------------


def queue_of(llama, plan):
    run, finished = runner(llama, plan), {}

    def finish(unit, records):
        assert unit.name not in finished, "counted twice"
        finished[unit.name] = records

    return TaskQueue(plan, plan.units, finish), run, finished


@pytest.mark.slow
def test_the_largest_unit_goes_first_and_all_are_finished_once(llama, plan):
    queue, run, finished = queue_of(llama, plan)
    ranks = []
    while (chunk := queue.take()) is not None:
        ranks.append(chunk.rank)
        queue.done(chunk, run(chunk.unit, NOBODY))
    assert ranks == sorted(ranks)
    assert set(finished) == {unit.name for unit in plan.units}
    assert not queue.failed


@pytest.mark.slow
def test_halves_give_the_whole_unit(llama, plan):
    queue, run, finished = queue_of(llama, plan)
    tried = 0
    while (chunk := queue.take()) is not None:
        tried += 1
        if len(chunk.unit.doc_ids) > 1:
            queue.too_large(chunk, "out of memory")
        else:
            queue.done(chunk, run(chunk.unit, NOBODY))
    assert tried > len(plan.units)
    for unit in plan.units:
        whole = run(unit, NOBODY)
        assert [(r.ablation, r.doc_id) for r in finished[unit.name]] == [
            (r.ablation, r.doc_id) for r in whole
        ]
        for mine, theirs in zip(finished[unit.name], whole, strict=True):
            assert mine.loglikelihoods == pytest.approx(theirs.loglikelihoods, abs=1e-4)


def test_a_piece_that_kills_its_workers_is_given_up_by_name_and_the_rest_completes(llama, plan):
    queue, run, finished = queue_of(llama, plan)
    poison = plan.units[1]
    deaths = 0
    while (chunk := queue.take()) is not None:
        if chunk.name == poison.name and poison.doc_ids[0] in chunk.unit.doc_ids:
            deaths += 1
            queue.died(chunk, "signal 9")
        else:
            queue.done(chunk, run(chunk.unit, NOBODY))
    assert deaths == 3
    assert list(queue.failed) == [poison.name]
    assert "signal 9" in queue.failed[poison.name]
    assert set(finished) == {unit.name for unit in plan.units} - {poison.name}


def test_an_answer_that_comes_twice_is_counted_once(llama, plan):
    queue, run, finished = queue_of(llama, plan)
    chunk = queue.take()
    found = run(chunk.unit, NOBODY)
    queue.done(chunk, found)
    queue.done(chunk, found)
    assert len(finished[chunk.name]) == len(found)


def test_lost_and_doubled_records_are_errors(llama, plan):
    unit = plan.units[0]
    found = runner(llama, plan)(unit, NOBODY)
    assert in_order(plan, unit, found[::-1]) == found
    for wrong in (found[1:], [*found, found[0]], [found[0], *found[:-1]]):
        with pytest.raises(RuntimeError, match="records for"):
            in_order(plan, unit, wrong)


# --- the request travels ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_a_request_makes_the_same_plan_elsewhere(family, task):
    model, donor = tiny_bridge(family), tiny_bridge(family, seed=1)
    asked = [*interp.each_swap(model, donor)[:1], interp.parse("layer:0+attn:1")]
    plan = make_plan(model, [task], asked, limit=4, sizes=SIZES)
    request = pack_request(model, plan, asked, limit=4)
    # without the tasks, whose class beartype wraps here and only here
    sent = pickle.loads(pickle.dumps(replace(request, tasks=())))
    there, again = unpack_request(replace(sent, tasks=request.tasks))
    for name in ("weights_sha256", "config_sha256", "tokenizer_sha256", "tasks", "donors", "units"):
        assert getattr(again.manifest, name) == getattr(plan.manifest, name), name
    unit = plan.units[0]
    mine, theirs = (runner(m, p)(unit, NOBODY) for m, p in ((model, plan), (there, again)))
    assert mine == theirs


# --- the crew, on a Ray that is played ----------------------------------------------------------


class PlayedRay:
    """Ray's interface over plain calls, with a script of what goes wrong.

    `trouble` is asked before each computation and returns None, "death" or "defect".
    """

    class exceptions:
        class RayActorError(Exception):
            pass

        class OutOfMemoryError(Exception):
            pass

        class NodeDiedError(Exception):
            pass

        class RayTaskError(Exception):
            def __init__(self, cause):
                super().__init__(str(cause))
                self.cause = cause

    def __init__(self, trouble):
        self.trouble, self.hired, self.killed, self.waiting = trouble, 0, 0, []

    def cluster_resources(self):
        return {"CPU": 2.0}

    def put(self, value):
        return value

    def kill(self, _worker):
        self.killed += 1

    def remote(self, made):
        ray = self

        class Handle:
            def __init__(self, *arguments):
                ray.hired += 1
                self.worker = made(*arguments)
                self.ready, self.compute = Method(self, "ready"), Method(self, "compute")

        class Method:
            def __init__(self, handle, name):
                self.handle, self.name = handle, name

            def remote(self, *arguments):
                ray.waiting.append((object(), self, arguments))
                return ray.waiting[-1][0]

        class Factory:
            @staticmethod
            def options(**_needs):
                return type("Ready", (), {"remote": staticmethod(Handle)})

        return Factory

    def wait(self, futures, num_returns):
        return futures[-num_returns:], []

    def get(self, future):
        (_, method, arguments) = next(w for w in self.waiting if w[0] is future)
        trouble = self.trouble(method.name, *arguments)
        if trouble == "death":
            raise self.exceptions.RayActorError("The actor died unexpectedly")
        try:
            if trouble == "defect":
                raise KeyError("a defect")
            return getattr(method.handle.worker, method.name)(*arguments)
        except Exception as error:
            raise self.exceptions.RayTaskError(error) from error


def play(llama, plan, trouble):
    asked = [interp.parse(text) for text in ABLATIONS]
    request = pack_request(llama, plan, asked, limit=8)
    finished, told, ray = {}, [], PlayedRay(trouble)

    def finish(unit, records):
        assert unit.name not in finished, "counted twice"
        finished[unit.name] = records

    pool = WorkerPool(ray, request, 2, plan)
    failed = pool.work(TaskQueue(plan, plan.units, finish), told.append)
    return finished, failed, told, ray


@pytest.mark.slow
def test_the_pool_finishes_everything_whoever_dies(llama, plan):
    calls = []

    def every_third_dies(name, *_arguments):
        calls.append(name)
        return "death" if name == "compute" and len(calls) % 3 == 0 else None

    finished, failed, told, ray = play(llama, plan, every_third_dies)
    assert failed == {}
    expected = {unit.name: runner(llama, plan)(unit, NOBODY) for unit in plan.units}
    assert finished.keys() == expected.keys()
    for name, records in expected.items():
        assert [(r.ablation, r.doc_id, r.metrics) for r in finished[name]] == [
            (r.ablation, r.doc_id, r.metrics) for r in records
        ]
    assert ray.hired > 2
    assert any("its worker died (The actor died unexpectedly)" in line for line in told)


@pytest.mark.slow
def test_a_unit_with_a_defect_is_reported_and_the_rest_completes(llama, plan):
    poison = plan.units[2].name

    def trouble(name, *arguments):
        return "defect" if name == "compute" and arguments[0].name == poison else None

    finished, failed, told, _ = play(llama, plan, trouble)
    assert list(failed) == [poison]
    assert "a defect" in failed[poison]
    assert set(finished) == {unit.name for unit in plan.units} - {poison}
    assert any(poison in line for line in told)


@pytest.mark.slow
def test_workers_that_never_begin_end_the_run_in_one_line(llama, plan):
    with pytest.raises(UserError, match="workers die before they begin") as caught:
        play(llama, plan, lambda name, *_: "death" if name == "ready" else None)
    assert "\n" not in str(caught.value)


def test_a_worker_with_another_plan_is_refused(llama, plan, monkeypatch):
    monkeypatch.setattr("interp.sweeps.identity.libraries", lambda: {"torch": "0"})
    monkeypatch.setattr("interp.sweeps.plan.libraries", lambda: {"torch": "0"})
    with pytest.raises(UserError, match=r"would compute another run .*'torch': '0'"):
        play(llama, plan, lambda *_: None)


@pytest.mark.slow
def test_units_that_do_not_fit_a_worker_are_halved(llama, plan, monkeypatch):
    import interp.sweeps.execution as module

    plain = module.run_unit

    def fits_one(model, task, unit, variants, **options):
        if len(unit.doc_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(model, task, unit, variants, **options)

    monkeypatch.setattr(module, "run_unit", fits_one)
    finished, failed, told, _ = play(llama, plan, lambda *_: None)
    assert failed == {}
    assert set(finished) == {unit.name for unit in plan.units}
    assert any("3 examples do not fit (CUDA out of memory)" in line for line in told)


# --- Ray itself ---------------------------------------------------------------------------------


@needs_ray
def test_ray_writes_the_same_store_also_when_a_worker_or_the_driver_is_killed(tmp_path):
    # in a process of its own: Ray leaves threads and children in whichever process it runs
    code = [sys.executable, "-m", "experiments.store.ray_kills", "--out", str(tmp_path / "ray")]
    subprocess.run([*code, "--kills", "1", "--examples", "10"], check=True, capture_output=True)
    (result,) = json.loads((tmp_path / "ray" / "ray_kills.json").read_text())["rounds"]
    assert result["worker_killed"]
    assert result["driver_killed"]
    assert result["lost"] == result["doubled"] == result["different"] == 0


def test_without_ray_the_error_says_how_to_get_it(llama, task, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'interp\[ray\]'"):
        sweep(llama, [task], ["layer:0"], out=tmp_path / "run", limit=2, ray="auto")
    assert not (tmp_path / "run").exists()


# --- shares -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shares_in_one_folder_or_in_several_merge_to_the_same_run(llama, task, tmp_path):
    from interp.records import merge

    asked = {"limit": 8, "unit_examples": 2, "unit_ablations": 2}
    whole = sweep(llama, [task], ABLATIONS, out=tmp_path / "whole", **asked)
    count = len(whole.manifest.units)
    for share in ("1/3", "2/3"):
        sweep(llama, [task], ABLATIONS, out=tmp_path / "one", shard=share, **asked)
    with pytest.raises(UserError, match=r"units are missing or damaged: .*\(missing\)"):
        merge(tmp_path / "one", [])
    sweep(llama, [task], ABLATIONS, out=tmp_path / "one", shard="3/3", **asked)
    assert merge(tmp_path / "one", []) == count
    assert shards(tmp_path / "one") == shards(whole.folder)

    parts = [tmp_path / f"part-{k}" for k in (1, 2, 3)]
    for k, part in enumerate(parts, start=1):
        sweep(llama, [task], ABLATIONS, out=part, shard=f"{k}/3", **asked)
    with pytest.raises(UserError, match="missing"):
        merge(tmp_path / "joined", parts[:2])
    assert not (tmp_path / "joined").exists()
    assert merge(tmp_path / "joined", parts) == count
    assert merge(tmp_path / "joined", parts) == count
    assert shards(tmp_path / "joined") == shards(whole.folder)
    assert interp.open_run(tmp_path / "joined").responses().equals(whole.responses())


def test_merge_refuses_other_runs_and_contradictions(llama, task, tmp_path):
    from interp.records import Record, merge, read_manifest, write_unit

    run = sweep(llama, [task], ["layer:0"], out=tmp_path / "a", limit=4)
    other = sweep(llama, [task], ["layer:0"], out=tmp_path / "b", limit=3)
    words = r"it is of another run than .* \(task tiny-texts: 4 rows there, 3 asked"
    with pytest.raises(UserError, match=words):
        merge(tmp_path / "c", [run.folder, other.folder])
    same = sweep(llama, [task], ["layer:0"], out=tmp_path / "d", limit=4)
    (unit,) = run.manifest.unit_names
    rows = same.dataset().to_table().to_pylist()
    fixed = {"target": "x"}
    wrong = [
        Record(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} | fixed
               | {"metrics": dict(row["metrics"])})
        for row in rows
    ]  # fmt: skip
    write_unit(same.folder, unit, read_manifest(same.folder), wrong)
    with pytest.raises(UserError, match="hold different records of it"):
        merge(tmp_path / "c", [run.folder, same.folder])
    assert not (tmp_path / "c").exists()


def test_a_worker_starts_from_this_package():
    shown = subprocess.run(
        [sys.executable, "-c", "import interp; print(interp.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(shown.stdout.strip()) == Path(interp.__file__)


def test_a_model_whose_hidden_states_were_asked_for_still_travels():
    from interp.models import decoder
    from tests.helpers.families import random_tokens, tiny_bridge

    model, tokens = tiny_bridge("llama"), random_tokens(1, 5)
    root = decoder(model).root
    with torch.no_grad():
        before = root(tokens, output_hidden_states=True)
        assert len(before.hidden_states) == 4
        travelled = decoder(unpack_model(pack_model(model))).root(tokens).logits
        again = root(tokens, output_hidden_states=True)
    assert torch.equal(travelled, before.logits)
    assert len(again.hidden_states) == 4

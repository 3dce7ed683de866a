"""Two Ray workers against one, and how long 64 workers wait for the last unit.

    python -m experiments.store.scaling --ray      needs two idle cores and Ray
    python -m experiments.store.scaling            the simulated schedule alone

Measures how long each unit of a sweep takes in this process. From these durations, repeated as
often as is needed, a sweep of many units is scheduled on 64 workers, largest unit first as
`interp.sweeps.on_ray` does, and in the order of the plan. With `--ray`, the same sweep is timed
with one worker and with two, of one thread each, in turn, all started before the clock.
"""

import argparse
import heapq
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import interp
from experiments.store.reports import OUT, write_result
from experiments.store.tiny_model import ABLATIONS, write_model, write_task
from interp.records import Record, open_store, write_unit
from interp.sweeps import (
    NOBODY,
    Plan,
    UnitSizes,
    WorkUnit,
    make_plan,
    on_ray as distributed,
    pack_request,
    runner,
    size,
)

QUIET = 0.1
"""Cores that other processes may take during a pair of timings, for it to be called quiet."""


def durations(folder: Path, *, examples: int, d_model: int, unit_examples: int) -> dict[str, Any]:
    """Seconds of each unit in this process, and what `interp.sweeps.plan.size` expected of it."""
    torch.set_num_threads(1)
    model = interp.load_model(write_model(folder / "model", d_model=d_model), device="cpu")
    task = str(write_task(folder, rows=examples, words=40))
    plan = make_plan(model, task, ABLATIONS, sizes=UnitSizes(unit_examples, 3))
    run, took, wrote = runner(model, plan), [], []
    manifest = open_store(folder / "timed", plan.manifest)
    for unit in plan.units:
        began = time.perf_counter()
        found = run(unit, NOBODY)
        between = time.perf_counter()
        write_unit(folder / "timed", unit.name, manifest, found)
        took.append(between - began)
        wrote.append(time.perf_counter() - between)
    return {
        "seconds": took,
        "seconds_to_write": wrote,
        "expected": [size(plan, u) for u in plan.units],
    }


def schedule(seconds: Sequence[float], workers: int) -> dict[str, float]:
    """Give units to the worker that is free first, in the given order.

    Args:
        seconds: how long each unit takes.
        workers: how many work at once.

    Returns:
        `makespan`, `ideal` (all work divided evenly), `efficiency` (ideal / makespan) and
        `wait_for_last`: the seconds between the moment at which the first worker finds nothing
        left and the end.
    """
    free = [0.0] * workers
    heapq.heapify(free)
    for duration in seconds:
        heapq.heappush(free, heapq.heappop(free) + duration)
    ideal = float(sum(seconds)) / workers
    return {
        "makespan": max(free),
        "ideal": ideal,
        "efficiency": ideal / max(free),
        "wait_for_last": max(free) - min(free),
    }


def simulated(measured: dict[str, Any], workers: int, units: int, seed: int) -> dict[str, Any]:
    """Schedules of a sweep of many units whose durations are drawn from those measured.

    Durations are scaled by task: a fifth of the units generate and take four times as long.

    Args:
        measured: `seconds` of the units that were run, and what was `expected` of them.
        workers: how many work at once.
        units: how many units are drawn.
        seed: the seed of the draw.

    Returns:
        The schedules and what they were made from, ready for JSON.
    """
    rng = np.random.default_rng(seed)
    picked = rng.integers(len(measured["seconds"]), size=units)
    factor = np.where(rng.random(units) < 0.2, 4.0, 1.0)
    seconds = np.array(measured["seconds"])[picked] * factor
    expected = np.array(measured["expected"])[picked] * factor
    order = np.argsort(-expected, kind="stable")
    return {
        "workers": workers,
        "units": units,
        "largest_unit_seconds": float(seconds.max()),
        "largest_first": schedule(seconds[order].tolist(), workers),
        "order_of_the_plan": schedule(seconds.tolist(), workers),
    }


def on_ray(folder: Path, repeats: int, patience: float, **sizes: int) -> dict[str, Any]:
    """Seconds of the same sweep with one worker and with two, after they have begun.

    Args:
        folder: the folder for the runs.
        repeats: how often the pair of timings is repeated.
        patience: seconds to wait, before each pair, for other processes to be still.
        **sizes: as for `durations`.

    Returns:
        `seconds_1` and `seconds_2`, one a repeat; the `speed_up` of each pair; `others`, the cores
        that processes other than these took on average during the pair; and how many units
        `failed`.
    """
    import ray

    request, plan = _request(folder, **sizes)
    # one worker and two wait at the same time; no more than two ever work
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    found: dict[str, Any] = {"units": len(plan.units), "failed": 0, "others": []}
    found |= {"seconds_1": [], "seconds_2": []}
    for repeat in range(repeats):
        crews = {n: distributed.start(ray, request, plan, n) for n in (1, 2)}
        _wait_until_quiet(patience)
        others, began = _others(), time.perf_counter()
        for workers in (1, 2) if repeat % 2 else (2, 1):
            seconds, failed = _timed(crews[workers], plan, folder / f"run-{repeat}-{workers}")
            found[f"seconds_{workers}"].append(seconds)
            found["failed"] += failed
        found["others"].append((_others() - others) / (time.perf_counter() - began))
    ray.shutdown()
    found["speed_up"] = (np.array(found["seconds_1"]) / np.array(found["seconds_2"])).tolist()
    return found


def _request(folder: Path, *, examples: int, d_model: int, unit_examples: int) -> tuple[Any, Plan]:
    torch.set_num_threads(1)
    model = interp.load_model(write_model(folder / "model", d_model=d_model), device="cpu")
    task, sizes = str(write_task(folder, rows=examples, words=40)), UnitSizes(unit_examples, 3)
    plan = make_plan(model, task, ABLATIONS, sizes=sizes)
    asked = [interp.parse(text) for text in ABLATIONS]
    return pack_request(model, plan, asked, limit=None), plan


def _timed(pool: distributed.WorkerPool, plan: Plan, folder: Path) -> tuple[float, int]:
    """Seconds of a whole sweep into a new store, and units that failed."""
    manifest = open_store(folder, plan.manifest)

    def finish(unit: WorkUnit, found: list[Record]) -> None:
        write_unit(folder, unit.name, manifest, found)

    began = time.perf_counter()
    failed = pool.work(distributed.TaskQueue(plan, plan.units, finish), print)
    return time.perf_counter() - began, len(failed)


def _wait_until_quiet(patience: float) -> None:
    """Return once other processes have left both cores alone for two seconds, or time is over."""
    until, still = time.monotonic() + patience, 0
    while time.monotonic() < until and still < 2:
        before = _others()
        time.sleep(1)
        still = still + 1 if _others() - before < QUIET else 0


def _others() -> float:
    """Processor seconds, so far, of all processes but this one and those it started."""
    me = psutil.Process()
    ours = {me.pid, *(child.pid for child in me.children(recursive=True))}
    times = psutil.process_iter(["pid", "cpu_times"])
    # a process that ended has left its time to its parent
    return float(sum(sum(p.info["cpu_times"][:4]) for p in times if p.info["pid"] not in ours))


def main() -> None:
    """Measure, simulate, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="also time one and two Ray workers")
    parser.add_argument("--repeats", type=int, default=3, help="of the pair of timings")
    parser.add_argument(
        "--patience", type=float, default=0, help="seconds to wait for a quiet machine, each pair"
    )
    parser.add_argument("--examples", type=int, default=192)
    parser.add_argument("--d-model", type=int, default=256)
    parser.add_argument("--unit-examples", type=int, default=8)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    sizes = {
        "examples": options.examples,
        "d_model": options.d_model,
        "unit_examples": options.unit_examples,
    }
    with tempfile.TemporaryDirectory() as scratch:
        measured = durations(Path(scratch) / "here", **sizes)
        result: dict[str, Any] = {
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "unit_seconds_median": float(np.median(measured["seconds"])),
            "unit_seconds_to_write_median": float(np.median(measured["seconds_to_write"])),
            "simulated": [simulated(measured, 64, units, 0) for units in (128, 512, 2048)],
        }
        if options.ray:
            timed = on_ray(Path(scratch) / "ray", options.repeats, options.patience, **sizes)
            here = sum(measured["seconds"]) + sum(measured["seconds_to_write"])
            quiet = np.array(timed["others"]) < QUIET
            timed["speed_up_median"] = float(np.median(timed["speed_up"]))
            timed["quiet_pairs"] = int(quiet.sum())
            if quiet.any():
                timed["speed_up_median_of_quiet"] = float(
                    np.median(np.array(timed["speed_up"])[quiet])
                )
            timed["seconds_here"] = here
            # one worker against this process: what handing over a unit and its records takes
            overhead = (float(np.median(timed["seconds_1"])) - here) / timed["units"]
            result["ray"] = timed | {"overhead_seconds_a_unit": overhead}
    write_result(result, options.out, "scaling")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

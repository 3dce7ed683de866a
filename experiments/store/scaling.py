"""Two Ray workers against one, and how long 64 workers wait for the last unit.

    python -m experiments.store.scaling --ray      needs two idle cores and Ray
    python -m experiments.store.scaling            the simulated schedule alone

Measures how long each unit of a sweep takes in this process. From these durations, repeated as
often as is needed, a sweep of many units is scheduled on 64 workers, largest unit first as
`interp.distributed` does, and in the order of the plan. With `--ray`, the same sweep is timed with
one worker and with two, of one thread each, both started before the clock.
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

from experiments.store.reports import OUT, write_result
from experiments.store.small import ABLATIONS, write_model, write_task

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def durations(folder: Path, *, examples: int, d_model: int, unit_examples: int) -> dict[str, Any]:
    """Seconds of each unit in this process, and what `interp.plan.size` expected of it."""
    import torch

    import interp
    from interp.execution import runner
    from interp.plan import Cut, make_plan, size
    from interp.records import open_store, write_unit

    torch.set_num_threads(1)
    model = interp.load_model(write_model(folder / "model", d_model=d_model), device="cpu")
    task = str(write_task(folder, rows=examples, words=40))
    plan = make_plan(model, task, ABLATIONS, cut=Cut(unit_examples, 3))
    run, took, wrote = runner(model, plan), [], []
    manifest = open_store(folder / "timed", plan.manifest)
    for unit in plan.units:
        began = time.perf_counter()
        found = run(unit, lambda _: None)
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
    """Hand units to whoever is free first, in the given order.

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


def on_ray(folder: Path, *, examples: int, d_model: int, unit_examples: int) -> dict[str, Any]:
    """Seconds of the same sweep with one worker and with two, after both have begun."""
    import ray
    import torch

    import interp
    from interp import distributed
    from interp.plan import Cut, make_plan
    from interp.transport import pack_request

    torch.set_num_threads(1)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    model = interp.load_model(write_model(folder / "model", d_model=d_model), device="cpu")
    task, cut = str(write_task(folder, rows=examples, words=40)), Cut(unit_examples, 3)
    plan = make_plan(model, task, ABLATIONS, cut=cut)
    asked = [interp.parse(text) for text in ABLATIONS]
    request = pack_request(model, plan, asked, limit=None, seed=0, cut=cut)
    found: dict[str, Any] = {}
    for workers in (1, 2):
        crew = distributed.start(ray, request, plan, workers)
        began = time.perf_counter()
        failed = crew.work(distributed.Board(plan, plan.units, lambda *_: None), print)
        found[f"seconds_{workers}"] = time.perf_counter() - began
        found["failed"] = len(failed)
    ray.shutdown()
    return found | {"speed_up": found["seconds_1"] / found["seconds_2"], "units": len(plan.units)}


def main() -> None:
    """Measure, simulate, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="also time one and two Ray workers")
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
            result["ray"] = on_ray(Path(scratch) / "ray", **sizes)
    write_result(result, options.out, "scaling")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""Kill Ray workers and drivers of a sweep; resume; compare with an undisturbed run.

    python -m experiments.store.ray_kills --kills 10

Each round kills one worker (signal 9) while the driver works, then the driver itself, then lets
the same command finish. The store must equal that of a run without Ray, shard by shard.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from experiments.store.reports import run_kills, write_result
from experiments.store.tiny_model import ABLATIONS, compare, shards, write_model, write_task

DRIVER = """
import sys, torch, interp
torch.set_num_threads(1)
model, task, out, ray = sys.argv[1:5]
options = {"ray": ray, "workers": 2} if ray else {}
interp.sweep(interp.load_model(model), [task], sys.argv[5:], out=out, unit_examples=1,
             unit_ablations=3, **options)
"""


def run(kills: int, out: Path, *, seed: int = 0, examples: int = 20) -> dict[str, Any]:
    """Rounds in which a worker and then the driver is killed.

    Args:
        kills: how many rounds.
        out: the folder of the runs.
        seed: the seed of the moments of the kills.
        examples: examples of the sweep that is killed.

    Returns:
        `rounds`: for each, whether a worker and the driver were killed while they worked, how many
        units were finished, and rows `lost`, `doubled` and `different`; and whether the
        `shards_equal` byte for byte.
    """
    rng = random.Random(seed)
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, task = write_model(folder / "model"), write_task(folder, rows=examples)
        whole = folder / "whole"
        _driver(model, task, whole, "").wait()
        for number in range(kills):
            target = folder / f"run-{number}"
            found = _killed(model, task, target, rng)
            if _driver(model, task, target, "local").wait() != 0:
                raise RuntimeError(f"the sweep in {target} did not resume")
            equal = {"shards_equal": shards(target) == shards(whole)}
            rounds.append(found | compare(target, whole) | equal)
            # a round takes minutes on a busy machine: what was seen is kept
            write_result({"rounds": rounds}, out, "ray_kills")
    return {"rounds": rounds}


def _driver(model: Path, task: Path, folder: Path, ray: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(model), str(task), str(folder), ray, *ABLATIONS],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _killed(model: Path, task: Path, folder: Path, rng: random.Random) -> dict[str, Any]:
    """Kill a worker after the first shards, and the driver some shards later."""
    process = _driver(model, task, folder, "local")
    _wait_for_shards(process, folder, 1 + rng.randrange(2))
    workers = [p for p in psutil.Process(process.pid).children(recursive=True) if _is_worker(p)]
    if workers:
        rng.choice(workers).kill()
    at_worker = _count(folder)
    _wait_for_shards(process, folder, at_worker + 1 + rng.randrange(4))
    alive, at_driver = process.poll() is None, _count(folder)
    children = psutil.Process(process.pid).children(recursive=True) if alive else []
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, left = psutil.wait_procs(children, timeout=30)
    for child in left:  # what Ray has left of our own driver
        child.kill()
    return {
        "worker_killed": bool(workers),
        "driver_killed": alive,
        "units_at_worker_kill": at_worker,
        "units_at_driver_kill": at_driver,
        "processes_left": len(left),
    }


def _wait_for_shards(process: "subprocess.Popen[bytes]", folder: Path, count: int) -> None:
    while process.poll() is None and _count(folder) < count:
        time.sleep(0.01)


def _count(folder: Path) -> int:
    return len(list((folder / "units").glob("*.parquet")))


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("ray::Worker") or any(
            part.startswith("ray::Worker") for part in process.cmdline()
        )
    except psutil.Error:
        return False


if __name__ == "__main__":
    run_kills(run, __doc__, kills=10, of="rounds", examples=20)

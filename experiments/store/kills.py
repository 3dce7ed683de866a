"""Kill -9 a sweep at random moments; resume; compare with an undisturbed run.

    python -m experiments.store.kills --kills 50

The model is loaded once; each sweep runs in a fork of that process, which is killed some random
time after it has finished a random number of units, up to three times, and is then left alone until
it has finished. The table must equal the undisturbed run's, and no temporary file may stay.
"""

import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.store.reports import run_kills, write_result
from experiments.store.tiny_model import ABLATIONS, compare, shards, write_model, write_task

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

Sweeping = Callable[[Path], None]
POLLING = 0.005
"""Seconds between two looks at the units of a run."""


def run(kills: int, out: Path, *, seed: int = 0, examples: int = 60) -> dict[str, Any]:
    """Kill and resume a sweep, round after round, until it was killed `kills` times.

    Args:
        kills: how many are asked for.
        out: the folder of the runs.
        seed: the seed of the moments of the kills.
        examples: examples of the sweep that is killed.

    Returns:
        `kills`, and of all rounds: rows `lost` and `doubled`, tables `different`, shards that are
        not byte for byte the same (`shards_different`), `damaged_files` and `temporary_files`; and
        `units_at_kill`, how many units were finished at each kill.
    """
    rng = random.Random(seed)
    total: dict[str, Any] = {"kills": 0, "rounds": 0, "lost": 0, "doubled": 0, "different": 0}
    total |= {"shards_different": 0, "damaged_files": 0, "temporary_files": 0, "units": 0}
    total["units_at_kill"] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sweeping = _sweeping(write_model(folder / "model"), write_task(folder, rows=examples))
        whole = folder / "whole"
        began = time.monotonic()
        _finished(sweeping, whole)
        duration, theirs = time.monotonic() - began, shards(whole)
        total["units"] = len(theirs)
        while total["kills"] < kills:
            target = folder / f"run-{total['rounds']}"
            for _ in range(min(3, kills - total["kills"])):
                # units, not seconds alone: a busy machine is slow, and all kills would be early
                units = rng.randrange(len(theirs))
                if _killed(sweeping, target, units, rng.random() * duration / len(theirs)):
                    total["kills"] += 1
                    total["units_at_kill"].append(len(shards(target)))
            _finished(sweeping, target)
            total["rounds"] += 1
            for name, count in compare(target, whole).items():
                total[name] += count
            mine = shards(target)
            total["shards_different"] += sum(mine.get(n) != theirs[n] for n in theirs)
            total["damaged_files"] += len(list(target.rglob("*.damaged*")))
            total["temporary_files"] += len(list(target.rglob("*.part")))
    write_result(total, out, "kills")
    return total


def _sweeping(model: Path, task: Path) -> Sweeping:
    import torch

    from interp.models import load_model
    from interp.sweeps import sweep as run_sweep
    from interp.tasks import load_task

    torch.set_num_threads(1)  # a fork has none of its parent's threads
    bridge, loaded = load_model(model, device="cpu"), load_task(task)

    def sweep(folder: Path) -> None:
        run_sweep(bridge, [loaded], ABLATIONS, out=folder, unit_examples=2, unit_ablations=3)

    return sweep


def _finished(sweeping: Sweeping, folder: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=sweeping, args=(folder,))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"the sweep in {folder} did not finish")


def _killed(sweeping: Sweeping, folder: Path, units: int, after: float) -> bool:
    """Start the sweep and kill it in its work; whether it was still running.

    Args:
        sweeping: what is started.
        folder: the folder of the run, which may hold some units already.
        units: how many it is to hold first.
        after: seconds from then on.
    """
    process = multiprocessing.get_context("fork").Process(target=sweeping, args=(folder,))
    process.start()
    while process.is_alive() and len(shards(folder)) < units:
        process.join(POLLING)
    process.join(after)
    alive = process.is_alive()
    if alive and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive and process.exitcode == -signal.SIGKILL


if __name__ == "__main__":
    run_kills(run, __doc__, kills=50, of="kills", examples=60)

"""Kill -9 a sweep at random moments; resume; compare with an undisturbed run.

    python -m experiments.store.kills --kills 50

Each round sweeps in a process of its own that is killed some random time after its first unit
can have begun, up to three times, and is then left alone until it has finished. The table must
equal the undisturbed run's, and no temporary file may stay.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.store.small import ABLATIONS, compare, write_model, write_task

OUT = Path("runs/store")


def run(kills: int, out: Path, *, seed: int = 0, examples: int = 60) -> dict[str, Any]:
    """Rounds of kills until there were so many.

    Returns:
        `kills`, and of all rounds: `lost`, `doubled`, `different`, `temporary_files`; and `units`,
        how many units were finished at each kill.
    """
    rng = random.Random(seed)
    total: dict[str, Any] = {"kills": 0, "rounds": 0, "lost": 0, "doubled": 0, "different": 0}
    total |= {"temporary_files": 0, "units_at_kill": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, task = write_model(folder / "model"), write_task(folder, rows=examples)
        began, whole = time.monotonic(), folder / "whole"
        _sweep(model, task, whole).wait()
        duration = time.monotonic() - began
        first = _first_shard(whole)
        while total["kills"] < kills:
            run_folder = folder / f"run-{total['rounds']}"
            for _ in range(min(3, kills - total["kills"])):
                if _killed(model, task, run_folder, rng, duration - first):
                    total["kills"] += 1
                    total["units_at_kill"].append(len(_shards(run_folder)))
            if _sweep(model, task, run_folder).wait() != 0:
                raise RuntimeError(f"the sweep in {run_folder} did not resume")
            total["rounds"] += 1
            for name, count in compare(run_folder, whole).items():
                total[name] += count
            total["temporary_files"] += len(list(run_folder.rglob("*.part")))
    out.mkdir(parents=True, exist_ok=True)
    (out / "kills.json").write_text(json.dumps(total, indent=2) + "\n")
    return total


def _sweep(model: Path, task: Path, folder: Path) -> "subprocess.Popen[bytes]":
    code = (
        "import sys, torch, interp; torch.set_num_threads(1)\n"
        "model, task, out = sys.argv[1:4]\n"
        "interp.sweep(interp.load_model(model), [task], sys.argv[4:], out=out, "
        "unit_examples=2, unit_ablations=3)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(model), str(task), str(folder), *ABLATIONS],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _killed(model: Path, task: Path, folder: Path, rng: random.Random, working: float) -> bool:
    """Start the sweep and kill it while it works; whether it was still running."""
    process = _sweep(model, task, folder)
    before = len(_shards(folder))
    while process.poll() is None and len(_shards(folder)) == before:
        time.sleep(0.01)
    time.sleep(rng.random() * working * 0.4)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def _shards(folder: Path) -> list[Path]:
    return list((folder / "units").glob("*.parquet"))


def _first_shard(folder: Path) -> float:
    """Seconds between a run's start and its first shard."""
    made = (folder / "manifest.json").stat().st_mtime_ns
    shards = sorted(path.stat().st_mtime_ns for path in _shards(folder))
    return float(shards[0] - made) / 1e9


def main() -> None:
    """Run the rounds and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    result = run(options.kills, options.out, seed=options.seed, examples=options.examples)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

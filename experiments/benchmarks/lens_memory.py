"""Does memory grow with the number of examples? The lens and similarity, by examples read.

    python -m experiments.benchmarks.lens_memory

A planted model (5 layers; small, so that what is kept of an example would show) reads 100, 1,000
and 10,000 rows of its key-value task, each number in a process of its own. The peak is the process'
largest resident memory above what it held with the model loaded, all 10,000 rows made and one whole
group of 256 examples read.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

HERE = Path(__file__).parent
NUMBERS = (100, 1000, 10_000)
METHODS = ("logit_lens", "layer_similarity")
GROUP = 256


def measure(method: str, number: int) -> dict[str, Any]:
    """Read so many examples once, in this process."""
    import torch

    import interp
    from experiments.validity.planted import build, circuit_plan
    from experiments.validity.questions import planted_task

    torch.set_num_threads(1)
    plan = circuit_plan(0)
    model, task = build(plan), planted_task(plan, "kv", rows=max(NUMBERS))
    task.documents()
    readers: dict[str, Any] = {
        "logit_lens": interp.logit_lens,
        "layer_similarity": interp.layer_similarity,
    }
    read = readers[method]
    read(model, task, limit=GROUP)
    before, began = _peak(), time.perf_counter()
    read(model, task, limit=number)
    seconds, extra = time.perf_counter() - began, _peak() - before
    return {
        "method": method,
        "examples": number,
        "seconds": round(seconds, 1),
        "loaded_mb": round(before, 1),
        "extra_mb": round(extra, 1),
        "kb_an_example": round(1024 * extra / number, 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The result as Markdown."""
    lines = [
        "| Tool | Examples | peak before (MB) | extra peak (MB) | per example (KB) | time (s) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| `{r['method']}` | {r['examples']:,} | {r['loaded_mb']:.0f} | {r['extra_mb']:.1f} | "
        f"{r['kb_an_example']:.2f} | {r['seconds']:.1f} |"
        for r in rows
    ]
    lines += [
        "",
        "Planted model of 5 layers, key-value rows of 8 pairs, each line a process of its own, one "
        "thread. Peak before: model loaded, all rows made, one group of "
        f"{GROUP} examples read. Both keep only sums over examples; resident memory still rises a "
        "little from 1,000 to 10,000 examples, and what holds it is not known.",
    ]
    return "\n".join(lines) + "\n"


def _peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure one case (for the subprocesses), or all of them, and write JSON and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--numbers", type=int, nargs="+", default=list(NUMBERS))
    parser.add_argument("--out", type=Path, default=HERE / "lens_memory.json")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "NUMBER"), help="one case")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    rows = []
    for method in METHODS:
        for number in options.numbers:
            command = [sys.executable, "-m", "experiments.benchmarks.lens_memory"]
            command += ["--one", method, str(number)]
            shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            rows.append(json.loads(shown.splitlines()[-1]))
            print(rows[-1])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=2) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
